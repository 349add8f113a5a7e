/*
 * inspect_listen.c - the socket on which a process answers: its file, its clients, its end.
 */
#include "inspected.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* -------------------------------------------------------- memory and threads that fail */

/* While set, what the library asks for is not to be had. */
static atomic_uint refuse_memory, refuse_threads;

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

void *__wrap_calloc(size_t count, size_t bytes)
{
    return atomic_load(&refuse_memory) ? NULL : __real_calloc(count, bytes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return atomic_load(&refuse_threads) ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

/* ------------------------------------------------------------------------ clients */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int socket_made(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval soon = {.tv_sec = SOON / SECONDS(1)};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    return fd;
}

/* A client that has connected, and waits for no longer than a test may. */
static int dial(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket_made();
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

struct answer {
    char *text; /* the caller's */
    size_t bytes;
    bool is_whole; /* it has an end */
    int status;
};

/* All that comes, to the end; closes the client. */
static struct answer hear(int fd)
{
    struct answer answer = {.text = calloc(1, 1)};
    char piece[4096];
    for (ssize_t got; (got = recv(fd, piece, sizeof piece, 0)) > 0;) {
        answer.text = realloc(answer.text, answer.bytes + (size_t)got + 1);
        memcpy(answer.text + answer.bytes, piece, (size_t)got);
        answer.bytes += (size_t)got;
        answer.text[answer.bytes] = '\0';
    }
    close(fd);
    const char *end = answer.text + strlen(answer.text);
    answer.is_whole = end < answer.text + answer.bytes && answer.text[answer.bytes - 1] == '\n';
    answer.status = answer.is_whole ? atoi(end + 1) : 1;
    return answer;
}

/* Once more where it was cut off: the machine may take two seconds to have the line said. */
static struct answer answer_of(const char *path, const char *line)
{
    int64_t until_ns = now_ns() + SOON;
    for (;;) {
        int fd = dial(path);
        say(fd, line);
        struct answer answer = hear(fd);
        if (answer.is_whole || now_ns() > until_ns)
            return answer;
        free(answer.text);
    }
}

static void assert_answers(const char *path, const char *line, int status, const char *part)
{
    struct answer answer = answer_of(path, line);
    if (!answer.is_whole || answer.status != status || !strstr(answer.text, part)) {
        print_error("%s: %d, %s\n", line, answer.status, answer.text);
        fail();
    }
    free(answer.text);
}

static void assert_unanswered(int fd)
{
    struct answer answer = hear(fd);
    assert_false(answer.is_whole);
    free(answer.text);
}

/* -------------------------------------------------------------------------- scene */

/* A root with a few contexts, and a place for sockets. */
struct scene {
    struct fixture f;
    canopy_ctx *ctx;
    canopy_listener listener;
    char directory[64], path[96];
};

static void scene_open(struct scene *scene)
{
    noted_open(&scene->f, CANOPY_CLOCK_LIBRARY);
    scene->ctx = canopy_with_cancel(scene->f.root);
    canopy_name(scene->ctx, "connection");
    strcpy(scene->directory, "/tmp/canopy-listen-XXXXXX");
    assert_non_null(mkdtemp(scene->directory));
    snprintf(scene->path, sizeof scene->path, "%s/socket", scene->directory);
}

static void scene_close(struct scene *scene)
{
    assert_int_equal(rmdir(scene->directory), 0);
    canopy_end(scene->ctx);
    fixture_close(&scene->f);
}

static void listening_open(struct scene *scene)
{
    scene_open(scene);
    assert_int_equal(canopy_listen(&scene->listener, scene->path, CANOPY_ANSWER_CANCEL), 0);
}

static void listening_close(struct scene *scene)
{
    assert_int_equal(canopy_listener_close(&scene->listener), 0);
    assert_int_equal(access(scene->path, F_OK), -1);
    scene_close(scene);
}

/* Calls look(fd, arg) for each fd of this process but the one it looks with: how many. */
static size_t each_fd(void (*look)(int fd, void *arg), void *arg)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;
    /* cppcheck-suppress readdirCalled ; nobody else has this stream */
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(directory))
            continue;
        if (look)
            look(fd, arg);
        count++;
    }
    closedir(directory);
    return count;
}

