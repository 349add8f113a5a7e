/*
 * module.h - what the files of the nginx module share. One file a concern:
 *
 *   module.c     directives, configurations, what is hooked in
 *   process.c    a worker's root and loop, its drain and its end
 *   request.c    a request's context
 *   abort.c      the end of a context is the end of its request
 *   upstream.c   a context for each try of an upstream
 *   implicit.c   the same where nginx makes the balancer as it goes
 *   headers.c    what a request brings along, and what a try sends
 *   inspect.c    a worker's socket, on which it tells of its contexts
 *   variables.c  $canopy_*
 *   totals.h, .c what has happened, over all workers
 *   status.c     the page that shows it; report.h, .c its text
 *
 * Time is nginx's: all is counted by the clock that it keeps for a turn of its loop, which
 * is CLOCK_MONOTONIC in milliseconds. A request is on one thread, its worker's, and so is
 * everything here; but contexts may be ended from another (inspect.c).
 */
#ifndef NGX_HTTP_CANOPY_MODULE_H
#define NGX_HTTP_CANOPY_MODULE_H

#include <ngx_config.h>

#include <ngx_core.h>
#include <ngx_http.h>

#include <canopy/canopy.h>
#include <canopy/inspect.h>
#include <canopy/loop.h>
#include <canopy/wire.h>

#include "totals.h"

/* -------------------------------------------------------- configurations */

typedef struct { /* http {} */
    ngx_msec_t drain_timeout;
    ngx_int_t max_live;
    ngx_flag_t used;        /* canopy is on somewhere, */
    ngx_flag_t shown;       /* or there is a page with the totals */
    ngx_shm_zone_t *totals; /* totals.h; NULL: neither */
    ngx_array_t upstreams;  /* upstream.c */
    ngx_path_t *inspect; /* inspect.c: the folder of the workers' sockets; NULL: there are none */
    ngx_flag_t cancel;   /* and what is asked for there may end contexts */
} ngx_http_canopy_main_conf_t;

/* A header that says how long the client waits. */
typedef struct {
    ngx_str_t name;  /* lower case */
    ngx_flag_t grpc; /* by the grammar of grpc-timeout, else milliseconds */
} ngx_http_canopy_header_t;

/* Of wire.h's fields the time-outs. */
#define NGX_HTTP_CANOPY_TIMEOUTS (CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_MS_TIMEOUT)

/* The headers that a location reads or sends: a table of them, and bits for a quick look. */
typedef struct {
    ngx_array_t names;
    uint64_t hashes;  /* of those that it reads */
    uint64_t lengths; /* of all names */
    ngx_uint_t most;  /* so many are sent */
    const void *sent; /* the one of `names` that has the time-out that is sent */
} ngx_http_canopy_known_t;

typedef enum {
    NGX_HTTP_CANOPY_STATUS_OFF,
    NGX_HTTP_CANOPY_STATUS_BY_REQUEST,
    NGX_HTTP_CANOPY_STATUS_HTML,
    NGX_HTTP_CANOPY_STATUS_JSON,
    NGX_HTTP_CANOPY_STATUS_PROMETHEUS
} ngx_http_canopy_status_format_t;

typedef struct ngx_http_canopy_loc_conf ngx_http_canopy_loc_conf_t;

struct ngx_http_canopy_loc_conf { /* location {} */
    ngx_flag_t enable;
    ngx_flag_t client_abort;
    ngx_flag_t trace;
    ngx_flag_t baggage;
    ngx_msec_t timeout;
    ngx_msec_t timeout_max;
    ngx_msec_t call_timeout;
    ngx_msec_t reserve;
    ngx_msec_t least;
    ngx_uint_t timeout_status;
    ngx_array_t *timeout_headers; /* of ngx_http_canopy_header_t; NULL: none */
    ngx_uint_t send_field;        /* CANOPY_WIRE_GRPC_TIMEOUT, CANOPY_WIRE_MS_TIMEOUT or 0 */
    ngx_str_t send_name;          /* of the header with milliseconds; ended by a NUL */
    ngx_uint_t status;            /* ngx_http_canopy_status_format_t */
    const char *name;             /* inspect.c: of its requests; NULL: nobody asks */

    /* Made of them when all are known. */
    canopy_wire_policy in;         /* what is read; of milliseconds no name, headers.c has them */
    canopy_wire_policy out;        /* what a try sends */
    ngx_http_canopy_known_t known; /* headers.c */
    ngx_http_handler_pt handler;   /* implicit.c: what makes the answer in this location */
    /* The outermost block in which a request's context would be made as it is here. */
    const ngx_http_canopy_loc_conf_t *made_as;
};

/* -------------------------------------------------------------- requests */

/* What is to run as a context ends: ngx_http_canopy_process says how it is armed. */
typedef union {
    canopy_callback record;
    canopy_loop_callback of_loop;
} ngx_http_canopy_callback_t;

