//! The peer CancellationToken, of tokio-util: the workloads of ../../workloads
//! once more, under the same conditions, timed by Rust's own monotonic clock.
//! What is printed, and how it is called, is what ../../harness.h says.
//!
//! A callback is a waker that is registered by a first poll. Who waits is a task
//! of a runtime with a thread for each CPU. Deadlines and values it has none.

use std::arch::asm;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken as Token;

fn end(token: Token) {
    token.cancel();
}

/// Stops the compiler from leaving out the work whose result `value` is.
fn keep(value: bool) {
    unsafe { asm!("/* {0} */", in(reg) value as usize) }
}

/// So many operations on one of the threads.
type Loop = Box<dyn Fn(usize, u64) + Sync>;
/// What one sample measured.
type Sample = Box<dyn FnMut() -> Vec<f64>>;

enum Work {
    Loop(Vec<usize>, Box<dyn Fn(usize) -> Loop>),
    Sample(usize, Box<dyn Fn() -> Sample>),
}

struct Workload {
    name: String,
    unit: &'static str,
    work: Work,
}

// ---------------------------------------------------------------- workloads

fn create(parent: Token) -> Loop {
    Box::new(move |_, operations| {
        for _ in 0..operations {
            end(parent.child_token());
        }
    })
}

fn create_middle(_: usize) -> Loop {
    create(Token::new().child_token().child_token())
}

fn request_plain(_: usize) -> Loop {
    let root = Token::new();
    Box::new(move |_, operations| {
        for _ in 0..operations {
            let connection = root.child_token();
            let request = connection.child_token();
            let first = request.child_token();
            let second = request.child_token();
            end(first);
            end(second);
            end(request);
            end(connection);
        }
    })
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn churn(live: usize, threads: usize) -> Loop {
    let root = Token::new();
    let share = live / threads;
    let shares: Vec<_> = (0..threads)
        .map(|_| {
            let tokens = (0..share).map(|_| root.child_token()).collect::<Vec<_>>();
            std::sync::Mutex::new(tokens) // each thread locks its own, once
        })
        .collect();
    Box::new(move |thread, operations| {
        let mut mine = shares[thread].lock().unwrap();
        let mut seed = thread as u64 + 1;
        for _ in 0..operations {
            let place = &mut mine[(random(&mut seed) % share as u64) as usize];
            place.cancel();
            *place = root.child_token();
        }
    })
}

fn is_done(_: usize) -> Loop {
    let live = Token::new().child_token();
    Box::new(move |_, operations| {
        for _ in 0..operations {
            keep(live.is_cancelled());
        }
    })
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

fn callback(_: usize) -> Loop {
    let root = Token::new();
    Box::new(move |_, operations| {
        let waker = Waker::from(Arc::new(Nothing));
        let mut context = Context::from_waker(&waker);
        for _ in 0..operations {
            tokio::pin!(let waiting = root.cancelled(););
            keep(waiting.as_mut().poll(&mut context).is_ready());
        }
    })
}

fn cancel(n: usize, deep: bool) -> Sample {
    let root = Token::new();
    Box::new(move || {
        let top = root.child_token();
        let mut tokens: Vec<Token> = Vec::with_capacity(n);
        for i in 0..n {
            let parent = if deep && i > 0 { &tokens[i - 1] } else { &top };
            let made = parent.child_token();
            tokens.push(made);
        }
        let start = Instant::now();
        top.cancel();
        let each = start.elapsed().as_nanos() as f64 / n as f64;
        assert!(tokens[n - 1].is_cancelled());
        while let Some(token) = tokens.pop() {
            drop(token);
        }
        vec![each]
    })
}

fn wake(waiters: usize) -> Sample {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = Token::new();
    Box::new(move || {
        let token = root.child_token();
        let waiting = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..waiters)
            .map(|_| {
                let (token, waiting) = (token.clone(), waiting.clone());
                runtime.spawn(async move {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    token.cancelled().await;
                    Instant::now()
                })
            })
            .collect();
        while waiting.load(Ordering::SeqCst) < waiters {
            std::thread::sleep(Duration::from_micros(10));
        }
        std::thread::sleep(Duration::from_micros(200 + 10 * waiters as u64));
        let start = Instant::now();
        token.cancel();
        let woken = tasks.into_iter().map(|task| runtime.block_on(task).unwrap());
        vec![(woken.max().unwrap() - start).as_nanos() as f64]
    })
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

fn memory(n: usize) -> Sample {
    Box::new(move || {
        let root = Token::new();
        let mut tokens = vec![root.clone(); n]; // its pages are there before the tokens
        let before = resident_bytes();
        for token in tokens.iter_mut() {
            *token = root.child_token();
        }
        let each = (resident_bytes() - before) / n as f64;
        std::mem::forget(tokens); // left to exit, as by the others
        vec![each]
    })
}

// ------------------------------------------------------------------ running

fn looped(name: &str, threads: &[usize], make: impl Fn(usize) -> Loop + 'static) -> Workload {
    let work = Work::Loop(threads.to_vec(), Box::new(make));
    Workload { name: name.to_string(), unit: "ns", work }
}

fn sampled(name: &str, size: usize, samples: usize, make: fn(usize) -> Sample) -> Workload {
    let work = Work::Sample(samples, Box::new(move || make(size)));
    let unit = if name == "memory" { "bytes" } else { "ns" };
    Workload { name: format!("{name}:{size}"), unit, work }
}

fn workloads() -> Vec<Workload> {
    let mut list = vec![
        looped("create", &[1, 2, 4, 8], |_| create(Token::new())),
        looped("create_middle", &[1, 2], create_middle),
        looped("request_plain", &[1, 2], request_plain),
        looped("churn:100000", &[1, 2], |threads| churn(100000, threads)),
        looped("err", &[1], is_done),
        looped("callback", &[1, 2], callback),
        sampled("cancel_wide_alone", 1000000, 1, |n| cancel(n, false)),
        sampled("wake_last", 1, 100, wake),
        sampled("wake_last", 64, 20, wake),
        sampled("memory", 1000000, 1, memory),
    ];
    for (n, samples) in [(100, 1000), (1000, 100), (100000, 3), (1000000, 1)] {
        list.push(sampled("cancel_wide", n, samples, |n| cancel(n, false)));
    }
    for (n, samples) in [(100, 1000), (1000, 100), (10000, 10), (100000, 3)] {
        list.push(sampled("cancel_deep", n, samples, |n| cancel(n, true)));
    }
    list
}

fn line(workload: &Workload, threads: usize, value: f64, more: &str) {
    println!(
        r#"{{"workload": "{}", "side": "tokio", "threads": {threads}, "unit": "{}", "value": {value}{more}}}"#,
        workload.name, workload.unit
    );
}

/// The wall time of `operations` on each thread at once, in ns.
fn timed(work: &Loop, threads: usize, operations: u64) -> f64 {
    let (begin, over) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (begin, over) = (&begin, &over);
            scope.spawn(move || {
                begin.wait();
                work(thread, operations);
                over.wait();
            });
        }
        begin.wait();
        let start = Instant::now();
        over.wait();
        start.elapsed().as_nanos() as f64
    })
}

