// The peer Go context: the workloads of ../../workloads once more, under the
// same conditions, timed by Go's own monotonic clock. What is printed, and how
// it is called, is what ../../harness.h says.
//
// Where others have threads there are as many goroutines. The memory of a
// context is what stays resident after a collection. Callbacks there are none:
// context.AfterFunc came with Go 1.21, and Debian 12 has 1.19.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const farAway = 30 * time.Second

// A node is what a user has to keep of a context.
type node struct {
	ctx context.Context
	end context.CancelFunc
}

func child(parent context.Context) node {
	ctx, end := context.WithCancel(parent)
	return node{ctx, end}
}

func timeout(parent context.Context) node {
	ctx, end := context.WithTimeout(parent, farAway)
	return node{ctx, end}
}

type key int

var sink any // keeps the compiler from leaving out what computes it

type loop func(thread int, operations int)
type sample func() []float64

// A workload at one size; one of loop and sample is made.
type workload struct {
	name    string
	threads []int
	unit    string
	samples int
	loop    func(threads int) loop
	sample  func() sample
}

// ---------------------------------------------------------------- workloads

func create(parent context.Context) func(int) loop {
	return func(int) loop {
		return func(_, operations int) {
			for ; operations > 0; operations-- {
				child(parent).end()
			}
		}
	}
}

func createTimeout(live int) func(int) loop {
	return func(int) loop {
		root := child(context.Background())
		nodes := make([]node, live)
		for i := range nodes {
			nodes[i] = timeout(root.ctx)
		}
		return func(_, operations int) {
			for ; operations > 0; operations-- {
				timeout(root.ctx).end()
			}
			runtime.KeepAlive(nodes)
		}
	}
}

func callUpstream(request context.Context) {
	first, second := child(request), child(request)
	first.end()
	second.end()
}

func requestPlain(int) loop {
	root := child(context.Background())
	return func(_, operations int) {
		for ; operations > 0; operations-- {
			connection := child(root.ctx)
			request := child(connection.ctx)
			callUpstream(request.ctx)
			request.end()
			connection.end()
		}
	}
}

func requestWhole(int) loop {
	root := child(context.Background())
	return func(_, operations int) {
		for ; operations > 0; operations-- {
			connection := child(root.ctx)
			request := timeout(connection.ctx)
			user := context.WithValue(request.ctx, key(0), &root)
			trace := context.WithValue(user, key(1), &root)
			callUpstream(trace)
			request.end()
			connection.end()
		}
	}
}

func random(seed *uint64) uint64 {
	*seed ^= *seed << 13
	*seed ^= *seed >> 7
	*seed ^= *seed << 17
	return *seed
}

func churn(live int) func(int) loop {
	return func(threads int) loop {
		root := child(context.Background())
		share := live / threads
		nodes := make([]node, share*threads)
		for i := range nodes {
			nodes[i] = child(root.ctx)
		}
		return func(thread, operations int) {
			mine := nodes[thread*share : (thread+1)*share]
			for seed := uint64(thread) + 1; operations > 0; operations-- {
				place := &mine[random(&seed)%uint64(share)]
				place.end()
				*place = child(root.ctx)
			}
		}
	}
}

func isDone(int) loop {
	live := child(child(context.Background()).ctx)
	return func(_, operations int) {
		done := false
		for ; operations > 0; operations-- {
			done = done || live.ctx.Err() != nil
		}
		sink = done
	}
}

func value(layers int) func(int) loop {
	return func(int) loop {
		ctx := child(context.Background()).ctx
		for i := 0; i < layers; i++ {
			ctx = context.WithValue(ctx, key(i), &ctx)
		}
		return func(_, operations int) {
			var found any
			for ; operations > 0; operations-- {
				found = ctx.Value(key(0))
			}
			sink = found
		}
	}
}

func cancel(n int, deep bool) func() sample {
	return func() sample {
		root := child(context.Background())
		nodes := make([]node, n)
		return func() []float64 {
			top := child(root.ctx)
			for i := range nodes {
				parent := top.ctx
				if deep && i > 0 {
					parent = nodes[i-1].ctx
				}
				nodes[i] = child(parent)
			}
			start := time.Now()
			top.end()
			each := float64(time.Since(start)) / float64(n)
			if nodes[n-1].ctx.Err() == nil {
				fail("a descendant is not done after the cancel")
			}
			for i := n - 1; i >= 0; i-- {
				nodes[i].end()
			}
			return []float64{each}
		}
	}
}

