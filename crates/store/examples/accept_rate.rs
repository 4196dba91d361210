//! How many asynchronous invocations are accepted per second, each on the disk first, from many callers; and how
//! long one caller waits; also while logs are written behind. `cargo run --release -p skep-store --example accept_rate [CALLERS [SECONDS [DIRECTORY]]]`

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use skep_model::{
    FunctionName, InstanceId, InvocationId, Journal, LogEntry, LogLine, LogStream, Record, Trigger,
};
use skep_store::{Body, Config, Key, NewInvocation, Request, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let callers: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let parent = arguments
        .next()
        .map_or_else(std::env::current_dir, |text| Ok(text.into()))?;
    let directory = tempfile::tempdir_in(parent)?;
    let store = Store::open(Config::in_directory(directory.path()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (alone, latency) = runtime.block_on(measure(&store, 1, Duration::from_secs(1)));
    println!(
        "1 caller: {alone:.0} accepted/s, {:.2} ms each in the middle",
        latency.as_secs_f64() * 1e3
    );
    let (rate, latency) = runtime.block_on(measure(&store, callers, Duration::from_secs(seconds)));
    println!(
        "{callers} callers: {rate:.0} accepted/s, {:.2} ms each in the middle",
        latency.as_secs_f64() * 1e3
    );
    let flood = Flood::start(&store);
    let (rate, latency) = runtime.block_on(measure(&store, callers, Duration::from_secs(seconds)));
    println!(
        "{callers} callers beside 20,000 log lines/s: {rate:.0} accepted/s, {:.2} ms each in the middle",
        latency.as_secs_f64() * 1e3
    );
    drop(flood);
    runtime.block_on(store.close());
    Ok(())
}

/// Writes log lines until it is dropped.
struct Flood(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Flood {
    fn start(store: &Store) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (store.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..200 {
                    store.log(log_line());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

fn log_line() -> LogEntry {
    let line = LogLine {
        time: Timestamp::now(),
        stream: LogStream::Stderr,
        text: vec![b'x'; 120],
    };
    let function = FunctionName::from_str("bench").unwrap_or_else(|error| panic!("{error}"));
    LogEntry {
        function,
        instance: InstanceId::generate(),
        invocation: Some(InvocationId::generate()),
        line,
    }
}

/// Accepts from so many callers for so long. Gives back the rate and the median wait.
async fn measure(store: &Store, callers: usize, time: Duration) -> (f64, Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if let Err(error) = store.accept(invocation()).await {
                        eprintln!("accept_rate: {}", error.with_sources());
                        break;
                    }
                    waits.push(begun.elapsed());
                }
                waits
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.unwrap_or_default());
    }
    let elapsed = started.elapsed().as_secs_f64();
    waits.sort();
    (
        waits.len() as f64 / elapsed,
        waits.get(waits.len() / 2).copied().unwrap_or_default(),
    )
}

fn invocation() -> NewInvocation {
    let record = Record::queued(
        InvocationId::generate(),
        "bench".to_owned(),
        Trigger::Async,
        "POST".to_owned(),
        "/".to_owned(),
        Timestamp::now(),
    );
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("user-agent", HeaderValue::from_static("accept_rate"));
    let body = Body::from(Bytes::from_static(&[b'x'; 256]));
    let request = Request {
        method: Method::POST,
        path: "/".to_owned(),
        headers,
        body,
        context: String::new(),
    };
    NewInvocation {
        record,
        request,
        key: Key::generate().hash(),
        backlog: u64::MAX,
    }
}
