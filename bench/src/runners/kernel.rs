//! The floor: a process of the bench's own that makes containers with the kernel's calls alone ([`crate::floor`]).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::{Runner, Work};
use crate::floor;

pub(crate) struct Kernel {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Kernel {
    pub(crate) fn new(work: &Work) -> anyhow::Result<Self> {
        let floor = floor::Work {
            root: work.root.clone(),
            folder: work.scratch.join(format!("floor-{}", work.stream)),
            network: work.network.clone(),
            port: work.command.is_none().then(|| work.port()),
            command: work.arguments(),
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(floor.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().context("its answers")?;
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
        })
    }
}

impl Runner for Kernel {
    fn once(&mut self) -> anyhow::Result<Duration> {
        let orders = self.orders.as_mut().context("its orders")?;
        orders.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let nanoseconds = line
            .trim()
            .parse()
            .context("the floor broke off: see what it said")?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // It ends with its orders.
        self.orders = None;
        let _reaped = self.child.wait();
    }
}
