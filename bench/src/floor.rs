//! The floor: what the kernel alone needs for a fresh container, with nothing around it. A run is new namespaces,
//! three cgroups with a memory limit, an overlay over the image, `/proc`, `/dev`, `pivot_root`, the program, its end,
//! and the removal of what was made.
//!
//! It is a process of its own (`skep-bench floor …`), because only one with a single thread may fork; it makes one
//! container for each line that it reads, and answers with the nanoseconds that it took.

mod cgroups;
mod child;

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::thread::LinkNameSpaceType;
use skep_sys::{Forked, NewNamespaces};

use self::cgroups::Cgroups;

/// The word by which the bench starts this process.
pub(crate) const VERB: &str = "floor";

/// How long a server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is measured.
pub(crate) struct Work {
    /// The image's files.
    pub(crate) root: PathBuf,
    /// A folder of this process's own.
    pub(crate) folder: PathBuf,
    /// A network namespace that is there already; without one each run makes an empty one.
    pub(crate) network: Option<PathBuf>,
    /// The port at which the program answers; without one its end is waited for.
    pub(crate) port: Option<u16>,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
}

impl Work {
    /// As words of the command line, in a fixed order; an empty one stands for nothing.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec![
            VERB.to_owned(),
            path(&self.root),
            path(&self.folder),
            self.network.as_deref().map(path).unwrap_or_default(),
            self.port.map(|port| port.to_string()).unwrap_or_default(),
        ];
        words.extend(self.command.iter().cloned());
        words
    }

    fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut next = || words.next().context("an argument is missing");
        let (root, folder, network, port) = (next()?, next()?, next()?, next()?);
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            root: root.into(),
            folder: folder.into(),
            network: given(network).map(PathBuf::from),
            port: given(port).map(|port| port.parse()).transpose()?,
            command: words.collect(),
        })
    }
}

/// Makes a container for each line on standard input, until its end.
pub(crate) fn run(words: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let work = Work::parse(words)?;
    let own = File::open("/proc/self/ns/net")?;
    let network = work.network.as_ref().map(File::open).transpose()?;
    std::fs::create_dir_all(&work.folder)?;
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        line?;
        let time = once(&work, &own, network.as_ref())?;
        writeln!(answers, "{}", time.as_nanos())?;
    }
    Ok(())
}

fn once(work: &Work, own: &File, network: Option<&File>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let cgroups = Cgroups::create()?;
    let (process, descriptor, report) = start(work, &cgroups, network)?;
    let answered = match work.port {
        Some(port) => {
            first_answer(process, port, own, network)?;
            let answered = began.elapsed();
            rustix::process::pidfd_send_signal(&descriptor, Signal::KILL)?;
            Some(answered)
        }
        None => None,
    };
    rustix::process::waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED)?;
    let mut failure = String::new();
    File::from(report).read_to_string(&mut failure)?;
    anyhow::ensure!(failure.is_empty(), "{failure}");
    cgroups.remove()?;
    Ok(answered.unwrap_or_else(|| began.elapsed()))
}

fn start(work: &Work, cgroups: &Cgroups, network: Option<&File>) -> anyhow::Result<(u32, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((gate, opener), (report, reporter)) = (pipe()?, pipe()?);
    let namespaces = NewNamespaces {
        mount: true,
        process: true,
        ipc: true,
        uts: true,
        network: network.is_none(),
        cgroup: false,
    };
    let birthplace = cgroups.birthplace()?;
    match skep_sys::fork(namespaces, birthplace.as_ref().map(AsFd::as_fd))? {
        Forked::Child => {
            drop(opener);
            let Err(error) = child::run(work, &gate, network);
            let _said = File::from(reporter).write_all(format!("{error:#}").as_bytes());
            skep_sys::exit_now(127)
        }
        Forked::Parent { process, descriptor } => {
            cgroups.enter(process)?;
            rustix::io::write(&opener, &[1])?;
            Ok((process, descriptor, report))
        }
    }
}

/// Asks the server until it answers, from within its network.
fn first_answer(process: u32, port: u16, own: &File, network: Option<&File>) -> anyhow::Result<()> {
    // One that is there already the child may not have entered yet; an empty one it was born in.
    let inside = match network {
        Some(network) => network.try_clone()?,
        None => File::open(format!("/proc/{process}/ns/net"))?,
    };
    let enter = |namespace: &File| {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
    };
    enter(&inside)?;
    let answered = ask(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    enter(own)?;
    answered
}

fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            // Nobody says when a server begins to listen; this is how a proxy finds out as well.
            Err(_) => std::thread::sleep(Duration::from_micros(100)),
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    anyhow::ensure!(&head == b"HTTP/1.1 200", "the server answered something else");
    Ok(())
}
