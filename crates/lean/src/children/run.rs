//! A child's start: from what it is to run to a child that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use skep_engine::Exit;
use skep_spawner::{Child, Failure, Launch, Order, Own, Prepared, Refused, Streams, TerminalSize};
use skep_sys::NetworkNamespace;
use tokio::sync::watch;

use super::Shape;
use super::ahead::PreparedChild;
use super::ground::{is_there, stands};
use super::running::{RunningChild, overlaid};
use crate::files;
use crate::launch::SOCKET;
use crate::plan::init;
use crate::sandbox::{Others, Sandbox, SandboxError, SandboxNetwork};

/// Docker's path where nobody names one.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a container's id it is called by.
const SHORT: usize = 12;

/// What one child is to run.
#[derive(Debug)]
pub struct ChildRun {
    /// Its id: the name of its cgroups.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// Its own variables.
    pub environment: Vec<String>,
    /// Standard input, output and error; with a terminal the first is the socket that its master comes over.
    pub streams: [OwnedFd; 3],
    /// Rows and columns of its terminal.
    pub terminal: Option<(u16, u16)>,
    /// The mount namespace of its last run.
    pub root: Option<OwnedFd>,
    /// A Docker socket of its own, for the place where clients look for one.
    pub socket: Option<PathBuf>,
    /// The names of its networks, where they are not those of its shape; it starts with the first.
    pub networks: Option<Vec<String>>,
}

/// Why a child does not run.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// What went wrong.
    pub message: String,
    /// The kernel's answer, where it was one.
    pub error: Option<i32>,
    /// Whether the child's own words are at fault.
    pub own: bool,
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self {
            message: failure.to_string(),
            error: Some(failure.error),
            own: failure.template,
        }
    }
}

fn broken(error: impl std::fmt::Display) -> RunError {
    RunError {
        message: error.to_string(),
        error: None,
        own: false,
    }
}

/// A sandbox that is given back where nothing came of the run.
pub(super) struct Taken {
    pub(super) shape: Arc<Shape>,
    sandbox: Option<Sandbox>,
    /// The namespace of a child without a network.
    own: Option<NetworkNamespace>,
    /// Another container's network, which the child is in beside others.
    joined: Option<Arc<SandboxNetwork>>,
    /// Whether it is on other networks than its shape's.
    other: bool,
}

impl Taken {
    pub(super) fn new(shape: &Arc<Shape>, sandbox: Option<Sandbox>) -> Self {
        Self {
            shape: shape.clone(),
            own: match (&sandbox, &shape.joined) {
                (None, None) => shape.own_network(),
                _ => None,
            },
            joined: shape.joined.clone(),
            sandbox,
            other: false,
        }
    }

    pub(super) fn network(&self) -> Option<&SandboxNetwork> {
        let own = self.sandbox.as_ref().and_then(|sandbox| sandbox.network.as_ref());
        own.or(self.joined.as_deref())
    }

    /// The namespace that a child is to be in; `None` where it makes one of its own.
    pub(super) fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        let own = self.own.as_ref().map(NetworkNamespace::descriptor);
        let network = self.network().map(SandboxNetwork::descriptor);
        network.or(own).transpose()
    }

    /// Whether somebody can still begin in it.
    pub(super) fn is_good(&self) -> bool {
        self.sandbox.as_ref().is_none_or(stands) && self.joined.as_deref().is_none_or(is_there)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.shape.ground.leave(&self.shape.shared, sandbox, !self.other);
        }
        if let Some(own) = self.own.take() {
            self.shape.ground.keep_own(own);
        }
    }
}

