/*
 * probe.h - points at which tracers may look in: bpftrace, perf, gdb, SystemTap (the guide's
 * "Probes" says how). Each is a nop of one byte and a note in the library's file, by
 * <sys/sdt.h>, of provider "canopy"; where that is not to be had (CANOPY_PROBES) there is none.
 *
 * In no function that is inlined into a path of every day: a nop is one instruction. What a
 * probe tells is at hand where it stands, so that telling costs no more than the nop; one that
 * has to be worked out stands only where nobody is in a hurry.
 *
 *   cancel          (ctx, cause, text)  a call with a cause ended a context: canopy_cancel_cause,
 *                   canopy_cancel_id. Whose call is on the stack
 *   walk            (ctx, end)  something hangs below a context that has ended: it is ended as
 *                   well now. end: the cause's address, plus 2 (cancelled) or 4 (by a deadline).
 *                   Also where another cancel was first and is not through, which is helped
 *   deadline        (ctx, due_ns, now_ns)  a deadline fired: so late as the two are apart, by
 *                   its root's clock
 *   callback_begin  (callback, function, arg)  the library's worker calls a callback
 *   callback_end    (callback, function)  it has returned. The first is an address by then, no more
 *   root_new        (root, max_live, inspect)  a root with its canopy_config's fields
 *   root_free       (root)  it has gone. An address by then, no more
 *   slab            (slab, root, class, got)  a root got memory, 32 KiB of it, or (got: 0) gave
 *                   it back. class: 0 contexts, 1 and 2 lists of children. root: 0 for what
 *                   derives from background
 *   grace           (waited_ns)  a grace period was waited for: memory that others may be
 *                   looking at goes back after one
 *   refused         (root, err, n)  out of memory (ENOMEM), n: bytes asked for; or at the
 *                   root's limit (EAGAIN), n: max_live
 *   signal          (number, cause)  a signal came that contexts watch; they end by this
 *
 * Tests: tests/probes.
 */
#ifndef CANOPY_PROBE_H
#define CANOPY_PROBE_H

#ifdef CANOPY_PROBES
#include <sys/sdt.h>
#define PROBE1(name, a)          STAP_PROBE1(canopy, name, a)
#define PROBE2(name, a, b)       STAP_PROBE2(canopy, name, a, b)
#define PROBE3(name, a, b, c)    STAP_PROBE3(canopy, name, a, b, c)
#define PROBE4(name, a, b, c, d) STAP_PROBE4(canopy, name, a, b, c, d)
#else
#define PROBE1(name, a)          ((void)(a))
#define PROBE2(name, a, b)       ((void)(a), (void)(b))
#define PROBE3(name, a, b, c)    ((void)(a), (void)(b), (void)(c))
#define PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
