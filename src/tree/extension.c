/*
 * extension.c - extensions, and the done fd that lives in one.
 *
 * The fd's word: 0 none, else the fd plus one in the low half and its phase above:
 *
 *     (none) ──done_fd──► ARMED ──fire──► FIRING ──written──► FIRED
 *                           │ close          │ close              │ close
 *                           ▼                ▼                    ▼
 *                         CLOSED        CLOSE_AFTER ──written──► CLOSED
 *
 *   Whoever moves it to CLOSED closes the fd: at the last reference, or, when a
 *   canceller is just then writing, that canceller right after. So no fd number
 *   is written after it was closed, and nobody waits.
 *
 * Whether the canceller writes (C7) or done_fd itself (C7b) is told in cancel.c: one of
 * the two sees the other, and the phase decides which.
 *
 * Ordering pairs:
 *   Q1/Q1  the fd's word changes by compare-and-swaps, and its last writer stores: who closes
 *         comes after who writes, and the reverse. Without it a number is written that is
 *         another file's by then.
 *   Q3/Q3  of the fd for what is never done there is one: who comes second closes its own.
 *         Without it there are several, and all but one stay open.
 *   Q2/Q2  an extension is written before aux names it. Without it who cancels reads an fd
 *         out of what was in that memory before.
 */
#include "tree/extension.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "tree/cancel.h"

#define FD_ARMED       (UINT64_C(1) << 32)
#define FD_FIRING      (UINT64_C(2) << 32)
#define FD_FIRED       (UINT64_C(3) << 32)
#define FD_CLOSED      (UINT64_C(4) << 32)
#define FD_CLOSE_AFTER (UINT64_C(5) << 32)

static uint64_t fd_phase(uint64_t word)
{
    return word & ~(uint64_t)UINT32_MAX;
}

static int fd_number(uint64_t word)
{
    return (int)(uint32_t)word - 1;
}

static uint64_t fd_in(uint64_t word, uint64_t phase)
{
    return (uint64_t)(uint32_t)word | phase;
}

const canopy_cause *extension_deadline_cause(const struct canopy_ctx *ctx)
{
    uintptr_t aux = word_load_acquire(&ctx->aux); /* Q2 */
    const canopy_cause *cause =
        aux & AUX_EXTENSION ? aux_extension(aux)->deadline_cause : (const canopy_cause *)aux;
    return cause ? cause : CANOPY_DEADLINE_EXCEEDED;
}

struct extension *extension_get(struct canopy_ctx *ctx)
{
    uintptr_t aux = word_load_acquire(&ctx->aux); /* Q2 */
    if (aux & AUX_EXTENSION)
        return aux_extension(aux);
    struct heap *heap = heap_get(ctx_domain(ctx));
    struct extension *extension = heap ? pool_alloc(heap, CLASS_LINE) : NULL;
    if (!extension)
        return NULL;
    *extension = (struct extension){.deadline_cause = (const canopy_cause *)aux};
    if (word_cas_seq_cst(&ctx->aux, &aux, (uintptr_t)extension | AUX_EXTENSION)) /* C7a, Q2 */
        return extension;
    pool_free(heap, CLASS_LINE, extension); /* only another extension can have come first */
    return aux_extension(aux);
}

void extension_fire(struct extension *extension)
{
    uint64_t word = u64_load_seq_cst(&extension->fd); /* C7: pairs with C7a */
    /* After a fork an inherited eventfd is the parent process's to write. */
    if (fd_phase(word) != FD_ARMED || slab_is_inherited(slab_of(extension)) ||
        !u64_cas_acq_rel(&extension->fd, &word, fd_in(word, FD_FIRING))) /* Q1 */
        return;
    eventfd_raise(fd_number(word));
    word = fd_in(word, FD_FIRING);
    if (!u64_cas_acq_rel(&extension->fd, &word, fd_in(word, FD_FIRED))) { /* Q1 */
        u64_store_relaxed(&extension->fd, fd_in(word, FD_CLOSED));
        fd_close(fd_number(word));
    }
}

void extension_close(struct extension *extension)
{
    uint64_t word = u64_load_acquire(&extension->fd); /* Q1 */
    uint64_t next;
    do {
        if (word == 0)
            return;
        next = fd_phase(word) == FD_FIRING ? FD_CLOSE_AFTER : FD_CLOSED;
    } while (!u64_cas_acq_rel(&extension->fd, &word, fd_in(word, next))); /* Q1 */
    if (next == FD_CLOSED)
        fd_close(fd_number(word));
}

/* Never readable, for what is never done: one for the process, made on demand, plus one. */
static atomic_u32 never_fd;

static int fd_never(void)
{
    uint32_t have = u32_load_acquire(&never_fd); /* Q3 */
    if (have)
        return (int)have - 1;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (u32_cas_acq_rel(&never_fd, &have, (uint32_t)fd + 1)) /* Q3 */
        return fd;
    fd_close(fd);
    return (int)have - 1;
}

int canopy_done_fd(const canopy_ctx *ctx)
{
    struct canopy_ctx *scope = ctx_scope(ctx);
    if (!kind_is_cancellable(ctx_kind(scope)))
        return fd_never();
    struct extension *extension = extension_get(scope);
    if (!extension)
        return -ENOMEM;
    uint64_t word = u64_load_acquire(&extension->fd); /* Q1 */
    if (!word) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        uint64_t armed = (uint64_t)(fd + 1) | FD_ARMED;
        if (u64_cas_seq_cst(&extension->fd, &word, armed)) /* C7a: pairs with C7 */
            word = armed;
        else
            fd_close(fd);
    }
    if (!state_is_live(word_load_seq_cst(&scope->state))) { /* C7b: pairs with C1 */
        extension_fire(extension);
        /* Readable at once, also while the canceller is about to write. The caller keeps it open.
         */
        if (fd_phase(u64_load_acquire(&extension->fd)) == FD_FIRING)
            eventfd_raise(fd_number(word));
    }
    return fd_number(word);
}
