//! What a caller does: requests over HTTP/1.1, each on a connection of its own, and many of them at a steady rate.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The port on which gateways take requests.
pub(crate) const PORT: u16 = 8080;
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, in small letters.
    pub head: String,
    /// Its body, without white space around it.
    pub body: String,
}

/// `METHOD /path` with these fields and this body, asked of a node.
///
/// # Errors
/// Nobody answered, or not to the end.
pub fn ask(address: &str, request: &str, fields: &[&str], body: &str) -> io::Result<Answer> {
    ask_at(address, PORT, request, fields, body)
}

/// `GET /path` of another port.
///
/// # Errors
/// See [`ask`].
pub fn get_at(address: &str, port: u16, path: &str) -> io::Result<Answer> {
    ask_at(address, port, &format!("GET {path}"), &[], "")
}

fn ask_at(address: &str, port: u16, request: &str, fields: &[&str], body: &str) -> io::Result<Answer> {
    let target = (address, port).to_socket_addrs()?.next();
    let target = target.ok_or_else(|| io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&target, CONNECT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for field in fields {
        head += &format!("{field}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    write!(stream, "{head}\r\n{body}")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    read(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::Error::other("the answer is not whole"))
}

/// `GET /path`.
///
/// # Errors
/// See [`ask`].
pub fn get(address: &str, path: &str) -> io::Result<Answer> {
    ask(address, &format!("GET {path}"), &[], "")
}

fn read(text: &str) -> Option<Answer> {
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let body = if head.contains("transfer-encoding: chunked") {
        unchunked(rest)?
    } else {
        let whole = length.is_none_or(|length| rest.len() >= length);
        whole.then(|| rest.to_owned())?
    };
    Some(Answer {
        status,
        head,
        body: body.trim().to_owned(),
    })
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, more) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length.split(';').next()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body += more.get(..length)?;
        rest = more.get(length + 2..)?;
    }
}

/// Of the first who listens.
fn anywhere(addresses: &[String], path: &str) -> io::Result<Answer> {
    let mut outcome = Err(io::Error::other("no address"));
    for address in addresses {
        outcome = get(address, path);
        let unheard = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut
            )
        };
        if !outcome.as_ref().is_err_and(unheard) {
            break;
        }
    }
    outcome
}

/// One request of a load.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// How long it took.
    pub took: Duration,
    /// What came of it: the answer, or why there was none.
    pub outcome: Result<Answer, String>,
}

impl Sample {
    /// Whether it was answered as it should be.
    pub fn succeeded(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|answer| answer.status == 200)
    }
}

/// Callers who come at a steady rate, whether those before them were answered or not, to each address in turn.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    clock: JoinHandle<Vec<JoinHandle<()>>>,
}

impl Load {
    /// Begins: so many a second.
    pub fn begin(addresses: Vec<String>, path: &str, per_second: u32) -> Self {
        Self::begin_with(addresses, path, per_second, 1)
    }

    /// The same; a caller to whom nobody listens at one address goes to the next, as DNS or a balancer would have it.
    pub fn begin_anywhere(addresses: Vec<String>, path: &str, per_second: u32) -> Self {
        let tries = addresses.len();
        Self::begin_with(addresses, path, per_second, tries)
    }

    fn begin_with(addresses: Vec<String>, path: &str, per_second: u32, tries: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (stopped, kept, path) = (stop.clone(), samples.clone(), path.to_owned());
        let clock = thread::spawn(move || {
            let began = Instant::now();
            let mut callers = Vec::new();
            for number in 0_u32.. {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let due = began + Duration::from_secs(1) * number / per_second;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let first = number as usize;
                let places = (first..first + tries).map(|place| addresses[place % addresses.len()].clone());
                let places: Vec<String> = places.collect();
                let (path, kept) = (path.clone(), kept.clone());
                callers.push(thread::spawn(move || {
                    let sent = Instant::now();
                    let outcome = anywhere(&places, &path).map_err(|error| error.to_string());
                    let took = sent.elapsed();
                    let sample = Sample { sent, took, outcome };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }));
            }
            callers
        });
        Self { stop, samples, clock }
    }

    /// How many were answered so far, as they should be.
    pub fn succeeded(&self) -> usize {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| sample.succeeded()).count()
    }

    /// No more come; every request with what came of it, in the order of their sending.
    ///
    /// # Panics
    /// When a caller did.
    pub fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.clock.join().expect("the clock") {
            caller.join().expect("a caller");
        }
        let mut samples = self
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        samples.sort_by_key(|sample| sample.sent);
        samples
    }
}
