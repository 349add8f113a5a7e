/*
 * adapter.cc - <canopy/adapters/grpc.hpp> against the real gRPC: a server and its client in
 * one process, over a socket of the loopback. Chains of processes are in chain.
 */
#include <canopy/adapters/grpc.hpp>
#include <canopy/canopy.hpp>

#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <dirent.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../../tools/chain/method.h"
#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using handler = std::function<grpc::Status(canopy::context_ref)>;

constexpr std::uint32_t all_fields =
    CANOPY_WIRE_MS_TIMEOUT | CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE;
constexpr char ms_name[] = "x-timeout-ms";

canopy::wire_policy agreed()
{
    canopy::wire_policy policy{all_fields};
    policy.ms_name = ms_name;
    return policy;
}

/* A reactor that runs the handler as it is made, and answers as that does; or when it ends. */
class run_once final : public canopy::grpc_reactor<grpc::ServerUnaryReactor>
{
  public:
    run_once(canopy::context_ref root, grpc::CallbackServerContext *from,
             const canopy_wire_policy &policy, const handler &handle)
        : grpc_reactor{root, *from, policy}
    {
        if (is_answered() || finish_at_end() != 0)
            return;
        worker_ = std::thread{[this, handle] { finish(handle(request())); }};
    }
    ~run_once() override
    {
        if (worker_.joinable())
            worker_.join();
    }
    void OnDone() override
    {
        std::thread{[this] { delete this; }}.detach(); /* which may wait for the handler */
    }

  private:
    std::thread worker_;
};

/* A server whose method is `handle`, one way or the other, and a channel to it. */
struct world {
    explicit world(bool blocks) : is_blocking{blocks}
    {
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        int port = 0;
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
        builder.RegisterService(blocks ? static_cast<grpc::Service *>(&blocking) : &reacting);
        server = builder.BuildAndStart();
        assert_non_null(server.get());
        channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                      grpc::InsecureChannelCredentials());
    }
    ~world()
    {
        channel.reset();
        server->Shutdown();
        server->Wait();
        server.reset();
        assert_int_equal(canopy_wait_idle(fixture.root, now_ns() + SOON), 0);
        fixture_close(&fixture);
    }
    world(const world &) = delete;
    world &operator=(const world &) = delete;

    grpc::Status ask(canopy::context_ref ctx, const canopy_wire_policy &with)
    {
        return canopy::grpc_ask(ctx, with, [this](grpc::ClientContext *to) {
            asked++;
            return call(to);
        });
    }
    grpc::Status call(grpc::ClientContext *to)
    {
        grpc::ByteBuffer out;
        return chain::call(*channel, to, chain::to_buffer("a"), &out);
    }

    struct fixture fixture {
    };
    const bool is_blocking;
    canopy::wire_policy policy = agreed(); /* the server's */
    handler handle = [](canopy::context_ref) { return grpc::Status{}; };
    std::atomic<unsigned> ran{0}, asked{0};
    std::unique_ptr<grpc::Server> server;
    std::shared_ptr<grpc::Channel> channel;

    handler counted()
    {
        return [this](canopy::context_ref ctx) {
            ran++;
            return handle(ctx);
        };
    }
    chain::blocking_service blocking{
        [this](grpc::ServerContext *from, const grpc::ByteBuffer *, grpc::ByteBuffer *out) {
            *out = chain::to_buffer("a"); /* gRPC wants one where the status is OK */
            return canopy::grpc_serve(fixture.root, *from, policy, counted());
        }};
    chain::reacting_service reacting{
        [this](grpc::CallbackServerContext *from, const grpc::ByteBuffer *, grpc::ByteBuffer *out) {
            *out = chain::to_buffer("a");
            return new run_once{fixture.root, from, policy, counted()};
        }};
};

/* The same for a server of each kind. */
void in_both(void (*body)(world &))
{
    for (const bool blocks : {true, false}) {
        world w{blocks};
        body(w);
    }
}

canopy::context with_root(world &w)
{
    return canopy::with_cancel(w.fixture.root);
}