func wake(waiters int) func() sample {
	return func() sample {
		root := child(context.Background())
		return func() []float64 {
			var waiting int64
			var all sync.WaitGroup
			woken := make([]time.Time, waiters)
			awaited := child(root.ctx)
			all.Add(waiters)
			for i := range woken {
				go func(woken *time.Time) {
					atomic.AddInt64(&waiting, 1)
					<-awaited.ctx.Done()
					*woken = time.Now()
					all.Done()
				}(&woken[i])
			}
			for atomic.LoadInt64(&waiting) < int64(waiters) {
				time.Sleep(10 * time.Microsecond)
			}
			time.Sleep(200*time.Microsecond + time.Duration(waiters)*10*time.Microsecond)
			start := time.Now()
			awaited.end()
			all.Wait()
			var last time.Duration
			for _, at := range woken {
				if at.Sub(start) > last {
					last = at.Sub(start)
				}
			}
			return []float64{float64(last)}
		}
	}
}

// Deadlines of 10 to 1000 ms beside goroutines that make and end contexts; each
// is waited for by a goroutine. The lateness of each, or the longest time that a
// context of the load took.
func expiry(n int, stall bool) func() sample {
	return func() sample {
		root := child(context.Background())
		seed := uint64(1)
		return func() []float64 {
			var over, longest int64
			var load, all sync.WaitGroup
			for i := 0; i < runtime.NumCPU()-1 || i == 0; i++ {
				load.Add(1)
				go func() {
					defer load.Done()
					mine := int64(0)
					for start := time.Now(); atomic.LoadInt64(&over) == 0; {
						child(root.ctx).end()
						end := time.Now()
						if took := int64(end.Sub(start)); took > mine {
							mine = took
						}
						start = end
					}
					for seen := atomic.LoadInt64(&longest); seen < mine; {
						if atomic.CompareAndSwapInt64(&longest, seen, mine) {
							break
						}
						seen = atomic.LoadInt64(&longest)
					}
				}()
			}
			late := make([]float64, n)
			base := time.Now().Add(210 * time.Millisecond)
			all.Add(n)
			for i := range late {
				offset := time.Duration(random(&seed) % uint64(990*time.Millisecond))
				go func(late *float64, deadline time.Time) {
					if armed := time.Now(); armed.After(deadline) {
						deadline = armed
					}
					ctx, end := context.WithDeadline(root.ctx, deadline)
					<-ctx.Done()
					*late = float64(time.Since(deadline))
					end()
					all.Done()
				}(&late[i], base.Add(offset))
			}
			all.Wait()
			atomic.StoreInt64(&over, 1)
			load.Wait()
			if stall {
				return []float64{float64(longest)}
			}
			return late
		}
	}
}

func residentBytes() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail(err.Error())
	}
	var size, resident int
	fmt.Sscan(string(text), &size, &resident)
	return float64(resident * os.Getpagesize())
}

func memory(n int, dated bool) func() sample {
	return func() sample {
		return func() []float64 {
			root := child(context.Background())
			nodes := make([]node, n)
			for i := range nodes {
				nodes[i] = root // its pages are there before the contexts
			}
			base := time.Now().Add(time.Hour)
			before := residentBytes()
			for i := range nodes {
				if dated {
					at := base.Add(time.Duration(i) * time.Microsecond)
					nodes[i].ctx, nodes[i].end = context.WithDeadline(root.ctx, at)
				} else {
					nodes[i] = child(root.ctx)
				}
			}
			each := (residentBytes() - before) / float64(n)
			runtime.KeepAlive(nodes)
			return []float64{each + 16} // a node is 24 bytes, a pointer 8
		}
	}
}

// -------------------------------------------------------------------- running