/* A line of what the kernel tells of the listener's thread; 0: there is none. */
static uint64_t thread_status(const char *name)
{
    long tids[THREADS_LISTED];
    char path[64], line[256];
    uint64_t value = 0;
    if (count_threads("canopy-listen", tids) == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", tids[0]);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 16);
    if (file)
        fclose(file);
    return value;
}

/* ------------------------------------------------------------------------- answers */

TEST(inspect_listen_answers_commands)
{
    struct scene scene;
    listening_open(&scene);
    assert_answers(scene.path, "help\n", 0, "cancel ID [TEXT]\n");
    assert_answers(scene.path, "tree\n", 0, "\n  \"connection\" ");
    assert_answers(scene.path, "dump html\n", 0, "</html>\n");
    assert_answers(scene.path, "halp\n", -EINVAL, "no such command");
    assert_answers(scene.path, "\n", -EINVAL, "no such command");
    assert_answers(scene.path, "context 0\n", -ESRCH, "no such context");
    assert_answers(scene.path, "help\ntree\n", 0, "cancel ID [TEXT]\n");
    char line[64];
    snprintf(line, sizeof line, "cancel %llu by hand\n", (unsigned long long)canopy_id(scene.ctx));
    assert_answers(scene.path, line, 0, ": \"by hand\"\n");
    assert_string_equal(canopy_cause_of(scene.ctx)->text, "by hand");
    assert_answers(scene.path, line, -EALREADY, "ended already");
    listening_close(&scene);
}

TEST(inspect_listen_lets_nobody_cancel_unless_it_is_told_to)
{
    struct scene scene;
    char line[64];
    scene_open(&scene);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    snprintf(line, sizeof line, "cancel %llu\n", (unsigned long long)canopy_id(scene.ctx));
    assert_answers(scene.path, line, -EPERM, "does not allow");
    assert_int_equal(canopy_err(scene.ctx), 0);
    listening_close(&scene);
}

static int status_of_pieces(const char *path)
{
    static const char *const pieces[] = {"he", "lp", "\n"};
    int fd = dial(path);
    for (size_t i = 0; i < 3; i++) {
        send(fd, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL);
        pause_ns(MILLISECONDS(20));
    }
    struct answer answer = hear(fd);
    free(answer.text);
    return answer.status;
}

TEST(inspect_listen_takes_a_line_in_pieces_and_only_a_whole_one)
{
    struct scene scene;
    listening_open(&scene);
    assert_true(eventually(status_of_pieces(scene.path) == 0, SOON));
    /* Half of an id is another's. */
    int fd = dial(scene.path);
    say(fd, "help");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_unanswered(fd);
    listening_close(&scene);
}

/* --------------------------------------------------------------------------- the file */

static void keep_looking(void *arg)
{
    struct scene *scene = arg;
    struct stat there;
    for (unsigned looks = 0; access(scene->directory, F_OK) == 0; looks++)
        if (lstat(scene->path, &there) == 0 && (there.st_mode & 0177) != 0) {
            print_error("mode %o\n", there.st_mode);
            abort();
        }
}

TEST(inspect_listen_makes_a_socket_that_is_never_others)
{
    struct scene scene;
    struct thread looker;
    struct stat there;
    scene_open(&scene);
    thread_start(&looker, keep_looking, &scene);
    mode_t before = umask(0);
    for (int i = 0; i < SCALED(500, 50); i++) {
        assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
        assert_int_equal(lstat(scene.path, &there), 0);
        assert_int_equal(there.st_mode, S_IFSOCK | 0600);
        assert_int_equal(canopy_listener_close(&scene.listener), 0);
    }
    /* Nor is it less the owner's than it should be. */
    umask(0377);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    assert_int_equal(lstat(scene.path, &there), 0);
    assert_int_equal(there.st_mode, S_IFSOCK | 0600);
    assert_int_equal(umask(before), 0377);
    listening_close(&scene);
    thread_join(&looker);
}

/* A socket of a process that is gone. */
static void leave_behind(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket_made();
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

TEST(inspect_listen_replaces_a_socket_that_was_left_behind)
{
    struct scene scene;
    scene_open(&scene);
    leave_behind(scene.path);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
}

TEST(inspect_listen_leaves_a_socket_that_somebody_answers_on)
{
    struct scene scene;
    listening_open(&scene);
    canopy_listener other = {NULL};
    assert_int_equal(canopy_listen(&other, scene.path, 0), -EADDRINUSE);
    assert_null(other.canopy_state);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
    /* Also where it has no room for more clients, or is of another kind. */
    scene_open(&scene);
    struct sockaddr_un address = address_of(scene.path);
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), clients[2] = {-1, -1};
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        if (type == SOCK_STREAM) {
            assert_int_equal(listen(fd, 0), 0);
            clients[0] = dial(scene.path);
        }
        assert_int_equal(canopy_listen(&other, scene.path, 0), -EADDRINUSE);
        assert_int_equal(access(scene.path, F_OK), 0);
        close(clients[0]);
        close(fd);
        assert_int_equal(unlink(scene.path), 0);
    }
    scene_close(&scene);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_file_has(const char *path, const char *text)
{
    char line[32] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_string_equal(line, text);
}

TEST(inspect_listen_never_replaces_another_file)
{
    struct scene scene;
    canopy_listener listener = {NULL};
    char target[128];
    scene_open(&scene);
    write_file(scene.path, "kept");
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -EEXIST);
    assert_file_has(scene.path, "kept");
    assert_int_equal(unlink(scene.path), 0);
    assert_int_equal(mkdir(scene.path, 0700), 0);
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -EEXIST);
    assert_int_equal(rmdir(scene.path), 0);
    /* Links are not followed: to nothing, and to a socket that was left behind. */
    snprintf(target, sizeof target, "%s/target", scene.directory);
    assert_int_equal(symlink(target, scene.path), 0);
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -EEXIST);
    leave_behind(target);
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -EEXIST);
    assert_int_equal(unlink(target), 0);
    assert_int_equal(unlink(scene.path), 0);
    assert_null(listener.canopy_state);
    scene_close(&scene);
}