int code_of(const grpc::Status &status)
{
    return static_cast<int>(status.error_code());
}

/* Sleeps until it ends, and says as what. */
grpc::Status wait_for_end(canopy::context_ref ctx)
{
    assert_true(canopy_wait(ctx.get(), now_ns() + SOON));
    return canopy::grpc_status(ctx);
}

std::size_t open_descriptors()
{
    std::size_t count = 0;
    DIR *const directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    /* cppcheck-suppress readdirCalled ; nobody else has this stream */
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

} // namespace

/* ----------------------------------------------------------------- deadlines */

TEST(grpc_a_server_has_what_the_client_has_less_the_reserve)
{
    in_both([](world &w) {
        canopy::wire_policy with = agreed();
        with.reserve_ns = SECONDS(20);
        std::int64_t left_ns = 0;
        w.handle = [&](canopy::context_ref ctx) {
            std::int64_t deadline_ns;
            assert_true(canopy_deadline(ctx.get(), &deadline_ns));
            left_ns = deadline_ns - now_ns();
            return grpc::Status{};
        };
        canopy::context ctx = canopy::with_timeout(w.fixture.root, 300s);
        assert_int_equal(code_of(w.ask(ctx, with)), 0);
        /* gRPC rounds up by a hundredth and a millisecond at most */
        assert_in_range(left_ns, 1, SECONDS(280) + SECONDS(28) / 10 + MILLISECONDS(1));
    });
}

TEST(grpc_each_try_has_what_is_left_and_no_more)
{
    world w{true};
    canopy::wire_policy with = agreed();
    canopy::context ctx = canopy::with_timeout(w.fixture.root, 100s);
    canopy_deadline(ctx.get(), nullptr);
    std::int64_t deadline_ns;
    assert_true(canopy_deadline(ctx.get(), &deadline_ns));
    for (const std::int64_t reserve_ns : {SECONDS(0), SECONDS(30)}) {
        with.reserve_ns = reserve_ns;
        for (int tries = 0; tries < 3; tries++) {
            canopy::grpc_try attempt{ctx, with};
            const gpr_timespec told = attempt.to()->raw_deadline();
            assert_int_equal(attempt.error(), 0);
            assert_int_equal(told.clock_type, GPR_CLOCK_MONOTONIC);
            assert_true(told.tv_sec * SECONDS(1) + told.tv_nsec <= deadline_ns - reserve_ns);
            pause_ns(MILLISECONDS(2));
        }
    }
    with.try_timeout_ns = SECONDS(1);
    with.reserve_ns = 0;
    canopy::grpc_try attempt{ctx, with};
    const gpr_timespec told = attempt.to()->raw_deadline();
    assert_true(told.tv_sec * SECONDS(1) + told.tv_nsec <= now_ns() + SECONDS(1));
}

TEST(grpc_no_deadline_stays_none_but_for_the_cap)
{
    in_both([](world &w) {
        canopy::context ctx = with_root(w);
        std::int64_t deadline_ns = 0;
        w.handle = [&](canopy::context_ref of) {
            canopy_deadline(of.get(), &deadline_ns);
            return grpc::Status{};
        };
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        assert_true(deadline_ns == CANOPY_NEVER);
        w.policy.max_timeout_ns = SECONDS(100);
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        assert_true(deadline_ns <= now_ns() + SECONDS(100));
        ctx.set_timeout(std::chrono::hours{1});
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        assert_true(deadline_ns <= now_ns() + SECONDS(100));
    });
}

TEST(grpc_of_two_time_outs_the_earlier_counts)
{
    in_both([](world &w) {
        std::int64_t deadline_ns = 0;
        w.handle = [&](canopy::context_ref ctx) {
            canopy_deadline(ctx.get(), &deadline_ns);
            return grpc::Status{};
        };
        for (const char *ms : {"10000", "900000"}) {
            grpc::ClientContext to;
            to.AddMetadata(ms_name, ms);
            to.set_deadline(std::chrono::system_clock::now() + 300s);
            assert_int_equal(code_of(w.call(&to)), 0);
            const std::int64_t most_ns = ms[0] == '1' ? SECONDS(10) : SECONDS(310);
            assert_true(deadline_ns <= now_ns() + most_ns);
        }
    });
}