/*
 * The tries of a request, or of a subrequest, one after the other; upstream.c and implicit.c.
 * Those of the main request are part of its record, those of others in its pool.
 */
typedef struct ngx_http_canopy_call {
    struct ngx_http_canopy_request *rq;
    ngx_http_request_t *r;
    ngx_http_upstream_t *u; /* which they are of now */
    ngx_uint_t tries;       /* of `u` */
    canopy_ctx *ctx;        /* of the try that is under way; NULL: none is */
    ngx_http_canopy_callback_t late;
    ngx_flag_t is_timed; /* `late` is armed, or has been */
    /* When the headers were made that the first try sends, if they were. */
    ngx_flag_t is_made;
    ngx_msec_t made_ms;
    struct ngx_http_canopy_call *next; /* of another subrequest */
    ngx_list_t came;                   /* of the main request: as in `rq` */

    /* The balancer's own. */
    void *data;
    ngx_event_get_peer_pt get;
    ngx_event_free_peer_pt free;
    ngx_event_notify_peer_pt notify;
#if (NGX_SSL || NGX_COMPAT)
    ngx_event_set_peer_session_pt set_session;
    ngx_event_save_peer_session_pt save_session;
#endif
} ngx_http_canopy_call_t;

/*
 * A main request's; found by ngx_http_canopy_request. `ctx` has ended where `cause` is set,
 * unless an error page answers, which has a context of its own.
 */
typedef struct ngx_http_canopy_request {
    ngx_pool_cleanup_t cleanup;
    canopy_ctx *ctx;
    ngx_http_canopy_callback_t ended;
    ngx_http_request_t *r; /* the main one */
    const ngx_http_canopy_loc_conf_t *loc;
    const canopy_cause *cause;    /* why it was ended, the first time; NULL: it was not */
    int64_t received_ns;          /* from then on its time counts */
    int64_t deadline_ns;          /* CANOPY_NEVER: none; canopy_deadline knows the worker's, too */
    ngx_event_t *again;           /* abort.c: while nginx's threads are at work on it */
    ngx_http_canopy_call_t *call; /* upstream.c: the latest one's tries, */
    ngx_http_canopy_call_t first; /* and, where that has any, the main request's */
    struct ngx_http_canopy_request *spare; /* request.c: the next one that is not in use */
    const ngx_list_t *came; /* upstream.c: its headers, where others are in their place */
    ngx_uint_t tries;       /* upstream.c counts them */
    uint32_t malformed;     /* CANOPY_WIRE_*: headers that came so, and were told of */
    ngx_flag_t is_timed;    /* a time-out came, and was counted */
    ngx_flag_t is_armed;    /* `ended` is */
} ngx_http_canopy_request_t;

/* --------------------------------------------------------------- process */

/* A worker's. In a process that serves no requests, or none with canopy, root is NULL. */
typedef struct {
    canopy_ctx *root;
    canopy_ctx *served;                /* below it: the requests' contexts are its children */
    canopy_loop_callback served_ended; /* process.c: where others may end `served` */
    canopy_loop loop;
    /*
     * canopy_after_func and what goes with it, or the same of the loop's: where contexts are
     * ended from another thread, what runs then is to run on this one.
     */
    int (*after_func)(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                      void *arg);
    bool (*callback_stop)(canopy_callback *record);
    bool (*callback_drop)(canopy_callback *record);
    canopy_listener listener;          /* inspect.c; zero: none */
    ngx_connection_t *connection;      /* of the loop's fd */
    ngx_event_t timer;                 /* when the loop is next to be run */
    ngx_uint_t live;                   /* contexts of requests */
    ngx_uint_t max_live;               /* 0: no limit */
    ngx_http_canopy_request_t *spares; /* records not in use */
    ngx_uint_t spares_count;
    ngx_msec_t drain_timeout;
    int64_t leave_ns; /* the drain's deadline; CANOPY_NEVER: none, as long as it has not begun */
} ngx_http_canopy_process_t;

extern ngx_module_t ngx_http_canopy_module;

/* process.c */
extern ngx_http_canopy_process_t ngx_http_canopy_process;
ngx_int_t ngx_http_canopy_init_process(ngx_cycle_t *cycle);
void ngx_http_canopy_exit_process(ngx_cycle_t *cycle);

/* What time it is for contexts: nginx's cached clock. */
static inline int64_t ngx_http_canopy_now_ns(void)
{
    return (int64_t)ngx_current_msec * 1000000;
}

/* canopy_deadline of the request's context. */
static inline int64_t ngx_http_canopy_until_ns(const ngx_http_canopy_request_t *rq)
{
    return ngx_min(rq->deadline_ns, ngx_http_canopy_process.leave_ns);
}

/* Causes that are ours. The deadline's is CANOPY_DEADLINE_EXCEEDED. */
extern const canopy_cause ngx_http_canopy_client_gone; /* request.c */
extern const canopy_cause ngx_http_canopy_drained;     /* process.c */
extern const canopy_cause ngx_http_canopy_call_late;   /* upstream.c: a try's time is up */
extern const canopy_cause ngx_http_canopy_not_tried;   /* upstream.c: less than canopy_least */