TEST(inspect_listen_removes_only_its_own_file)
{
    struct scene scene;
    listening_open(&scene);
    assert_int_equal(unlink(scene.path), 0);
    assert_int_equal(canopy_listener_close(&scene.listener), 0);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    assert_int_equal(unlink(scene.path), 0);
    write_file(scene.path, "kept");
    assert_int_equal(canopy_listener_close(&scene.listener), 0);
    assert_file_has(scene.path, "kept");
    assert_int_equal(unlink(scene.path), 0);
    /* Another listener has the place by now. */
    canopy_listener other;
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    assert_int_equal(unlink(scene.path), 0);
    assert_int_equal(canopy_listen(&other, scene.path, 0), 0);
    assert_int_equal(canopy_listener_close(&scene.listener), 0);
    assert_answers(scene.path, "help\n", 0, "help\n");
    assert_int_equal(canopy_listener_close(&other), 0);
    scene_close(&scene);
}

TEST(inspect_listen_removes_its_file_wherever_the_process_has_gone)
{
    struct scene scene;
    scene_open(&scene);
    assert_int_equal(chdir(scene.directory), 0);
    assert_int_equal(canopy_listen(&scene.listener, "socket", 0), 0);
    assert_answers(scene.path, "help\n", 0, "help\n");
    assert_int_equal(chdir("/"), 0);
    listening_close(&scene);
}

struct starter {
    struct meeting *meeting;
    const char *path;
    canopy_listener listener;
    int rounds, result;
};

static void start_at_once(void *arg)
{
    struct starter *self = arg;
    for (int i = 0; i < self->rounds; i++) {
        meet(self->meeting);
        self->result = canopy_listen(&self->listener, self->path, 0);
        meet(self->meeting);
        meet(self->meeting);
    }
}

