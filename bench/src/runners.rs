//! The ways in which the same program is run in a fresh container: with nothing but the kernel's calls, through Skep,
//! with a runtime called directly, with `docker run`.

mod docker_run;
mod kernel;
mod runtime;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::LinkNameSpaceType;

pub(crate) use self::docker_run::DockerRun;
pub(crate) use self::kernel::Kernel;
pub(crate) use self::runtime::Runtime;
use crate::load::Client;

/// How long a server is waited for, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(100);

/// One container after the other.
pub(crate) trait Runner: Send {
    /// Makes one and removes it; gives the time until its end, or for a server until its first answer.
    fn once(&mut self) -> anyhow::Result<Duration>;
}

/// What all of them run.
#[derive(Clone)]
pub(crate) struct Work {
    /// The image's files.
    pub(crate) root: PathBuf,
    /// A folder for what a runner needs.
    pub(crate) scratch: PathBuf,
    /// The word that makes the program end by itself; without one it is the server.
    pub(crate) command: Option<&'static str>,
    /// The network that is there already; without one each container has an empty one of its own.
    pub(crate) network: Option<PathBuf>,
    /// Which of several runners at once this is.
    pub(crate) stream: usize,
}

impl Work {
    /// The program and its arguments.
    fn arguments(&self) -> Vec<String> {
        let words = ["/backend"].into_iter().chain(self.command);
        let hello = (self.command == Some("echo")).then_some("hello");
        words.chain(hello).map(str::to_owned).collect()
    }

    /// The server's port: in a network that others are in, one of its own.
    fn port(&self) -> u16 {
        match &self.network {
            Some(_) => 20_000 + self.stream as u16,
            None => crate::docker::PORT,
        }
    }
}

/// A function, asked through the gateway.
pub(crate) struct Lean {
    client: Client,
}

impl Lean {
    pub(crate) fn new(listen: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let client = Client::connect(listen, path)?;
        Ok(Self { client })
    }
}

impl Runner for Lean {
    fn once(&mut self) -> anyhow::Result<Duration> {
        let times = self.client.latencies(1)?;
        times.first().copied().context("no answer")
    }
}

/// Asks a server in another network until it answers.
fn first_answer_in(namespace: &Path, port: u16) -> anyhow::Result<()> {
    let namespace = File::open(namespace)?;
    // A thread of its own: it is of no use to anybody afterwards.
    let asked = std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        ask(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    });
    asked.join().expect("asking does not panic")
}

/// Asks a server until it answers.
pub(crate) fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            // Nobody says when a server begins to listen.
            Err(_) => std::thread::sleep(PAUSE),
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    anyhow::ensure!(&head == b"HTTP/1.1 200", "the server answered something else");
    Ok(())
}