TEST(grpc_no_handler_runs_where_time_is_up)
{
    in_both([](world &w) {
        grpc::ClientContext to;
        to.AddMetadata(ms_name, "0");
        const grpc::Status status = w.call(&to);
        assert_int_equal(code_of(status), 4);
        assert_string_equal(status.error_message().c_str(), "DEADLINE_EXCEEDED");
        assert_int_equal(w.ran, 0);
    });
}

TEST(grpc_nothing_is_sent_where_nothing_is_left)
{
    in_both([](world &w) {
        canopy::wire_policy with = agreed();
        with.reserve_ns = SECONDS(500);
        canopy::context ctx = canopy::with_timeout(w.fixture.root, 400s);
        assert_int_equal(code_of(w.ask(ctx, with)), 4);
        assert_int_equal(canopy::grpc_try(ctx, with).error(), -ETIMEDOUT);
        ctx.cancel(canopy_wire_cause(14));
        assert_int_equal(code_of(w.ask(ctx, agreed())), 14);
        assert_int_equal(canopy::grpc_try(ctx, agreed()).error(), -ECANCELED);
        with.size = 3;
        canopy::context live = with_root(w);
        assert_int_equal(canopy::grpc_try(live, with).error(), -EINVAL);
        assert_int_equal(code_of(w.ask(live, with)), 13);
        assert_int_equal(w.asked, 0);
        assert_int_equal(w.ran, 0);
    });
}

TEST(grpc_a_deadline_ends_both_sides)
{
    in_both([](world &w) {
        std::atomic<int> status{0};
        w.handle = [&](canopy::context_ref ctx) {
            grpc::Status end = wait_for_end(ctx);
            status = code_of(end);
            return end;
        };
        canopy::context ctx = canopy::with_timeout(w.fixture.root, 50ms);
        assert_int_equal(code_of(w.ask(ctx, agreed())), 4);
        /* of the client's end or by its own deadline, whichever was first */
        assert_true(w.ran == 0 || eventually(status == 4 || status == 1, SOON));
    });
}

/* --------------------------------------------------------- what goes along with it */

TEST(grpc_trace_and_baggage_cross)
{
    in_both([](world &w) {
        const auto trace = canopy::traceparent::begin(CANOPY_TRACE_SAMPLED);
        canopy::wire_policy from = agreed();
        canopy::wire_in wire{from, canopy::moment::now()};
        wire.trace = *trace;
        wire.taken |= CANOPY_WIRE_TRACE;
        canopy::context request = canopy::with_wire(w.fixture.root, wire);
        canopy::context ctx = canopy::with_baggage(request, "user", "al ice");
        w.handle = [&](canopy::context_ref there) {
            const canopy_traceparent *came = canopy::traceparent_of(there);
            assert_non_null(came);
            assert_memory_equal(came->trace_id, trace->trace_id, sizeof came->trace_id);
            assert_memory_not_equal(came->span_id, trace->span_id, sizeof came->span_id);
            assert_true(canopy::baggage_of(there) == "user=al%20ice");
            return grpc::Status{};
        };
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        w.policy.fields = 0;
        w.handle = [](canopy::context_ref there) {
            assert_null(canopy::traceparent_of(there));
            assert_true(canopy::baggage_of(there).empty());
            return grpc::Status{};
        };
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        assert_int_equal(w.ran, 2);
    });
}

/* ------------------------------------------------------------------------ the end */

TEST(grpc_a_cancel_of_the_client_ends_the_server)
{
    in_both([](world &w) {
        canopy::context ctx = with_root(w);
        std::atomic<const canopy_cause *> cause{nullptr};
        w.handle = [&](canopy::context_ref there) {
            ctx.cancel(canopy_wire_cause(14));
            wait_for_end(there);
            cause = canopy_cause_of(there.get());
            return grpc::Status{};
        };
        assert_int_equal(code_of(w.ask(ctx, agreed())), 14);
        assert_true(eventually(cause != nullptr, SOON));
        assert_ptr_equal(cause.load(), canopy_wire_cause(1));
    });
}