TEST(inspect_listen_is_given_to_one_of_many_who_start_at_once)
{
    enum { STARTERS = 4, ROUNDS = SCALED(100, 20) };
    struct scene scene;
    struct meeting meeting = {.parties = STARTERS + 1};
    struct starter starters[STARTERS];
    struct thread threads[STARTERS];
    scene_open(&scene);
    for (int i = 0; i < STARTERS; i++) {
        starters[i] = (struct starter){.meeting = &meeting, .path = scene.path, .rounds = ROUNDS};
        thread_start(&threads[i], start_at_once, &starters[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        int open = 0;
        leave_behind(scene.path);
        meet(&meeting);
        meet(&meeting);
        assert_answers(scene.path, "help\n", 0, "help\n");
        for (int i = 0; i < STARTERS; i++) {
            open += starters[i].result == 0;
            if (starters[i].result == 0)
                assert_int_equal(canopy_listener_close(&starters[i].listener), 0);
            else
                assert_int_equal(starters[i].result, -EADDRINUSE);
        }
        assert_int_equal(open, 1);
        meet(&meeting);
    }
    for (int i = 0; i < STARTERS; i++)
        thread_join(&threads[i]);
    scene_close(&scene);
}

TEST(inspect_listen_refuses_bad_input)
{
    struct scene scene;
    canopy_listener listener = {NULL};
    char path[256];
    scene_open(&scene);
    assert_int_equal(canopy_listen(NULL, scene.path, 0), -EINVAL);
    assert_int_equal(canopy_listen(&listener, NULL, 0), -EINVAL);
    assert_int_equal(canopy_listen(&listener, "", 0), -EINVAL);
    assert_int_equal(canopy_listen(&listener, scene.path, 2), -EINVAL);
    assert_int_equal(canopy_listener_close(NULL), -EINVAL);
    assert_int_equal(canopy_listener_close(&listener), -EINVAL);
    snprintf(path, sizeof path, "%s/no/socket", scene.directory);
    assert_int_equal(canopy_listen(&listener, path, 0), -ENOENT);
    write_file(scene.path, "a file");
    snprintf(path, sizeof path, "%s/socket", scene.path);
    assert_int_equal(canopy_listen(&listener, path, 0), -ENOTDIR);
    assert_int_equal(unlink(scene.path), 0);
    /* A path has 107 bytes. */
    memset(path, 'x', sizeof path);
    memcpy(path, scene.directory, strlen(scene.directory));
    path[strlen(scene.directory)] = '/';
    path[108] = '\0';
    assert_int_equal(canopy_listen(&listener, path, 0), -ENAMETOOLONG);
    assert_null(listener.canopy_state);
    path[107] = '\0';
    assert_int_equal(canopy_listen(&listener, path, 0), 0);
    assert_int_equal(canopy_listener_close(&listener), 0);
    assert_int_equal(canopy_listener_close(&listener), -EINVAL);
    assert_int_equal(access(path, F_OK), -1);
    scene_close(&scene);
}

TEST(inspect_listen_without_memory_threads_or_fds_leaves_all_as_it_was)
{
    struct scene scene;
    struct rlimit limit, none;
    scene_open(&scene);
    size_t fds = each_fd(NULL, NULL);
    canopy_listener listener = {NULL};
    atomic_store(&refuse_memory, 1);
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -ENOMEM);
    atomic_store(&refuse_memory, 0);
    atomic_store(&refuse_threads, 1);
    assert_int_equal(canopy_listen(&listener, scene.path, 0), -EAGAIN);
    atomic_store(&refuse_threads, 0);
    assert_int_equal(access(scene.path, F_OK), -1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int first = dup(0);
    for (rlim_t more = 0; more < 2; more++) {
        none = (struct rlimit){(rlim_t)first + more, limit.rlim_max};
        close(first);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(canopy_listen(&listener, scene.path, 0), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        first = dup(0);
    }
    close(first);
    assert_int_equal(each_fd(NULL, NULL), fds);
    assert_int_equal(access(scene.path, F_OK), -1);
    assert_null(listener.canopy_state);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------ bad clients */

TEST(inspect_listen_lets_go_of_clients_that_hang)
{
    struct scene scene;
    listening_open(&scene);
    int silent = dial(scene.path), halting = dial(scene.path);
    say(halting, "hel");
    assert_answers(scene.path, "help\n", 0, "help\n");
    assert_unanswered(silent);
    assert_unanswered(halting);
    listening_close(&scene);
}

TEST(inspect_listen_lets_go_of_clients_that_do_not_read_or_go_away)
{
    enum { CONTEXTS = 3000 };
    struct scene scene;
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    listening_open(&scene);
    for (size_t i = 0; i < CONTEXTS; i++)
        all[i] = canopy_with_cancel(scene.ctx);
    int deaf = dial(scene.path), gone = dial(scene.path);
    say(deaf, "dump json\n");
    say(gone, "dump json\n");
    close(gone);
    for (int i = 0; i < 20; i++) {
        int fd = dial(scene.path);
        say(fd, "dump text\n");
        char some[10];
        assert_true(recv(fd, some, sizeof some, 0) > 0);
        close(fd);
        close(dial(scene.path));
    }
    assert_answers(scene.path, "dump json\n", 0, "\n]}\n");
    assert_unanswered(deaf);
    assert_int_equal(thread_status("SigPnd:"), 0); /* no SIGPIPE either */
    for (size_t i = 0; i < CONTEXTS; i++)
        canopy_end(all[i]);
    free(all);
    listening_close(&scene);
}

TEST(inspect_listen_refuses_ten_megabytes_at_once)
{
    enum { BYTES = 10000000 };
    struct scene scene;
    char *bytes = malloc(BYTES), line[4200];
    listening_open(&scene);
    memset(bytes, 'x', BYTES);
    int fd = dial(scene.path);
    assert_true(send(fd, bytes, BYTES, MSG_NOSIGNAL) < BYTES);
    struct answer answer = hear(fd);
    assert_true(answer.is_whole);
    assert_int_equal(answer.status, -EINVAL);
    free(answer.text);
    free(bytes);
    /* 4,096 bytes are a line, one more is none. */
    memset(line, ' ', sizeof line);
    memcpy(line, "help", 4);
    line[4096] = '\n';
    line[4097] = '\0';
    assert_answers(scene.path, line, 0, "help\n");
    line[4096] = ' ';
    line[4097] = '\n';
    line[4098] = '\0';
    assert_answers(scene.path, line, -EINVAL, "at most 4096 bytes");
    listening_close(&scene);
}

struct caller {
    struct scene *scene;
    int calls;
};

static void call_often(void *arg)
{
    struct caller *self = arg;
    for (int i = 0; i < self->calls; i++)
        assert_answers(self->scene->path, "tree\n", 0, "\"connection\"");
}

TEST(inspect_listen_answers_many_clients_in_turn)
{
    enum { CALLERS = 48 };
    struct scene scene;
    struct thread threads[CALLERS];
    listening_open(&scene);
    struct caller caller = {&scene, SCALED(20, 4)};
    for (size_t i = 0; i < CALLERS; i++)
        thread_start(&threads[i], call_often, &caller);
    for (size_t i = 0; i < CALLERS; i++)
        thread_join(&threads[i]);
    listening_close(&scene);
}

static int64_t cpu_time_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return SECONDS(time.tv_sec) + time.tv_nsec;
}

TEST(inspect_listen_waits_idly_where_there_are_no_fds)
{
    struct scene scene;
    struct rlimit limit, none;
    listening_open(&scene);
    struct sockaddr_un address = address_of(scene.path);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = socket_made(), first = dup(0);
    close(first);
    none = (struct rlimit){(rlim_t)first, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    say(fd, "help\n");
    int64_t before_ns = cpu_time_ns();
    pause_ns(SECONDS(1));
    assert_true(cpu_time_ns() - before_ns < MILLISECONDS(500));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct answer answer = hear(fd);
    assert_int_equal(answer.status, 0);
    free(answer.text);
    listening_close(&scene);
}

/* poll fails then, too, as it waits for two. */
TEST(inspect_listen_closes_where_the_process_may_have_no_fds)
{
    struct scene scene;
    struct rlimit limit;
    listening_open(&scene);
    struct sockaddr_un address = address_of(scene.path);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = socket_made();
    struct rlimit one = {1, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int64_t before_ns = cpu_time_ns();
    pause_ns(SECONDS(1));
    assert_true(cpu_time_ns() - before_ns < MILLISECONDS(500));
    listening_close(&scene);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(fd);
}

/* As another user, where that can be had: 0, and what was heard. */
static int ask_as_nobody(const char *path)
{
    if (setgid(65534) != 0 || setuid(65534) != 0)
        return 2;
    int fd = socket_made();
    struct sockaddr_un address = address_of(path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return errno == EACCES ? 3 : 4;
    struct answer answer = hear(fd);
    return answer.is_whole && answer.status == -EPERM && answer.bytes == 4 ? 0 : 5;
}

static int as_nobody(const char *path)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_TIMEOUT_S);
        _exit(ask_as_nobody(path));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(inspect_listen_answers_its_own_user_only)
{
    struct scene scene;
    if (geteuid() != 0) {
        skip();
        return;
    }
    listening_open(&scene);
    assert_int_equal(chmod(scene.directory, 0755), 0);
    assert_int_equal(as_nobody(scene.path), 3);
    /* Even where somebody has opened the file to others. */
    assert_int_equal(chmod(scene.path, 0666), 0);
    assert_int_equal(as_nobody(scene.path), 0);
    listening_close(&scene);
}

/* ----------------------------------------------------------------------- threads and forks */

TEST(inspect_listen_leaves_signals_and_its_thread_blocks_them)
{
    struct scene scene;
    sigset_t before, after;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    listening_open(&scene);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int number = 1; number < 32; number++) {
        assert_int_equal(sigismember(&after, number), number == SIGUSR1);
        bool can_be = number != SIGKILL && number != SIGSTOP;
        assert_true(eventually(((thread_status("SigBlk:") >> (number - 1)) & 1) == can_be, SOON));
    }
    listening_close(&scene);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    assert_true(sigismember(&after, SIGUSR1) && !sigismember(&after, SIGTERM));
    assert_true(eventually(count_threads("canopy-listen", NULL) == 0, SOON));
}

static void is_close_on_exec(int fd, void *arg)
{
    int flags = fcntl(fd, F_GETFD);
    *(size_t *)arg += (flags & FD_CLOEXEC) == 0;
}

/* A client that is being waited for, where there were so many fds. */
static int dial_served(const char *path, size_t fds)
{
    int fd = dial(path);
    while (!eventually(each_fd(NULL, NULL) == fds + 2, SECONDS(1))) {
        close(fd);
        fd = dial(path);
    }
    return fd;
}

TEST(inspect_listen_leaves_no_fds_to_what_is_executed)
{
    struct scene scene;
    size_t before = 0, after = 0;
    scene_open(&scene);
    size_t fds = each_fd(is_close_on_exec, &before);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    int fd = dial_served(scene.path, fds + 2);
    each_fd(is_close_on_exec, &after);
    assert_int_equal(after, before);
    close(fd);
    listening_close(&scene);
    assert_int_equal(each_fd(NULL, NULL), fds);
}

/* What a child finds: 0. */
static int look_as_child(struct scene *scene, size_t fds, int fd)
{
    close(fd);
    if (each_fd(NULL, NULL) != fds || count_threads("canopy-listen", NULL) != 0)
        return 1;
    if (canopy_listener_close(&scene->listener) != 0 || scene->listener.canopy_state)
        return 2;
    if (canopy_listener_close(&scene->listener) != -EINVAL || access(scene->path, F_OK) != 0)
        return 3;
    /* It may have one of its own. */
    canopy_listener own;
    if (canopy_listen(&own, scene->path, 0) != -EADDRINUSE)
        return 4;
    if (UNDER_SANITIZER) /* some know a thread by its stack, which is one's of the parent */
        return 0;
    char path[128];
    snprintf(path, sizeof path, "%s.child", scene->path);
    if (canopy_listen(&own, path, 0) != 0)
        return 5;
    assert_answers(path, "help\n", 0, "help\n");
    return canopy_listener_close(&own) == 0 ? 0 : 6;
}

TEST(inspect_listen_is_not_for_the_child_of_a_fork)
{
    struct scene scene;
    int status;
    scene_open(&scene);
    size_t fds = each_fd(NULL, NULL);
    assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
    int fd = dial_served(scene.path, fds + 2);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_TIMEOUT_S);
        _exit(look_as_child(&scene, fds, fd));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(fd);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
}

/* A callback that a `cancel` runs on the listener's thread. */
static void cancelled_by_socket(struct scene *scene, void (*run)(void *arg))
{
    canopy_callback callback;
    char line[64];
    canopy_ctx *ctx = canopy_with_cancel(scene->f.root);
    assert_int_equal(canopy_after_func(ctx, &callback, run, scene), 0);
    snprintf(line, sizeof line, "cancel %llu\n", (unsigned long long)canopy_id(ctx));
    int fd = dial(scene->path);
    say(fd, line);
    free(hear(fd).text);
    assert_int_equal(canopy_err(ctx), -ECANCELED);
    canopy_callback_join(&callback);
    canopy_end(ctx);
}

static int result;

static void close_it(void *arg)
{
    result = canopy_listener_close(&((struct scene *)arg)->listener);
}

TEST(inspect_listen_is_not_closed_by_its_own_thread)
{
    struct scene scene;
    listening_open(&scene);
    cancelled_by_socket(&scene, close_it);
    assert_int_equal(result, -EDEADLK);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
}

static void end_thread(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

TEST(inspect_listen_goes_on_when_a_callback_ends_its_thread)
{
    struct scene scene;
    listening_open(&scene);
    for (int i = 0; i < 3; i++)
        cancelled_by_socket(&scene, end_thread);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
}

static void fork_it(void *arg)
{
    struct scene *scene = arg;
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        sigset_t mask;
        alarm(CHILD_TIMEOUT_S);
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (sigismember(&mask, SIGTERM)) /* an ordinary thread by now */
            _exit(1);
        _exit(canopy_listener_close(&scene->listener) == -EDEADLK ? 0 : 2);
    }
    result = waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(inspect_listen_survives_a_fork_on_its_thread)
{
    struct scene scene;
    listening_open(&scene);
    cancelled_by_socket(&scene, fork_it);
    assert_int_equal(result, 0);
    assert_answers(scene.path, "help\n", 0, "help\n");
    listening_close(&scene);
}

static void listen_there(void *arg)
{
    struct scene *scene = arg;
    result = canopy_listen(&scene->listener, scene->path, 0);
}

TEST(inspect_listen_may_be_called_in_callbacks)
{
    struct scene scene;
    scene_open(&scene);
    for (int is_async = 0; is_async < 2; is_async++) {
        canopy_callback callback = {0};
        canopy_ctx *ctx = canopy_with_cancel(scene.f.root);
        result = 1;
        assert_int_equal((is_async ? canopy_after_func_async
                                   : canopy_after_func)(ctx, &callback, listen_there, &scene),
                         0);
        canopy_cancel(ctx);
        canopy_callback_join(&callback);
        assert_int_equal(result, 0);
        assert_answers(scene.path, "help\n", 0, "help\n");
        assert_int_equal(canopy_listener_close(&scene.listener), 0);
        canopy_end(ctx);
    }
    scene_close(&scene);
}

TEST(inspect_listen_is_closed_beside_clients_of_any_kind)
{
    enum { CONTEXTS = 3000 };
    struct scene scene;
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    scene_open(&scene);
    for (size_t i = 0; i < CONTEXTS; i++)
        all[i] = canopy_with_cancel(scene.ctx);
    for (int i = 0; i < SCALED(30, 8); i++) {
        assert_int_equal(canopy_listen(&scene.listener, scene.path, 0), 0);
        int fd = dial(scene.path);
        if (i % 4)
            say(fd, i % 4 == 1 ? "dump json\n" : i % 4 == 2 ? "tree\n" : "h");
        pause_ns(MILLISECONDS(i % 5));
        int64_t before_ns = now_ns();
        assert_int_equal(canopy_listener_close(&scene.listener), 0);
        /* A client has two seconds, but not then. Busy machines are slow, though. */
        assert_true(now_ns() - before_ns < SOON);
        free(hear(fd).text);
    }
    for (size_t i = 0; i < CONTEXTS; i++)
        canopy_end(all[i]);
    free(all);
    scene_close(&scene);
}
