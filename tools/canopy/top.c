/*
 * top.c - `top`: a process is asked again and again, and a screen shows what it says. Keys and
 * the process are waited for together, so that no process, however it behaves, keeps the keys
 * from working; when it says nothing more the screen says so, and what it shows stays.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "socket.h"
#include "terminal.h"
#include "tool.h"
#include "view.h"

#define ANSWER_BYTES_MOST (16 << 20) /* what a process says to top is a small part of that */
#define SILENCE_NS        (2 * NS_PER_SECOND) /* after which the screen says that it is old */

struct answer {
    char *bytes;
    size_t used, room;
};

/* ----------------------------------------------------------------------------- asking */

static int gather(void *user, const char *bytes, size_t n)
{
    struct answer *answer = user;
    if (n > ANSWER_BYTES_MOST - answer->used)
        return -EMSGSIZE;
    if (n > answer->room - answer->used) {
        size_t room = 2 * (answer->used + n);
        char *more = realloc(answer->bytes, room);
        if (!more)
            return -ENOMEM;
        answer->bytes = more;
        answer->room = room;
    }
    memcpy(answer->bytes + answer->used, bytes, n);
    answer->used += n;
    return 0;
}

static bool ask_for_moment(struct question *question, const struct options *options,
                           struct answer *answer)
{
    answer->used = 0;
    return question_open(question, options->path, "top\n", options->timeout_ns, gather, answer);
}

static void tell_time(char *text, size_t text_bytes)
{
    time_t now = time(NULL);
    struct tm local;
    if (!localtime_r(&now, &local) || strftime(text, text_bytes, "%H:%M:%S", &local) == 0)
        *text = '\0';
}

/* The answer takes the place of the view's moment; else `trouble` says why not. */
static bool take_answer(struct view *view, const struct question *question,
                        const struct answer *answer)
{
    struct moment next;
    if (question->status != 0) {
        snprintf(view->trouble, sizeof view->trouble, "the process says no: %s",
                 strerror(-question->status));
        return false;
    }
    if (!moment_read(&next, answer->bytes ? answer->bytes : "", answer->used, view->trouble,
                     sizeof view->trouble))
        return false;
    view_advance(view, &next);
    view->trouble[0] = '\0';
    tell_time(view->clock, sizeof view->clock);
    return true;
}

static bool ask_and_take(struct view *view, const struct options *options, struct answer *answer)
{
    struct question question;
    answer->used = 0;
    if (question_ask(&question, options->path, "top\n", options->timeout_ns, gather, answer))
        return take_answer(view, &question, answer);
    snprintf(view->trouble, sizeof view->trouble, "%s", question.problem);
    return false;
}

/* ------------------------------------------------------------------------------- once */

static size_t from_environment(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    long number = text ? strtol(text, NULL, 10) : 0;
    return number > 0 && number <= 1000 ? (size_t)number : otherwise;
}

static int print_once(struct view *view, struct screen *screen)
{
    screen_open(screen, from_environment("LINES", 24), from_environment("COLUMNS", 80));
    view_draw(view, screen);
    for (size_t i = 0; i < screen->used; i++) {
        struct line *line = &screen->lines[i];
        while (line->bytes > 0 && line->text[line->bytes - 1] == ' ')
            line->text[--line->bytes] = '\0';
        puts(line->text);
    }
    return fflush(stdout) == 0 ? EXIT_IS_DONE : say_no("cannot write: %s", strerror(errno));
}

/* Two looks, so that there are rates. */
static int once(struct view *view, const struct options *options, struct screen *screen,
                struct answer *answer)
{
    struct timespec between = {options->interval_ns / NS_PER_SECOND,
                               options->interval_ns % NS_PER_SECOND};
    nanosleep(&between, NULL);
    if (!ask_and_take(view, options, answer))
        return say_no("%s: %s", options->path, view->trouble);
    return print_once(view, screen);
}

/* ------------------------------------------------------------------------------- live */

struct live {
    const struct options *options;
    struct view *view;
    struct answer *answer;
    struct question question;
    bool is_asking;
    int64_t next_ns; /* when to ask again */
};

