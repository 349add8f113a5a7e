// glib.cc - the peer GCancellable, of GLib: a child is cancelled by a handler
// that is connected to its parent.
#include <gio/gio.h>

#include "workloads/all.h"

namespace
{

struct Glib {
    static constexpr const char *name = "gcancellable";
    static constexpr int64_t deepest = 10000; // recursion; 11,000 fit into 8 MiB of stack

    struct node {
        GCancellable *self, *parent;
        gulong link;
    };
    struct callback {
        GCancellable *on;
        gulong link;
        bench::Fn fn;
        void *arg;
    };

    static void root(node &made)
    {
        made = {g_cancellable_new(), nullptr, 0};
    }
    static void child(node &made, node &parent)
    {
        made = {g_cancellable_new(), parent.self, 0};
        made.link = g_cancellable_connect(parent.self, G_CALLBACK(pass_on), made.self, nullptr);
    }
    static void cancel(node &ctx)
    {
        g_cancellable_cancel(ctx.self);
    }
    static void end(node &ctx)
    {
        g_cancellable_cancel(ctx.self);
        if (ctx.parent)
            g_cancellable_disconnect(ctx.parent, ctx.link);
        g_object_unref(ctx.self);
    }
    static bool done(const node &ctx)
    {
        return g_cancellable_is_cancelled(ctx.self);
    }
    static void wait(node &ctx)
    {
        GPollFD fd;

        if (!g_cancellable_make_pollfd(ctx.self, &fd))
            bench::check(EMFILE);
        g_poll(&fd, 1, -1);
        g_cancellable_release_fd(ctx.self);
    }
    static void callback_add(node &ctx, callback &record, bench::Fn fn, void *arg)
    {
        record = {ctx.self, 0, fn, arg};
        record.link = g_cancellable_connect(ctx.self, G_CALLBACK(call), &record, nullptr);
    }
    static void callback_stop(callback &record)
    {
        g_cancellable_disconnect(record.on, record.link);
    }

  private:
    static void pass_on(GCancellable *, gpointer child)
    {
        g_cancellable_cancel(static_cast<GCancellable *>(child));
    }
    static void call(GCancellable *, gpointer record)
    {
        static_cast<callback *>(record)->fn(static_cast<callback *>(record)->arg);
    }
};

} // namespace

int main(int argc, char **argv)
{
    bench::add_all<Glib>();
    return bench::main(argc, argv);
}
