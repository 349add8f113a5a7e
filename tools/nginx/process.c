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
 * the fd's counts as one of those.
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

static ngx_int_t make_contexts(ngx_http_canopy_process_t *process)
{
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = ngx_http_canopy_now_ns()};
    process->root = canopy_root_new(&config);
    if (!process->root)
        return NGX_ERROR;
    process->served =
        canopy_with_deadline_cause(process->root, CANOPY_NEVER, &ngx_http_canopy_drained);
    if (!process->served)
        return NGX_ERROR;
    return canopy_loop_init(&process->loop, process->root) == 0 ? NGX_OK : NGX_ERROR;
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
    if (make_contexts(process) == NGX_OK && watch_loop(process, cycle) == NGX_OK)
        return NGX_OK;
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
    if (process->timer.timer_set)
        ngx_del_timer(&process->timer);
    if (process->connection)
        forget_loop(process->connection);
    if (process->live > 0) {
        (void)canopy_loop_abandon(&process->loop);
    } else {
        canopy_end(process->served);
        (void)canopy_loop_close(&process->loop);
        if (canopy_root_free(process->root) != 0)
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "canopy: contexts were left behind");
    }
    process->root = NULL;
    free_spares(process);
}