/* How long until there is something to do, but for what is waited for. */
static int wait_ms(const struct live *live, struct pollfd *wanted)
{
    *wanted = (struct pollfd){.fd = -1};
    if (live->is_asking) {
        int left_ms = question_wants(&live->question, wanted);
        return left_ms < 1000 ? left_ms : 1000; /* the silence is told by the second */
    }
    return ms_until(live->next_ns - now_ns());
}

static void stop_asking(struct live *live)
{
    question_close(&live->question);
    live->is_asking = false;
    live->next_ns = now_ns() + live->options->interval_ns;
}

/* Before it is given up it is said to be silent: the screen does not look fresh when it is not. */
static bool tell_silence(struct live *live)
{
    int64_t silence_ns = now_ns() - live->question.heard_ns;
    if (silence_ns < SILENCE_NS)
        return false;
    snprintf(live->view->trouble, sizeof live->view->trouble, "no answer for %d s",
             (int)(silence_ns / NS_PER_SECOND));
    return true;
}

/* True: there is something new to show. */
static bool go_on_asking(struct live *live)
{
    if (!live->is_asking && (live->view->is_held || now_ns() < live->next_ns))
        return false;
    if (!live->is_asking)
        live->is_asking = ask_for_moment(&live->question, live->options, live->answer);
    switch (question_step(&live->question)) {
    case ASKED_GOES_ON:
        return tell_silence(live);
    case ASKED_IS_ANSWERED:
        take_answer(live->view, &live->question, live->answer);
        break;
    case ASKED_HAS_FAILED:
        snprintf(live->view->trouble, sizeof live->view->trouble, "%s", live->question.problem);
        break;
    }
    stop_asking(live);
    return true;
}

/* False: the end is wanted. */
static bool obey(struct view *view, int key)
{
    switch (key) {
    case 'q':
    case KEY_GONE:
        return false;
    case 's':
        tables_sort_next(view);
        return true;
    case '\t':
        view->focus = (view->focus + 1) % TABLES;
        return true;
    case ' ':
        view->is_held = !view->is_held;
        return true;
    default:
        return true;
    }
}

static void run_live(struct live *live, struct screen *screen)
{
    bool is_new = true;
    for (;;) {
        if (is_new)
            terminal_show(live->view, screen);
        struct pollfd wanted[2] = {{.fd = STDIN_FILENO, .events = POLLIN}};
        int left_ms = wait_ms(live, &wanted[1]);
        poll(wanted, 2, live->view->is_held && !live->is_asking ? -1 : left_ms);
        is_new = go_on_asking(live);
        for (int key; (key = terminal_key(wanted[0].revents)) != KEY_NONE; is_new = true)
            if (!obey(live->view, key))
                return;
        if (live->view->is_held && live->is_asking) /* what it is held at is what it shows */
            stop_asking(live);
    }
}

static int live_top(struct view *view, const struct options *options, struct screen *screen,
                    struct answer *answer)
{
    struct live live = {.options = options,
                        .view = view,
                        .answer = answer,
                        .question.fd = -1,
                        .next_ns = now_ns() + options->interval_ns};
    if (!terminal_open())
        return say_no("top: this terminal has no screen to draw on (TERM); --once needs none");
    view->is_live = true;
    run_live(&live, screen);
    question_close(&live.question);
    terminal_close();
    return EXIT_IS_DONE;
}

int top_command(const struct options *options)
{
    static struct screen screen;
    struct view view = {.sort = {[TABLE_CAUSES] = 2, [TABLE_CONTEXTS] = 1, [TABLE_PLACES] = 1},
                        .focus = TABLE_CONTEXTS};
    struct answer answer = {NULL, 0, 0};
    int status;
    if (!options->once && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
        return say_no("top: there is no terminal; --once prints one screen without");
    if (!ask_and_take(&view, options, &answer))
        status = say_no("%s: %s", options->path, view.trouble);
    else if (options->once)
        status = once(&view, options, &screen, &answer);
    else
        status = live_top(&view, options, &screen, &answer);
    moment_free(&view.now);
    moment_free(&view.before);
    free(answer.bytes);
    return status;
}
