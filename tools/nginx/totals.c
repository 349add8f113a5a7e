/*
 * totals.c - totals in shared memory.
 *
 * The slot is that of the process in the master's table, which nginx has made sure of before
 * the process begins: two that live have two, over reloads too, and one is given out anew
 * only when who had it was waited for. So nobody claims a slot, and none is ever given back:
 * the next process there goes on counting, and totals never go down. A new configuration
 * takes the zone over; a new binary has a master, a table and a zone of its own.
 *
 * What is live is no counter, but those that began less those that are over. What a process
 * that was killed did not finish is never finished: it counts as lost as soon as the process
 * is gone, and stays so, for who takes the slot next begins by noting it.
 */
#include "module.h"

#include <unistd.h>

static ngx_http_canopy_slot_t nobodys;
ngx_http_canopy_slot_t *ngx_http_canopy_slot = &nobodys;

void ngx_http_canopy_count_end(const canopy_cause *cause)
{
    ngx_http_canopy_count(cause == NULL                           ? NGX_HTTP_CANOPY_ANSWERED
                          : cause->code == -ETIMEDOUT             ? NGX_HTTP_CANOPY_DEADLINE
                          : cause == &ngx_http_canopy_client_gone ? NGX_HTTP_CANOPY_CLIENT_GONE
                          : cause == &ngx_http_canopy_drained     ? NGX_HTTP_CANOPY_DRAINED
                                                                  : NGX_HTTP_CANOPY_OTHER);
}

/* By the clock, not by nginx's: what a turn of its loop takes is part of it. */
void ngx_http_canopy_count_lateness(int64_t deadline_ns)
{
    int64_t late_ns = ngx_max(canopy_now_ns() - deadline_ns, 0);
    ngx_uint_t i = 0;
    while (i < NGX_HTTP_CANOPY_LATENESSES - 1 && late_ns > INT64_C(1000000) << i)
        i++;
    ngx_http_canopy_add(&ngx_http_canopy_slot->latenesses[i], 1);
    ngx_http_canopy_add(&ngx_http_canopy_slot->lateness_ns, (uint64_t)late_ns);
}

static ngx_int_t zone_init(ngx_shm_zone_t *zone, void *before)
{
    ngx_http_canopy_totals_t *totals = before;
    if (totals == NULL) {
        totals = ngx_slab_calloc((ngx_slab_pool_t *)zone->shm.addr, sizeof *totals);
        if (totals == NULL)
            return NGX_ERROR;
        totals->since = ngx_time();
    }
    zone->data = totals;
    return NGX_OK;
}

ngx_int_t ngx_http_canopy_totals_zone(ngx_conf_t *cf, ngx_shm_zone_t **zone)
{
    ngx_str_t name = ngx_string("canopy_totals");
    /* Less than eight pages are what nginx's allocator needs for itself. */
    size_t bytes = ngx_align(sizeof(ngx_http_canopy_totals_t), ngx_pagesize) + 8 * ngx_pagesize;
    *zone = ngx_shared_memory_add(cf, &name, bytes, &ngx_http_canopy_module);
    if (*zone == NULL)
        return NGX_ERROR;
    (*zone)->init = zone_init;
    return NGX_OK;
}

/* A sum is of no one moment: nothing but T1 to T4 is ordered. */
static uint64_t relaxed(const _Atomic uint64_t *total)
{
    return atomic_load_explicit(total, memory_order_relaxed);
}

/* How many are not over. Beside the one who counts an end may be seen before its beginning. */
static uint64_t unfinished(const uint64_t counts[])
{
    uint64_t over = 0;
    for (ngx_uint_t i = NGX_HTTP_CANOPY_ANSWERED; i <= NGX_HTTP_CANOPY_OTHER; i++)
        over += counts[i];
    return counts[NGX_HTTP_CANOPY_REQUESTS] > over ? counts[NGX_HTTP_CANOPY_REQUESTS] - over : 0;
}

static void counts_read(const ngx_http_canopy_slot_t *slot, uint64_t counts[])
{
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_TOTALS; i++)
        counts[i] = relaxed(&slot->counts[i]);
}

void ngx_http_canopy_totals_open(ngx_shm_zone_t *zone)
{
    /* Of the cache's processes none has requests. */
    ngx_http_canopy_totals_t *totals =
        zone != NULL && ngx_process != NGX_PROCESS_HELPER ? zone->data : NULL;
    uint64_t counts[NGX_HTTP_CANOPY_TOTALS];
    ngx_http_canopy_slot = totals != NULL ? &totals->slots[ngx_process_slot] : &nobodys;
    counts_read(ngx_http_canopy_slot, counts);
    atomic_store_explicit(&ngx_http_canopy_slot->lost, unfinished(counts), memory_order_relaxed);
    /* T1: pairs with T2. Who sees the pid sees what was lost before. */
    atomic_store_explicit(&ngx_http_canopy_slot->pid, (uint64_t)ngx_pid, memory_order_release);
    /* T3: pairs with T4. Who sees what is counted from here on sees the pid. */
    atomic_thread_fence(memory_order_release);
}

/* A master and its processes are a session, so another process with that number is none. */
static ngx_uint_t is_there(uint64_t pid)
{
    return getsid((pid_t)pid) == getsid(0);
}

static void slot_read(const ngx_http_canopy_slot_t *slot, uint64_t pid, ngx_http_canopy_sum_t *sum)
{
    uint64_t counts[NGX_HTTP_CANOPY_TOTALS], lost = relaxed(&slot->lost), open;
    counts_read(slot, counts);
    open = unfinished(counts);
    if (is_there(pid)) {
        sum->workers++;
        sum->live += open > lost ? open - lost : 0;
        sum->lost += lost;
    } else {
        sum->lost += open;
    }
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_TOTALS; i++)
        sum->counts[i] += counts[i];
    sum->lateness_ns += relaxed(&slot->lateness_ns);
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_LATENESSES; i++)
        sum->latenesses[i] += relaxed(&slot->latenesses[i]);
}

/*
 * Again, where the slot is taken meanwhile: what began since then is not lost. Who has read a
 * count of the next one's (T4) sees its pid, and is not content with the one before.
 */
static void slot_add(const ngx_http_canopy_slot_t *slot, ngx_http_canopy_sum_t *sum)
{
    uint64_t pid = atomic_load_explicit(&slot->pid, memory_order_acquire), now; /* T2: with T1 */
    while (pid != 0) {
        ngx_http_canopy_sum_t with = *sum;
        slot_read(slot, pid, &with);
        atomic_thread_fence(memory_order_acquire);                    /* T4: with T3 */
        now = atomic_load_explicit(&slot->pid, memory_order_acquire); /* T2 */
        if (now == pid) {
            *sum = with;
            return;
        }
        pid = now;
    }
}

void ngx_http_canopy_totals_sum(const ngx_shm_zone_t *zone, ngx_http_canopy_sum_t *sum)
{
    const ngx_http_canopy_totals_t *totals = zone->data;
    ngx_memzero(sum, sizeof *sum);
    sum->since = totals->since;
    for (ngx_uint_t i = 0; i < NGX_MAX_PROCESSES; i++)
        slot_add(&totals->slots[i], sum);
}