/// A new process shares its CPU until the kernel has balanced the load.
fn warm_up() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {}
}

fn run_loop(workload: &Workload, threads: usize, work: &Loop, repetitions: u32, least_ns: f64) {
    let mut operations = 1;
    loop {
        let took_ns = timed(work, threads, operations);
        if took_ns >= least_ns {
            break;
        }
        let more = if took_ns > least_ns / 100.0 { 1.4 * least_ns / took_ns } else { 10.0 };
        operations = (operations as f64 * more) as u64 + 1;
    }
    for _ in 0..repetitions {
        let took_ns = timed(work, threads, operations);
        line(workload, threads, took_ns / (operations as f64 * threads as f64), "");
    }
}

fn run_sample(workload: &Workload, samples: usize, mut sample: Sample) {
    let mut values: Vec<f64> = (0..samples).flat_map(|_| sample()).collect();
    values.sort_by(f64::total_cmp);
    let quantile = |part: f64| values[(part * (values.len() - 1) as f64 + 0.5) as usize];
    let mut more = String::new();
    for (name, part) in [
        ("min", 0.0),
        ("p25", 0.25),
        ("p50", 0.50),
        ("p75", 0.75),
        ("p90", 0.90),
        ("p95", 0.95),
        ("p99", 0.99),
        ("p999", 0.999),
        ("p9999", 0.9999),
        ("max", 1.0),
    ] {
        more += &format!(r#", "{name}": {}"#, quantile(part));
    }
    line(workload, 1, quantile(0.50), &more);
}

fn run(name: &str, repetitions: u32, least_ns: f64) -> Option<()> {
    let list = workloads();
    let workload = list.iter().find(|workload| workload.name == name)?;
    warm_up();
    match &workload.work {
        Work::Loop(threads, make) => {
            for &threads in threads {
                run_loop(workload, threads, &make(threads), repetitions, least_ns);
            }
        }
        Work::Sample(samples, make) => {
            for _ in 0..repetitions {
                run_sample(workload, *samples, make());
            }
        }
    }
    Some(())
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["list"] => {
            workloads().iter().for_each(|workload| println!("{}", workload.name));
            Some(())
        }
        ["run", name, repetitions, seconds] => {
            let seconds: f64 = seconds.parse().unwrap();
            run(name, repetitions.parse().unwrap(), seconds * 1e9)
        }
        _ => None,
    };
    if done.is_none() {
        eprintln!("usage: peer_tokio list | run WORKLOAD REPETITIONS SECONDS");
        std::process::exit(1);
    }
}