/* request.c */
ngx_int_t ngx_http_canopy_post_read(ngx_http_request_t *r);
ngx_int_t ngx_http_canopy_preaccess(ngx_http_request_t *r);
ngx_int_t ngx_http_canopy_log(ngx_http_request_t *r);
/*
 * The context has ended, or does so here for `cause`, without its callback. The first end of
 * a request is logged, and stays the one that is told of.
 */
void ngx_http_canopy_over(ngx_http_canopy_request_t *rq, const canopy_cause *cause);
/* Of the main request of `r`; NULL: it has none. */
ngx_http_canopy_request_t *ngx_http_canopy_request(ngx_http_request_t *r);

/* abort.c: the callback of a request's context; its argument is an ngx_http_canopy_request_t */
void ngx_http_canopy_ended(void *arg);
/* What `rq` is answered with that is ended by its context. */
ngx_int_t ngx_http_canopy_answer(const ngx_http_canopy_request_t *rq);
/*
 * Ends the tries of subrequests in the background, and these as if they were through. The
 * caller holds the request.
 */
void ngx_http_canopy_end_background(ngx_http_canopy_request_t *rq);
/* Finalizes `r` with `status`, which may be one that nginx ends without an answer (408). */
void ngx_http_canopy_finalize(ngx_http_request_t *r, ngx_int_t status);
/* Lets a client that goes be noticed, or not, as the location says. */
void ngx_http_canopy_watch_client(ngx_http_request_t *r, const ngx_http_canopy_loc_conf_t *loc);
/* The same for r->upstream, as it begins. */
void ngx_http_canopy_watch_client_in_upstream(ngx_http_request_t *r,
                                              const ngx_http_canopy_loc_conf_t *loc);

/* upstream.c: once, when all upstreams are known */
ngx_int_t ngx_http_canopy_wrap_upstreams(ngx_conf_t *cf);
/* Lets go of the request: ends the tries that are under way, and gives it its own headers back. */
void ngx_http_canopy_calls_end(ngx_http_canopy_request_t *rq);

/* implicit.c: of a location, when all directives are known */
void ngx_http_canopy_wrap_content(ngx_conf_t *cf, const ngx_http_canopy_loc_conf_t *prev,
                                  ngx_http_canopy_loc_conf_t *conf);

/* headers.c. Of a location, once its policies are made. */
ngx_int_t ngx_http_canopy_know_headers(ngx_conf_t *cf, ngx_http_canopy_loc_conf_t *conf);
/*
 * Takes what a request brings along of the headers that `loc` reads into `wire`, which is
 * begun with its policy. What came malformed is logged.
 */
void ngx_http_canopy_take(ngx_http_canopy_request_t *rq, const ngx_http_canopy_loc_conf_t *loc,
                          canopy_wire *wire);
/*
 * Puts what `ctx`, a try's context, sends along in the place of what `r` came with: so that
 * create_request, called after it, sends that. NGX_OK; NGX_ABORT: no time is left to
 * send anything; NGX_ERROR.
 */
ngx_int_t ngx_http_canopy_send(ngx_http_request_t *r, const ngx_http_canopy_loc_conf_t *loc,
                               const ngx_http_canopy_request_t *rq, const canopy_ctx *ctx);

/* inspect.c. canopy_inspect DIRECTORY [cancel] */
char *ngx_http_canopy_set_inspect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Of a location, when all directives are known: what its requests are called. */
ngx_int_t ngx_http_canopy_know_name(ngx_conf_t *cf, ngx_http_canopy_loc_conf_t *conf);
/* As the process ends, which tells nobody of its contexts any more. */
void ngx_http_canopy_forget_names(ngx_cycle_t *cycle);
/* In the place of ngx_http_canopy_preaccess: the request also gets its location's name. */
ngx_int_t ngx_http_canopy_preaccess_named(ngx_http_request_t *r);
/* Of the worker's contexts, before there are any: its loop runs what is to run as they end. */
void ngx_http_canopy_say_who_calls(ngx_flag_t by_loop);
/* Begins to listen, if it is to; where it cannot the worker goes on, and the log says so. */
void ngx_http_canopy_inspect_open(const ngx_http_canopy_main_conf_t *conf, ngx_log_t *log);
void ngx_http_canopy_inspect_close(void);

/* variables.c */
ngx_int_t ngx_http_canopy_add_variables(ngx_conf_t *cf);

/* status.c. The format of that name; NGX_HTTP_CANOPY_STATUS_OFF: there is none. */
ngx_http_canopy_status_format_t ngx_http_canopy_status_format(const ngx_str_t *name);
/* The content handler of a location with canopy_status. */
ngx_int_t ngx_http_canopy_status(ngx_http_request_t *r);

#endif