impl Shape {
    /// Runs a child, the one that was prepared of it where it can be used. It returns when the child's own program runs.
    ///
    /// # Errors
    /// What went wrong; nothing is left of the attempt.
    pub async fn run(
        self: &Arc<Self>,
        run: ChildRun,
        mut prepared: Option<PreparedChild>,
    ) -> Result<RunningChild, RunError> {
        let (shared, plan) = (&self.shared, &self.plan);
        if prepared.as_mut().is_some_and(|prepared| !prepared.is_good(self))
            && let Some(spoilt) = prepared.take()
        {
            spoilt.end().await;
        }
        let (ready, mut taken) = match prepared {
            Some(PreparedChild { prepared, taken, .. }) => (Some(prepared), taken),
            None => (None, self.sandbox_for(&run).await.map_err(broken)?),
        };
        let network = taken.network();
        let seen = network.map(|network| network.files.clone());
        let names = files::names(&run.hostname, &plan.process.domain);
        let contents = files::contents(
            network,
            shared.resolv_conf(),
            &run.hostname,
            &names,
            &plan.extra_hosts,
        );
        let environment = environment(&run.hostname, run.terminal.is_some(), &run.environment);
        let request = Launch {
            spec: self.spec,
            name: run.name.clone(),
            hostname: run.hostname,
            environment: Vec::new(),
            files: contents,
            binds: run
                .socket
                .iter()
                .map(|socket| (socket.display().to_string(), SOCKET.to_owned()))
                .collect(),
            listener: None,
        };
        let own = Own {
            arguments: self.command(run.arguments),
            environment: environment.clone(),
            terminal: run.terminal.map(size),
            resumes: run.root.is_some(),
        };
        let [stdin, stdout, stderr] = run.streams;
        let streams = Streams {
            stdin,
            stdout,
            stderr,
            network: taken.descriptor().map_err(broken)?,
        };
        let launched = self.launch(ready, (request, own), streams, run.root).await?;
        let (ended, exit) = watch::channel(None);
        let exited = launched.exited;
        shared.tasks.spawn(async move {
            let exit = exited.await.map(|exited| Exit {
                code: exited.code.into(),
                out_of_memory: exited.out_of_memory,
            });
            // The sender closed means that the spawner has ended, and its children with it.
            ended.send_replace(Some(exit.unwrap_or(Exit {
                code: 137,
                out_of_memory: false,
            })));
        });
        let cgroups = shared.cgroups().map_err(broken)?;
        let mut freezer = cgroups.freezer(&plan.limits, &run.name);
        if let Some(file) = self.cgroup_file(&run.name, "freezer.state") {
            freezer.stands_at(file);
        }
        Ok(RunningChild {
            shape: self.clone(),
            name: run.name,
            launch: launched.id,
            process: launched.process,
            descriptor: launched.descriptor,
            mounts: launched.mounts,
            freezer,
            exit,
            environment,
            claimed: AtomicBool::new(taken.other),
            sandbox: taken.sandbox.take(),
            own: taken.own.take(),
            names,
            seen: Mutex::new(seen.unwrap_or_default()),
        })
    }

    /// One that was used before where the child's networks are those of its shape; otherwise one made for it.
    async fn sandbox_for(self: &Arc<Self>, run: &ChildRun) -> Result<Taken, SandboxError> {
        let others = run.networks.as_deref().map(|names| Others {
            names,
            alias: run.name.get(..SHORT).unwrap_or(&run.name),
        });
        if !self.joined.as_deref().is_none_or(is_there) {
            return Err(SandboxError::Unexpected(
                "cannot join network of a non running container",
            ));
        }
        let sandbox = match others {
            None => self.ground.take(&self.shared, &self.plan).await?,
            Some(_) => Some(self.ground.make(&self.shared, &self.plan, others).await?),
        };
        let mut taken = Taken::new(self, sandbox);
        taken.other = others.is_some();
        Ok(taken)
    }

    /// Lets one that is ready run, or makes one.
    async fn launch(
        &self,
        ready: Option<Prepared>,
        (request, own): (Launch, Own),
        mut streams: Streams,
        root: Option<OwnedFd>,
    ) -> Result<Child, RunError> {
        if let Some(ready) = ready {
            let order = Order {
                hostname: request.hostname.clone(),
                environment: Vec::new(),
                files: request.files.clone(),
            };
            match ready.run(&order, streams).await {
                Ok(child) => {
                    self.shared.metrics.prepared_used();
                    return Ok(child);
                }
                Err(Refused::Failed(failure)) => return Err(failure.into()),
                Err(Refused::Gone(unused)) => streams = unused,
            }
        }
        self.raise_cgroups().await?;
        let launched = self.shared.spawner.launch_own(request, own, streams, root).await;
        launched.map_err(RunError::from)
    }

    /// What runs for a command: Docker's own first process before it, where that was asked for.
    pub(super) fn command(&self, mut arguments: Vec<String>) -> Vec<String> {
        if self.init {
            init::before(&mut arguments);
        }
        arguments
    }

    /// A network namespace for a child without a network: one that another has left, or was made ahead.
    fn own_network(&self) -> Option<NetworkNamespace> {
        let left = self.ground.take_own();
        left.or_else(|| self.shared.grounds.networks.take(&self.shared))
    }
}

pub(super) fn size((rows, columns): (u16, u16)) -> TerminalSize {
    TerminalSize { rows, columns }
}

/// A container's variables in Docker's order: its path and host name first, each name once.
pub(super) fn environment(hostname: &str, terminal: bool, own: &[String]) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        all.push("TERM=xterm".to_owned());
    }
    overlaid(all, own)
}
