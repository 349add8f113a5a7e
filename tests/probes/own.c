/* A probe of the program's own beside the library's: all are reckoned from one base. */
#include <sys/sdt.h>

__attribute__((constructor)) static void own(void)
{
    STAP_PROBE(scene, own);
}