/* As unit tests of handlers make one. */
TEST(grpc_a_handler_runs_without_a_call_of_grpc_s)
{
    canopy::root root;
    grpc::ServerContext from;
    const canopy::wire_policy policy = agreed();
    const grpc::Status status = canopy::grpc_serve(root, from, policy, [](canopy::context_ref ctx) {
        assert_false(canopy_deadline(ctx.get(), nullptr));
        return grpc::Status{grpc::StatusCode::ABORTED, ""};
    });
    assert_int_equal(code_of(status), 10);
    assert_int_equal(root.close(canopy::moment::now() + 60s), 0);
}

TEST(grpc_an_end_of_the_server_s_own_answers)
{
    in_both([](world &w) {
        canopy::context ctx = with_root(w);
        for (int status = 1; status <= 16; status++) {
            w.handle = [&](canopy::context_ref there) {
                canopy::context below = canopy::with_cancel(there);
                below.cancel(canopy_wire_cause(status));
                return canopy::grpc_status(below);
            };
            const grpc::Status came = w.ask(ctx, agreed());
            assert_int_equal(code_of(came), status);
            assert_string_equal(came.error_message().c_str(), canopy_wire_cause(status)->text);
            assert_ptr_equal(canopy::grpc_cause(came), canopy_wire_cause(status));
        }
        assert_null(canopy::grpc_cause(grpc::Status{}));
    });
}

TEST(grpc_the_end_of_the_parent_answers)
{
    world w{false};
    w.handle = [&](canopy::context_ref there) {
        canopy_cancel_cause(w.fixture.root, CANOPY_CAUSE(-ESHUTDOWN, "for nobody else"));
        return wait_for_end(there);
    };
    grpc::ClientContext to;
    const grpc::Status status = w.call(&to);
    assert_int_equal(code_of(status), 14);
    assert_string_equal(status.error_message().c_str(), "UNAVAILABLE");
}

TEST(grpc_a_status_that_came_is_told_by_what_ended_the_call)
{
    const grpc::Status cancelled{grpc::StatusCode::CANCELLED, "theirs"};
    canopy::context live = canopy::with_cancel(canopy::background());
    assert_string_equal(canopy::grpc_answered(live, cancelled).error_message().c_str(), "theirs");
    canopy::root host{canopy::config::host_clock(canopy::moment::from_ns(0))};
    canopy::context late = canopy::with_deadline(host, canopy::moment::from_ns(1));
    assert_int_equal(code_of(canopy::grpc_answered(late, cancelled)), 4); /* not marked yet */
    live.cancel(canopy_wire_cause(8));
    assert_int_equal(code_of(canopy::grpc_answered(live, cancelled)), 8);
    const grpc::Status other{grpc::StatusCode::NOT_FOUND, ""};
    assert_int_equal(code_of(canopy::grpc_answered(live, other)), 5);
    assert_int_equal(code_of(canopy::grpc_answered(live, grpc::Status{})), 0);
    assert_int_equal(code_of(canopy::grpc_status(late)), 0);
}

TEST(grpc_a_cancel_that_comes_late_is_a_time_out)
{
    canopy::root host{canopy::config::host_clock(canopy::moment::from_ns(0))};
    canopy::context late = canopy::with_deadline(host, canopy::moment::from_ns(1));
    assert_true(canopy::grpc_cancelled(late));
    assert_int_equal(code_of(canopy::grpc_status(late)), 4);
    assert_false(canopy::grpc_cancelled(late));
    canopy::context early = canopy::with_cancel(host);
    assert_true(canopy::grpc_cancelled(early));
    assert_int_equal(code_of(canopy::grpc_status(early)), 1);
    assert_false(canopy::grpc_cancelled(early));
}

/* ------------------------------------------------------------- limits, and no memory */

