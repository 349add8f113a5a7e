/*
 * process.h - commands about a process that is read from outside, or a core that one left.
 */
#ifndef CANOPY_TOOL_PROCESS_H
#define CANOPY_TOOL_PROCESS_H

#include <sys/types.h>

/*
 * Runs a command (argv[0]: tree, dump text|json, leaks AGE [json], causes [json], stats [json],
 * context ID [json]) and writes the answer to stdout; what goes wrong is said on stderr. The
 * exit status: 0; 1 the process, or the core, does not let it; 2 it is no such command.
 */
int process_command(pid_t pid, int argc, char **argv);
int core_command(const char *path, int argc, char **argv);

#endif
