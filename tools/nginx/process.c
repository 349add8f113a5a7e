/*
 * process.c - a worker's root and loop, its drain and its end.
 *
 * The loop runs when nginx's timer says that something is due, and when its fd says that
 * something has changed: an earlier deadline than the timer's. There is no call on each
 * turn of nginx's loop, since almost none has anything due, and none of
 * process_events, which would not hold a worker that drains. The timer does: nginx leaves
 * when no timer is left but cancelable ones, and this one is cancelable only while no
 * request is alive. What expires runs from the timer's handler or from the fd's, so never
 * beneath the handler of a request.
 *
 * Between the root and the requests is one context more, `served`. Its end is the drain:
 * nginx has no hook for a worker that is to leave but that it closes idle connections, and
 * the fd's counts as one of those. Where an operator ends it (canopy_inspect) that is the end
 * of the requests below it, and the next ones get another; the root's end is kept from it.
 */
#include "module.h"

#include <errno.h>

/* For so long what is due may keep a turn of nginx's loop from other events. */
#define TURN_NS INT64_C(5000000)

ngx_http_canopy_process_t ngx_http_canopy_process;

const canopy_cause ngx_http_canopy_drained = {-ESHUTDOWN, "the worker has to leave", NULL, 0};

/* -------------------------------------------------------------------- loop */

/* The timer is deleted first: one that is set nginx does not move by less than 300 ms. */
static void run_loop(void)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    (void)canopy_loop_run_for(&process->loop, ngx_http_canopy_now_ns(), TURN_NS);
    int64_t sleep_ns = canopy_loop_timeout_ns(&process->loop, ngx_http_canopy_now_ns());
    if (process->timer.timer_set)
        ngx_del_timer(&process->timer);
    if (sleep_ns != CANOPY_NEVER)
        ngx_add_timer(&process->timer, (ngx_msec_t)canopy_loop_timeout_ms(sleep_ns));
}

static void on_timer(ngx_event_t *event)
{
    (void)event;
    run_loop();
}

static void drain(void)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    int64_t timeout_ns = (int64_t)process->drain_timeout * 1000000;
    if (timeout_ns == 0 || process->leave_ns != CANOPY_NEVER)
        return;
    process->leave_ns = ngx_http_canopy_now_ns() + timeout_ns;
    (void)canopy_set_deadline(process->served, process->leave_ns);
}

/* `close` comes as the worker begins to leave, and once more if it is late with that. */
static void on_readable(ngx_event_t *event)
{
    ngx_connection_t *connection = event->data;
    if (connection->close) {
        connection->close = 0;
        drain();
    }
    run_loop();
}

/* ------------------------------------------------------------ begin and end */

/* What is derived from a root that may be ended, and is not to end with it. */
static canopy_ctx *make_served(const ngx_http_canopy_process_t *process)
{
    canopy_ctx *shield = canopy_without_cancel(process->root);
    canopy_ctx *served =
        shield ? canopy_with_deadline_cause(shield, CANOPY_NEVER, &ngx_http_canopy_drained) : NULL;
    canopy_release(shield);
    canopy_name(served, "requests");
    return served;
}

static void on_served_ended(void *arg);

static ngx_int_t watch_served(ngx_http_canopy_process_t *process)
{
    int err = canopy_loop_after_func(process->served, &process->loop, &process->served_ended,
                                     on_served_ended, process);
    return err == 0 ? NGX_OK : NGX_ERROR;
}

/* A worker that is to leave needs no other. */
static void on_served_ended(void *arg)
{
    ngx_http_canopy_process_t *process = arg;
    canopy_ctx *served = process->leave_ns == CANOPY_NEVER ? make_served(process) : NULL;
    if (!served)
        return;
    (void)canopy_loop_callback_drop(&process->served_ended);
    canopy_release(process->served);
    process->served = served;
    (void)watch_served(process);
}

static ngx_int_t make_contexts(ngx_http_canopy_process_t *process,
                               const ngx_http_canopy_main_conf_t *conf)
{
    canopy_config config = {.size = sizeof config,
                            .clock = CANOPY_CLOCK_HOST,
                            .now_ns = ngx_http_canopy_now_ns(),
                            .inspect = conf->inspect ? CANOPY_INSPECT_NOTES : 0};
    process->root = canopy_root_new(&config);
    if (!process->root)
        return NGX_ERROR;
    canopy_name(process->root, "nginx worker");
    process->served = make_served(process);
    if (!process->served || canopy_loop_init(&process->loop, process->root) != 0)
        return NGX_ERROR;
    return watch_served(process);
}

static ngx_int_t watch_loop(ngx_http_canopy_process_t *process, ngx_cycle_t *cycle)
{
    ngx_connection_t *connection = ngx_get_connection(canopy_loop_fd(&process->loop), cycle->log);
    if (!connection)
        return NGX_ERROR;
    connection->pool = cycle->pool;
    connection->idle = 1;
    connection->read->log = cycle->log;
    connection->write->log = cycle->log;
    connection->read->handler = on_readable;
    process->connection = connection;
    process->timer.handler = on_timer;
    process->timer.data = connection;
    process->timer.log = cycle->log;
    process->timer.cancelable = 1;
    if (ngx_handle_read_event(connection->read, 0) != NGX_OK)
        return NGX_ERROR;
    run_loop();
    return NGX_OK;
}

/* Caches' processes come by here too, and serve no requests. */
ngx_int_t ngx_http_canopy_init_process(ngx_cycle_t *cycle)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    ngx_http_canopy_main_conf_t *conf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_canopy_module);
    ngx_http_canopy_totals_open(conf ? conf->totals : NULL);
    if (!conf || !conf->used ||
        (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
    process->max_live = (ngx_uint_t)conf->max_live;
    process->drain_timeout = conf->drain_timeout;
    process->leave_ns = CANOPY_NEVER;
    ngx_http_canopy_say_who_calls(conf->cancel);
    if (make_contexts(process, conf) == NGX_OK && watch_loop(process, cycle) == NGX_OK) {
        ngx_http_canopy_inspect_open(conf, cycle->log);
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_EMERG, cycle->log, errno, "canopy: no contexts for this worker");
    return NGX_ERROR;
}

/* Given back and not closed: the fd is the loop's. */
static void forget_loop(ngx_connection_t *connection)
{
    if (connection->read->posted) {
        ngx_delete_posted_event(connection->read);
    }
    if (connection->read->active)
        (void)ngx_del_event(connection->read, NGX_READ_EVENT, 0);
    ngx_free_connection(connection);
    connection->fd = (ngx_socket_t)-1;
}

static void free_spares(ngx_http_canopy_process_t *process)
{
    while (process->spares) {
        ngx_http_canopy_request_t *spare = process->spares;
        process->spares = spare->spare;
        ngx_free(spare);
    }
    process->spares_count = 0;
}

/*
 * Where nginx was told to stop at once requests are still alive. They are left as they are:
 * to end their contexts now would answer them.
 */
void ngx_http_canopy_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    if (!process->root)
        return;
    ngx_http_canopy_inspect_close();
    if (process->timer.timer_set)
        ngx_del_timer(&process->timer);
    if (process->connection)
        forget_loop(process->connection);
    if (process->live > 0) {
        (void)canopy_loop_abandon(&process->loop);
    } else {
        (void)canopy_loop_callback_drop(&process->served_ended);
        canopy_end(process->served);
        (void)canopy_loop_close(&process->loop);
        if (canopy_root_free(process->root) != 0)
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "canopy: contexts were left behind");
    }
    process->root = NULL;
    free_spares(process);
    ngx_http_canopy_forget_names(cycle);
}
