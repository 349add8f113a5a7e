/*
 * keep_loaded.c - keeps what the archive was linked into from being unloaded.
 *
 * The library's threads run until the process ends, and a host's thread may call it as
 * it ends itself: dlclose must leave this code where it is. The shared library has a
 * flag for that (-z nodelete). A plugin that has the archive in it would need the same
 * one at its own link; so the archive takes care of it, when it is loaded.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Weak: a static program has no loader and needs none; and where this is in a library of
 * its own (before glibc 2.34), whoever loads a plugin has that. dlopen is looked up by
 * it, since linkers warn of every static program that so much as mentions it.
 */
#pragma weak dlsym

static int name_if_ours(struct dl_phdr_info *object, size_t size, void *name)
{
    (void)size;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (uintptr_t)name_if_ours - begin < segment->p_memsz) {
            *(const char **)name = object->dlpi_name;
            return true;
        }
    }
    return false;
}

__attribute__((constructor)) static void keep_loaded(void)
{
    const char *name = NULL;
    void *(*load)(const char *name, int how) = NULL;
    dl_iterate_phdr(name_if_ours, &name);
    if (!dlsym || !name || !*name) /* the main program's is empty */
        return;
    *(void **)&load = dlsym(RTLD_DEFAULT, "dlopen");
    if (load)
        load(name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE); /* and never closed */
}