TEST(grpc_no_handler_runs_without_a_context)
{
    in_both([](world &w) {
        w.policy.size = 1;
        grpc::ClientContext to;
        assert_int_equal(code_of(w.call(&to)), 13);
        assert_int_equal(w.ran, 0);
    });
    assert_int_equal(code_of(canopy::detail::grpc_unmade(ENOMEM)), 8);
}

TEST(grpc_a_full_root_is_unavailable)
{
    canopy::config config;
    config.max_live = 1;
    canopy::root full{config};
    canopy::context one = canopy::with_cancel(full);
    const canopy::wire_policy policy = agreed();
    unsigned ran = 0;
    chain::blocking_service service{
        [&](grpc::ServerContext *from, const grpc::ByteBuffer *, grpc::ByteBuffer *) {
            return canopy::grpc_serve(full, *from, policy, [&](canopy::context_ref) {
                ran++;
                return grpc::Status{};
            });
        }};
    grpc::ServerBuilder builder;
    builder.RegisterService(&service);
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    grpc::ClientContext to;
    grpc::ByteBuffer out;
    const auto channel = server->InProcessChannel({});
    const grpc::Status status = chain::call(*channel, &to, chain::to_buffer("a"), &out);
    assert_int_equal(code_of(status), 14);
    assert_int_equal(ran, 0);
    server->Shutdown();
}

/* ------------------------------------------------------------------------- nothing left */

TEST(grpc_calls_leave_no_descriptor_and_connect_to_nobody)
{
    in_both([](world &w) {
        canopy::context ctx = with_root(w);
        assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        const std::size_t before = open_descriptors();
        for (int i = 0; i < SCALED(500, 100); i++)
            assert_int_equal(code_of(w.ask(ctx, agreed())), 0);
        assert_int_equal(open_descriptors(), before);
    });
}

/* The end of the call and of its context at about the same time, each first now and then. */
TEST(grpc_a_cancel_while_the_call_ends)
{
    in_both([](world &w) {
        std::uint64_t seed = 7;
        unsigned answered = 0, cancelled = 0;
        w.handle = [](canopy::context_ref ctx) {
            canopy_sleep(ctx.get(), MICROSECONDS(50));
            return canopy::grpc_status(ctx);
        };
        for (int i = 0; i < SCALED(600, 150); i++) {
            canopy::context ctx = with_root(w);
            canopy::shared_owner other{ctx};
            const std::int64_t after_ns =
                static_cast<std::int64_t>(random_next(&seed) % MICROSECONDS(1200));
            std::thread canceller{[&] {
                pause_ns(after_ns);
                other.cancel(canopy_wire_cause(10));
            }};
            const int code = code_of(w.ask(ctx, agreed()));
            canceller.join();
            assert_true(code == 0 || code == 10);
            (code == 0 ? answered : cancelled)++;
        }
        print_message("%u answered, %u cancelled\n", answered, cancelled);
    });
}

/* The same in the callback API: the try goes in the function that gRPC calls at the end. */
TEST(grpc_a_try_may_go_as_its_call_ends)
{
    in_both([](world &w) {
        std::uint64_t seed = 11;
        std::atomic<int> left{SCALED(600, 150)};
        struct flight {
            flight(canopy::context_ref root, const canopy_wire_policy &policy)
                : ctx{canopy::with_cancel(root)}, attempt{ctx, policy}
            {
            }
            canopy::context ctx;
            canopy::grpc_try attempt;
            grpc::ByteBuffer in = chain::to_buffer("a"), out;
        };
        grpc::GenericStub stub{w.channel};
        for (int i = left; i > 0; i--) {
            auto *const made = new flight{w.fixture.root, agreed()};
            canopy::shared_owner other{made->ctx};
            stub.UnaryCall(made->attempt.to(), chain::method_name, {}, &made->in, &made->out,
                           [made, &left](const grpc::Status &came) {
                               const int code = code_of(canopy::grpc_answered(made->ctx, came));
                               assert_true(code == 0 || code == 9);
                               delete made;
                               left--;
                           });
            pause_ns(static_cast<std::int64_t>(random_next(&seed) % MICROSECONDS(800)));
            other.cancel(canopy_wire_cause(9));
        }
        assert_true(eventually(left == 0, SOON));
    });
}

