// nsync.cc - the peer nsync: notes with parents and deadlines. A deadline is
// noticed by whoever asks or waits; nothing fires by itself.
#include <nsync.h>

#include "workloads/all.h"

namespace
{

struct Nsync {
    static constexpr const char *name = "nsync";
    static constexpr int64_t deepest = 100000; // recursion; 174,000 fit into 8 MiB of stack
    using node = nsync::nsync_note;

    static void root(node &made)
    {
        made = bench::must(nsync::nsync_note_new(nullptr, nsync::nsync_time_no_deadline));
    }
    static void child(node &made, node parent)
    {
        made = bench::must(nsync::nsync_note_new(parent, nsync::nsync_time_no_deadline));
    }
    static void timeout(node &made, node parent)
    {
        deadline_in(made, parent, bench::timeout_ns);
    }
    static void deadline(node &made, node parent, int64_t deadline_ns)
    {
        deadline_in(made, parent, deadline_ns - bench::now_ns());
    }
    static void cancel(node note)
    {
        nsync::nsync_note_notify(note);
    }
    static void end(node note)
    {
        nsync::nsync_note_notify(note);
        nsync::nsync_note_free(note);
    }
    static bool done(node note)
    {
        return nsync::nsync_note_is_notified(note) != 0;
    }
    static void wait(node note)
    {
        nsync::nsync_note_wait(note, nsync::nsync_time_no_deadline);
    }

  private:
    static void deadline_in(node &made, node parent, int64_t in_ns)
    {
        const nsync::nsync_time in = nsync::nsync_time_s_ns(
            in_ns / bench::second_ns, static_cast<unsigned>(in_ns % bench::second_ns));

        made = bench::must(
            nsync::nsync_note_new(parent, nsync::nsync_time_add(nsync::nsync_time_now(), in)));
    }
};

} // namespace

int main(int argc, char **argv)
{
    bench::add_all<Nsync>();
    return bench::main(argc, argv);
}
