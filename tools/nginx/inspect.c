/*
 * inspect.c - canopy_inspect: each worker has a socket, on which it tells of its contexts
 * (<canopy/inspect.h>; `canopy` is the command that asks there).
 *
 * The sockets are in a folder that nginx makes as it makes those for temporary files: with
 * mode 0700, and the workers' user's, since a worker has no more rights than that when it
 * begins to listen. Each is named by its worker's pid, so that over a reload the old ones
 * and the new ones are there, and each can be told from the others. A worker takes its
 * socket along as it leaves; that of one that was killed is removed by the next that begins.
 *
 * A thread of the library's answers. Where it may end contexts, what comes of that is done
 * by the worker's loop.
 */
#include "module.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

typedef ngx_http_canopy_main_conf_t main_conf;
typedef ngx_http_canopy_loc_conf_t loc_conf;
typedef ngx_http_canopy_callback_t callback;

/* A folder's path is shorter than this: a slash and a pid come behind it. */
#define FOLDER_BYTES (sizeof((struct sockaddr_un){0}.sun_path) - sizeof("/2147483647") + 1)

/* --------------------------------------------------------------- the folder */

/* Whose socket it is by its name; 0: it is not one of ours. */
static pid_t owner_of(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return name[0] >= '1' && name[0] <= '9' && *end == '\0' && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* The next name in it but `.` and `..`; NULL: there is none. */
static const char *next_name(DIR *folder)
{
    /* cppcheck-suppress readdirCalled ; nobody else has this stream */
    const struct dirent *entry = readdir(folder);
    while (entry && (ngx_strcmp(entry->d_name, ".") == 0 || ngx_strcmp(entry->d_name, "..") == 0))
        /* cppcheck-suppress readdirCalled ; the same */
        entry = readdir(folder);
    return entry ? entry->d_name : NULL;
}

/* nginx gives it to the workers' user, so nothing else may be in it: it could be /run. */
static char *check_folder(ngx_conf_t *cf, const ngx_str_t *path)
{
    DIR *folder = opendir((const char *)path->data);
    if (!folder && errno == ENOENT)
        return NGX_CONF_OK;
    if (!folder) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, errno, "\"canopy_inspect\" cannot have \"%V\"", path);
        return NGX_CONF_ERROR;
    }
    const char *name = next_name(folder);
    while (name && owner_of(name) != 0)
        name = next_name(folder);
    if (name)
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"canopy_inspect\" needs a folder of its own, and \"%s\" is in \"%V\"",
                           name, path);
    (void)closedir(folder);
    return name ? NGX_CONF_ERROR : NGX_CONF_OK;
}

static void remove_socket(const char *path, ngx_log_t *log)
{
    if (ngx_delete_file(path) == NGX_FILE_ERROR && errno != ENOENT)
        ngx_log_error(NGX_LOG_ERR, log, errno, "canopy: \"%s\" stays where it is", path);
}

/* Of workers that were killed. A pid that somebody else has by now keeps its socket. */
static void remove_left_ones(const ngx_str_t *path, ngx_log_t *log)
{
    char socket[sizeof((struct sockaddr_un){0}.sun_path)];
    DIR *folder = opendir((const char *)path->data);
    const char *name = folder ? next_name(folder) : NULL;
    for (; name; name = next_name(folder)) {
        pid_t owner = owner_of(name);
        if (owner == 0 || kill(owner, 0) == 0 || errno != ESRCH)
            continue;
        (void)snprintf(socket, sizeof socket, "%s/%d", path->data, (int)owner);
        remove_socket(socket, log);
    }
    if (folder)
        (void)closedir(folder);
}

/* ------------------------------------------------------------ configuration */

/* canopy_inspect DIRECTORY [cancel] */
char *ngx_http_canopy_set_inspect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    main_conf *main = conf;
    ngx_str_t *value = cf->args->elts;
    (void)cmd;
    if (main->inspect)
        return "is duplicate";
    if (cf->args->nelts == 3 && ngx_strcmp(value[2].data, "cancel") != 0)
        return "takes a folder, and \"cancel\" or nothing";
    ngx_path_t *path = ngx_pcalloc(cf->pool, sizeof *path);
    if (!path)
        return NGX_CONF_ERROR;
    path->name = value[1];
    while (path->name.len > 1 && path->name.data[path->name.len - 1] == '/')
        path->name.data[--path->name.len] = '\0';
    if (path->name.len == 0 || ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK)
        return "needs the path of a folder";
    if (path->name.len >= FOLDER_BYTES)
        return "has too long a path for sockets";
    path->data = main; /* so that it is no other directive's as well */
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;
    main->inspect = path;
    main->cancel = cf->args->nelts == 3;
    if (check_folder(cf, &path->name) != NGX_CONF_OK)
        return NGX_CONF_ERROR;
    return ngx_add_path(cf, &main->inspect) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}

