/*
 * core.c - memory as a core file has it: what was written into its segments, and, where that
 * was left out because it stands in a file as well, the file. See core.h.
 */
#include "core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More of either is no core. */
#define SEGMENTS_MOST 65535
/* With so many a file begins that is another one, as its build id is among them. */
#define HEAD_BYTES  2048
#define NOTES_BYTES (UINT64_C(64) << 20)

struct segment {
    uint64_t start;
    uint64_t bytes;   /* that were to be written */
    uint64_t written; /* of these, and lie at `offset` */
    uint64_t offset;
};

struct core {
    int fd;
    uint64_t file_bytes;
    struct segment *segments;
    size_t segment_count;
    int *files; /* of each mapping, as it is needed: -1 none, -2 not asked yet */
    uint64_t lost_bytes;
};

static bool read_at(int fd, uint64_t offset, void *to, size_t n)
{
    char *at = to;
    while (n > 0) {
        ssize_t had = pread(fd, at, n, (off_t)offset);
        if (had < 0 && errno == EINTR)
            continue;
        if (had <= 0)
            return false;
        at += had;
        offset += (uint64_t)had;
        n -= (size_t)had;
    }
    return true;
}

/* ----------------------------------------------------------------------- notes */

/* What NT_FILE tells: count, page size, (start, end, page of the file) of each, then the names. */
static bool add_files(struct remote *remote, const char *note, uint64_t bytes)
{
    uint64_t head[2], range[3];
    if (bytes < sizeof head)
        return true;
    memcpy(head, note, sizeof head);
    if (head[0] > (bytes - sizeof head) / sizeof range || head[1] == 0)
        return true;
    const char *name = note + sizeof head + head[0] * sizeof range, *end = note + bytes;
    for (uint64_t i = 0; i < head[0]; i++) {
        const char *name_end = memchr(name, '\0', (size_t)(end - name));
        if (!name_end)
            break;
        memcpy(range, note + sizeof head + i * sizeof range, sizeof range);
        struct mapping mapping = {range[0], range[1], range[2] * head[1], strdup(name), false};
        if (!mapping.path || !remote_add_mapping(remote, &mapping))
            return false;
        name = name_end + 1;
    }
    return true;
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 3) & ~UINT64_C(3);
}

static bool add_notes(struct remote *remote, const char *notes, uint64_t bytes)
{
    Elf64_Nhdr note;
    for (uint64_t at = 0; at + sizeof note <= bytes;) {
        memcpy(&note, notes + at, sizeof note);
        uint64_t body = at + sizeof note + padded(note.n_namesz);
        if (body > bytes || note.n_descsz > bytes - body)
            break;
        if (note.n_type == NT_FILE && !add_files(remote, notes + body, note.n_descsz))
            return false;
        at = body + padded(note.n_descsz);
    }
    return true;
}

static int read_notes(struct remote *remote, const Elf64_Phdr *header)
{
    if (header->p_filesz > NOTES_BYTES)
        return 0;
    char *notes = malloc(header->p_filesz ? header->p_filesz : 1);
    bool has_memory = notes != NULL;
    if (has_memory && read_at(remote->core->fd, header->p_offset, notes, header->p_filesz))
        has_memory = add_notes(remote, notes, header->p_filesz);
    free(notes);
    return has_memory ? 0 : remote_fails(remote, -ENOMEM, "no memory");
}

/* -------------------------------------------------------------------- segments */

static void add_segment(struct core *core, const Elf64_Phdr *header, uint64_t written)
{
    core->segments[core->segment_count++] =
        (struct segment){header->p_vaddr, header->p_filesz, written, header->p_offset};
}