/* The server's own end, by its cap, and the handler's answer at about the same time. */
TEST(grpc_an_answer_while_the_context_ends)
{
    in_both([](world &w) {
        w.policy.max_timeout_ns = MILLISECONDS(2);
        w.handle = [](canopy::context_ref ctx) {
            pause_ns(MILLISECONDS(2));
            return canopy::grpc_status(ctx);
        };
        canopy::context ctx = with_root(w);
        for (int i = 0; i < SCALED(200, 50); i++) {
            const int code = code_of(w.ask(ctx, agreed()));
            assert_true(code == 0 || code == 4);
        }
    });
}

/* --------------------------------------------------------------------- completion queues */

namespace
{

/* A call that comes by a queue: its tags are the numbers that are handed to gRPC. */
struct queued {
    grpc::GenericServerContext from;
    grpc::GenericServerAsyncReaderWriter stream{&from};
    canopy::context ctx;
};

void *const came = reinterpret_cast<void *>(1), *const is_over = reinterpret_cast<void *>(2),
            *const answered = reinterpret_cast<void *>(3);

void *next_tag(grpc::ServerCompletionQueue &queue)
{
    void *tag = nullptr;
    bool is_good;
    assert_true(queue.Next(&tag, &is_good));
    return tag;
}

/* Takes one call, whose client then cancels, and hears of that by `by_tag` or not. */
void serve_queued(canopy::context_ref root, grpc::AsyncGenericService &service,
                  grpc::ServerCompletionQueue &queue, bool by_tag, canopy::context &client)
{
    const canopy::wire_policy policy = agreed();
    queued call;
    if (by_tag)
        call.from.AsyncNotifyWhenDone(is_over);
    service.RequestCall(&call.from, &call.stream, &queue, &queue, came);
    assert_ptr_equal(next_tag(queue), came);
    call.ctx = canopy::with_grpc(root, call.from, policy);
    if (!by_tag)
        assert_true(canopy::grpc_hear_cancel(call.ctx, call.from));
    client.cancel();
    if (by_tag) {
        assert_ptr_equal(next_tag(queue), is_over);
        assert_true(call.from.IsCancelled());
        assert_true(canopy::grpc_cancelled(call.ctx));
    }
    assert_true(canopy_wait(call.ctx.get(), now_ns() + SOON));
    assert_ptr_equal(canopy_cause_of(call.ctx.get()), canopy_wire_cause(1));
    call.stream.Finish(canopy::grpc_status(call.ctx), answered);
    assert_ptr_equal(next_tag(queue), answered);
}

} // namespace

TEST(grpc_a_server_with_a_queue_hears_of_a_cancel)
{
    canopy::root root;
    int port = 0;
    grpc::AsyncGenericService service;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterAsyncGenericService(&service);
    const auto queue = builder.AddCompletionQueue();
    const auto server = builder.BuildAndStart();
    const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                             grpc::InsecureChannelCredentials());
    for (const bool by_tag : {true, false}) {
        canopy::context ctx = canopy::with_cancel(root);
        std::thread serving{[&] { serve_queued(root, service, *queue, by_tag, ctx); }};
        const canopy::wire_policy policy = agreed();
        grpc::ByteBuffer out;
        assert_int_equal(code_of(canopy::grpc_ask(ctx, policy,
                                                  [&](grpc::ClientContext *to) {
                                                      return chain::call(*channel, to,
                                                                         chain::to_buffer("a"),
                                                                         &out);
                                                  })),
                         1);
        serving.join();
    }
    server->Shutdown();
    queue->Shutdown();
    void *tag;
    bool is_good;
    while (queue->Next(&tag, &is_good))
        continue;
    assert_int_equal(root.close(canopy::moment::now() + 60s), 0);
}