func workloads() []workload {
	root := child(context.Background())
	middle := child(child(root.ctx).ctx)
	list := []workload{
		{name: "create", threads: []int{1, 2, 4, 8}, loop: create(root.ctx)},
		{name: "create_middle", threads: []int{1, 2}, loop: create(middle.ctx)},
		{name: "create_timeout", threads: []int{1, 2}, loop: createTimeout(0)},
		{name: "request_plain", threads: []int{1, 2}, loop: requestPlain},
		{name: "request", threads: []int{1, 2}, loop: requestWhole},
		{name: "churn:100000", threads: []int{1, 2}, loop: churn(100000)},
		{name: "err", loop: isDone},
		{name: "value:32", loop: value(32)},
		{name: "cancel_wide_alone:1000000", samples: 1, sample: cancel(1000000, false)},
		{name: "wake_last:1", samples: 100, sample: wake(1)},
		{name: "wake_last:64", samples: 20, sample: wake(64)},
		{name: "armed:1000", loop: createTimeout(1000)},
		{name: "armed:1000000", loop: createTimeout(1000000)},
		{name: "lateness:100000", samples: 1, sample: expiry(100000, false)},
		{name: "stall:100000", samples: 1, sample: expiry(100000, true)},
		{name: "memory:1000000", samples: 1, unit: "bytes", sample: memory(1000000, false)},
		{name: "memory_deadline:1000000", samples: 1, unit: "bytes", sample: memory(1000000, true)},
	}
	for _, size := range []struct{ n, samples int }{{100, 1000}, {1000, 100}, {100000, 3}, {1000000, 1}} {
		name := "cancel_wide:" + strconv.Itoa(size.n)
		list = append(list, workload{name: name, samples: size.samples, sample: cancel(size.n, false)})
	}
	for _, size := range []struct{ n, samples int }{{100, 1000}, {1000, 100}, {10000, 10}, {100000, 3}} {
		name := "cancel_deep:" + strconv.Itoa(size.n)
		list = append(list, workload{name: name, samples: size.samples, sample: cancel(size.n, true)})
	}
	return list
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}

func line(work workload, threads int, value float64, more string) {
	unit := work.unit
	if unit == "" {
		unit = "ns"
	}
	fmt.Printf(`{"workload": "%s", "side": "go", "threads": %d, "unit": "%s", "value": %g%s}`+"\n",
		work.name, threads, unit, value, more)
}

// The wall time of `operations` on each thread at once.
func timed(work loop, threads, operations int) time.Duration {
	var ready, done sync.WaitGroup
	var start time.Time
	begin := make(chan struct{})
	ready.Add(threads)
	done.Add(threads)
	for thread := 0; thread < threads; thread++ {
		go func(thread int) {
			runtime.LockOSThread()
			ready.Done()
			<-begin
			work(thread, operations)
			done.Done()
		}(thread)
	}
	ready.Wait()
	start = time.Now()
	close(begin)
	done.Wait()
	return time.Since(start)
}

// A new process shares its CPU until the kernel has balanced the load.
func warmUp() {
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
	}
}

func runLoop(work workload, repetitions int, least time.Duration) {
	for _, threads := range work.threads {
		once := work.loop(threads)
		operations := 1
		for took := time.Duration(0); took < least; {
			took = timed(once, threads, operations)
			if took < least {
				more := 10.0
				if took > least/100 {
					more = 1.4 * float64(least) / float64(took)
				}
				operations = int(float64(operations)*more) + 1
			}
		}
		for i := 0; i < repetitions; i++ {
			took := timed(once, threads, operations)
			line(work, threads, float64(took)/float64(operations*threads), "")
		}
	}
}

func runSample(work workload, repetitions int) {
	for ; repetitions > 0; repetitions-- {
		once := work.sample()
		var values []float64
		for i := 0; i < work.samples; i++ {
			values = append(values, once()...)
		}
		sort.Float64s(values)
		quantile := func(part float64) float64 {
			return values[int(part*float64(len(values)-1)+0.5)]
		}
		more := ""
		for _, q := range []struct {
			name string
			part float64
		}{{"min", 0}, {"p25", 0.25}, {"p50", 0.50}, {"p75", 0.75}, {"p90", 0.90}, {"p95", 0.95},
			{"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}, {"max", 1}} {
			more += fmt.Sprintf(`, "%s": %g`, q.name, quantile(q.part))
		}
		line(work, 1, quantile(0.50), more)
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "list" {
		for _, work := range workloads() {
			fmt.Println(work.name)
		}
		return
	}
	if len(os.Args) != 5 || os.Args[1] != "run" {
		fail("usage: peer_go list | run WORKLOAD REPETITIONS SECONDS")
	}
	repetitions, wrong := strconv.Atoi(os.Args[3])
	seconds, wrong2 := strconv.ParseFloat(os.Args[4], 64)
	if wrong != nil || wrong2 != nil {
		fail("REPETITIONS and SECONDS are numbers")
	}
	warmUp()
	for _, work := range workloads() {
		if work.name != os.Args[2] {
			continue
		}
		if work.sample != nil {
			runSample(work, repetitions)
			return
		}
		if work.threads == nil {
			work.threads = []int{1}
		}
		runLoop(work, repetitions, time.Duration(seconds*1e9))
		return
	}
	fail("no such workload")
}