/*
 * Names are the process's, and not the configuration's: a context has one for longer than an
 * nginx without a master has its configuration. Each is kept once, until the process ends.
 */
static ngx_rbtree_t names;
static ngx_rbtree_node_t sentinel;

void ngx_http_canopy_forget_names(ngx_cycle_t *cycle)
{
    (void)cycle;
    while (names.root && names.root != &sentinel) {
        ngx_rbtree_node_t *name = names.root;
        ngx_rbtree_delete(&names, name);
        ngx_free(name); /* it is the first part of an ngx_str_node_t */
    }
}

static ngx_str_node_t *keep_name(const ngx_str_t *name, ngx_log_t *log)
{
    uint32_t hash = ngx_crc32_long(name->data, name->len);
    if (!names.root) {
        ngx_rbtree_init(&names, &sentinel, ngx_str_rbtree_insert_value);
    }
    ngx_str_t key = *name;
    ngx_str_node_t *node = ngx_str_rbtree_lookup(&names, &key, hash);
    if (node)
        return node;
    node = ngx_alloc(sizeof *node + name->len + 1, log);
    if (!node)
        return NULL;
    node->node.key = hash;
    node->str.len = name->len;
    node->str.data = (u_char *)(node + 1);
    ngx_memcpy(node->str.data, name->data, name->len);
    node->str.data[name->len] = '\0';
    ngx_rbtree_insert(&names, &node->node);
    return node;
}

/* The server's and the location's, of which either may have none. */
ngx_int_t ngx_http_canopy_know_name(ngx_conf_t *cf, ngx_http_canopy_loc_conf_t *conf)
{
    const main_conf *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_canopy_module);
    const ngx_http_core_srv_conf_t *server =
        ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    const ngx_http_core_loc_conf_t *location =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t name;
    if (!main->inspect || !conf->enable)
        return NGX_OK;
    name.data = ngx_pnalloc(cf->temp_pool, server->server_name.len + 1 + location->name.len);
    if (!name.data)
        return NGX_ERROR;
    u_char *end = ngx_cpymem(name.data, server->server_name.data, server->server_name.len);
    if (server->server_name.len > 0 && location->name.len > 0)
        *end++ = ' ';
    end = ngx_cpymem(end, location->name.data, location->name.len);
    name.len = (size_t)(end - name.data);
    const ngx_str_node_t *kept = keep_name(&name, cf->log);
    if (!kept)
        return NGX_ERROR;
    conf->name = (const char *)kept->str.data;
    return NGX_OK;
}

/* ------------------------------------------------------------------ requests */

ngx_int_t ngx_http_canopy_preaccess_named(ngx_http_request_t *r)
{
    ngx_int_t rc = ngx_http_canopy_preaccess(r);
    if (rc != NGX_DECLINED || r != r->main)
        return rc;
    const ngx_http_canopy_request_t *rq = ngx_http_canopy_request(r);
    if (rq)
        canopy_name(rq->ctx, rq->loc->name);
    return rc;
}

static int after_func(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                      void *arg)
{
    callback *cb = (callback *)record;
    ngx_memzero(cb, sizeof *cb);
    return canopy_loop_after_func(ctx, &ngx_http_canopy_process.loop, &cb->of_loop, fn, arg);
}

static bool callback_stop(canopy_callback *record)
{
    return canopy_loop_callback_stop(&((callback *)record)->of_loop);
}

static bool callback_drop(canopy_callback *record)
{
    return canopy_loop_callback_drop(&((callback *)record)->of_loop);
}

void ngx_http_canopy_say_who_calls(ngx_flag_t by_loop)
{
    ngx_http_canopy_process_t *process = &ngx_http_canopy_process;
    process->after_func = by_loop ? after_func : canopy_after_func;
    process->callback_stop = by_loop ? callback_stop : canopy_callback_stop;
    process->callback_drop = by_loop ? callback_drop : canopy_callback_drop;
}

/* ---------------------------------------------------------------- the socket */

void ngx_http_canopy_inspect_open(const ngx_http_canopy_main_conf_t *conf, ngx_log_t *log)
{
    char path[sizeof((struct sockaddr_un){0}.sun_path)];
    if (!conf->inspect)
        return;
    remove_left_ones(&conf->inspect->name, log);
    (void)snprintf(path, sizeof path, "%s/%d", conf->inspect->name.data, (int)ngx_pid);
    int err = canopy_listen(&ngx_http_canopy_process.listener, path,
                            conf->cancel ? CANOPY_ANSWER_CANCEL : 0);
    if (err)
        ngx_log_error(NGX_LOG_ERR, log, -err, "canopy: nobody is answered on \"%s\"", path);
}

void ngx_http_canopy_inspect_close(void)
{
    if (ngx_http_canopy_process.listener.canopy_state)
        (void)canopy_listener_close(&ngx_http_canopy_process.listener);
}
