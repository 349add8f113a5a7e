/*
 * main.c - the commands about a process, or a core, by themselves.
 * Usage: pid_reader PID|CORE COMMAND [WORD]...
 */
#include <stdlib.h>
#include <string.h>

#include "process.h"

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    char *end;
    long pid = strtol(argv[1], &end, 10);
    if (*argv[1] && !*end)
        return process_command((pid_t)pid, argc - 2, argv + 2);
    return core_command(argv[1], argc - 2, argv + 2);
}