static int compare_segments(const void *a, const void *b)
{
    const struct segment *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

static int compare_mappings(const void *a, const void *b)
{
    const struct mapping *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

static int add_header(struct remote *remote, const Elf64_Phdr *header)
{
    struct core *core = remote->core;
    uint64_t there = header->p_offset < core->file_bytes ? core->file_bytes - header->p_offset : 0;
    uint64_t written = header->p_filesz < there ? header->p_filesz : there;
    core->lost_bytes += header->p_filesz - written;
    if (header->p_type == PT_LOAD)
        add_segment(core, header, written);
    return header->p_type == PT_NOTE ? read_notes(remote, header) : 0;
}

static int read_headers(struct remote *remote, const Elf64_Ehdr *elf, Elf64_Phdr *headers)
{
    struct core *core = remote->core;
    int err = 0;
    if (!read_at(core->fd, elf->e_phoff, headers, elf->e_phnum * sizeof *headers))
        return remote_fails(remote, -EIO, "the core is cut off within its headers");
    for (size_t i = 0; !err && i < elf->e_phnum; i++)
        err = add_header(remote, &headers[i]);
    qsort(core->segments, core->segment_count, sizeof *core->segments, compare_segments);
    if (remote->mapping_count > 0)
        qsort(remote->mappings, remote->mapping_count, sizeof *remote->mappings, compare_mappings);
    core->files = malloc((remote->mapping_count + 1) * sizeof *core->files);
    for (size_t i = 0; core->files && i < remote->mapping_count; i++)
        core->files[i] = -2;
    return err || core->files ? err : remote_fails(remote, -ENOMEM, "no memory");
}

static bool is_core(const Elf64_Ehdr *elf)
{
    return memcmp(elf->e_ident, ELFMAG, SELFMAG) == 0 && elf->e_ident[EI_CLASS] == ELFCLASS64 &&
           elf->e_ident[EI_DATA] == ELFDATA2LSB && elf->e_type == ET_CORE &&
           elf->e_phentsize == sizeof(Elf64_Phdr) && elf->e_phnum > 0 &&
           elf->e_phnum < SEGMENTS_MOST;
}

static int read_core(struct remote *remote, const char *path)
{
    struct core *core = remote->core;
    Elf64_Ehdr elf;
    struct stat status;
    if (core->fd < 0 || fstat(core->fd, &status) != 0)
        return remote_fails(remote, -errno, "%s: %s", path, strerror(errno));
    core->file_bytes = (uint64_t)status.st_size;
    if (!S_ISREG(status.st_mode) || !read_at(core->fd, 0, &elf, sizeof elf) || !is_core(&elf))
        return remote_fails(remote, -EINVAL, "%s is no core of a 64-bit process", path);
    Elf64_Phdr *headers = malloc(elf.e_phnum * sizeof *headers);
    core->segments = malloc(elf.e_phnum * sizeof *core->segments);
    int err = headers && core->segments ? read_headers(remote, &elf, headers)
                                        : remote_fails(remote, -ENOMEM, "no memory");
    free(headers);
    return err;
}

int core_open(struct remote *remote, const char *path)
{
    remote->core = calloc(1, sizeof *remote->core);
    if (!remote->core)
        return remote_fails(remote, -ENOMEM, "no memory");
    remote->core->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return read_core(remote, path);
}

void core_close(struct remote *remote)
{
    struct core *core = remote->core;
    if (!core)
        return;
    for (size_t i = 0; core->files && i < remote->mapping_count; i++)
        if (core->files[i] >= 0)
            close(core->files[i]);
    if (core->fd >= 0)
        close(core->fd);
    free(core->files);
    free(core->segments);
    free(core);
}

int core_is_whole(struct remote *remote)
{
    if (remote->core->lost_bytes == 0)
        return 0;
    return remote_fails(remote, -EIO,
                        "the core is cut off: it lacks %" PRIu64 " bytes, and perhaps contexts",
                        remote->core->lost_bytes);
}

/* ------------------------------------------------------------------------ read */

/* The segment in which the byte at an address was to be written; NULL: none. */
static const struct segment *segment_at(const struct core *core, uint64_t address)
{
    size_t low = 0, high = core->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (core->segments[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct segment *segment = low > 0 ? &core->segments[low - 1] : NULL;
    return segment && address - segment->start < segment->bytes ? segment : NULL;
}

bool core_is_of_file(const struct remote *remote, const struct mapping *mapping, int fd)
{
    unsigned char had[HEAD_BYTES], has[HEAD_BYTES];
    const struct mapping *first = mapping;
    while (first > remote->mappings && first->offset != 0 &&
           strcmp(first[-1].path, mapping->path) == 0)
        first--;
    const struct segment *segment = segment_at(remote->core, first->start);
    if (!segment || first->offset != 0 ||
        first->start + sizeof had > segment->start + segment->written)
        return true; /* there is nothing to tell it by */
    return core_read(remote, first->start, had, sizeof had) && read_at(fd, 0, has, sizeof has) &&
           memcmp(had, has, sizeof had) == 0;
}

/* The same out of the file that was mapped there: so many bytes, at most `n`. */
static size_t read_file(const struct remote *remote, uint64_t address, void *to, size_t n)
{
    const struct mapping *mapping = remote_mapping(remote, address);
    if (!mapping)
        return 0;
    int *fd = &remote->core->files[mapping - remote->mappings];
    if (*fd == -2)
        *fd = remote_open_file(remote, mapping);
    size_t part = mapping->end - address < n ? (size_t)(mapping->end - address) : n;
    uint64_t offset = mapping->offset + (address - mapping->start);
    return *fd >= 0 && read_at(*fd, offset, to, part) ? part : 0;
}

bool core_read(const struct remote *remote, uint64_t address, void *to, size_t n)
{
    char *at = to;
    while (n > 0) {
        const struct segment *segment = segment_at(remote->core, address);
        size_t part;
        if (segment) {
            uint64_t offset = address - segment->start, left = segment->bytes - offset;
            part = left < n ? (size_t)left : n;
            if (offset + part > segment->written ||
                !read_at(remote->core->fd, segment->offset + offset, at, part))
                return false;
        } else if (!(part = read_file(remote, address, at, n))) {
            return false;
        }
        at += part;
        address += part;
        n -= part;
    }
    return true;
}
