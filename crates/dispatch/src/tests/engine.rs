//! An engine whose instances are what the test says. `http` ones listen on a real socket of the loopback. How long
//! anything takes is measured by the tests' paused clock: nobody waits for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use skep_engine::{
    Engine, EngineKind, Exit, Instance, Launch, LaunchError, LaunchErrorKind, Launched, Listener, Pipes,
    Stdio, output_channel,
};
use skep_model::{Function, InstanceId, Journal, LogEntry, LogLine, LogStream, Record};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How the instances of a function behave, by the function's name; others start at once and are ready at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// How long making one takes.
    pub(crate) start: Duration,
    /// How long it is until it listens.
    pub(crate) ready: Duration,
    /// It never listens on its port.
    pub(crate) deaf: bool,
    /// Where else it listens.
    pub(crate) listeners: Vec<SocketAddr>,
    /// The engine refuses.
    pub(crate) fails: bool,
    /// It ends by itself after this long, with this code; after no time at all it has ended when its launch returns.
    pub(crate) exits: Option<(Duration, i64)>,
    /// What it writes at its start.
    pub(crate) says: Vec<String>,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Fake {
    id: InstanceId,
    behaviour: Behaviour,
    began: tokio::time::Instant,
    listener: Option<SocketAddr>,
    exit: watch::Sender<Option<Exit>>,
    output: Mutex<Option<mpsc::Sender<LogLine>>>,
    pub(crate) frozen: AtomicUsize,
    pub(crate) stopped: AtomicUsize,
    removed: watch::Sender<bool>,
}

impl Fake {
    /// Ends by itself.
    pub(crate) fn exit(&self, code: i64) {
        self.exit.send_replace(Some(Exit {
            code,
            out_of_memory: false,
        }));
        drop(self.output.lock().expect("no test panics with it").take());
    }

    pub(crate) fn is_removed(&self) -> bool {
        *self.removed.borrow()
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn removed(&self) {
        self.removed
            .subscribe()
            .wait_for(|removed| *removed)
            .await
            .expect("the sender lives in here");
    }

    /// Writes a line to standard error.
    pub(crate) async fn say(&self, text: &str) {
        let sender = self.output.lock().expect("no test panics with it").clone();
        if let Some(sender) = sender {
            let line = LogLine {
                time: Timestamp::now(),
                stream: LogStream::Stderr,
                text: text.into(),
            };
            sender.send(line).await.expect("its log is read to the end");
        }
    }
}

impl Instance for Fake {
    fn id(&self) -> InstanceId {
        self.id
    }

    fn locator(&self) -> String {
        self.id.to_string()
    }

    fn port(&self) -> u16 {
        8080
    }

    fn addresses(&self) -> Vec<IpAddr> {
        vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>> {
        async {
            match self.listener {
                Some(address) if self.began.elapsed() >= self.behaviour.ready => {
                    TcpStream::connect(address).await
                }
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        }
        .boxed()
    }

    fn listeners(&self) -> BoxFuture<'_, Vec<Listener>> {
        let listeners = self
            .behaviour
            .listeners
            .iter()
            .map(|address| Listener { address: *address })
            .collect();
        std::future::ready(listeners).boxed()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        async {
            let mut exit = self.exit.subscribe();
            let exit = exit
                .wait_for(Option::is_some)
                .await
                .expect("the sender lives in here");
            exit.expect("it was waited for")
        }
        .boxed()
    }

    fn try_exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    fn freeze(&self) -> BoxFuture<'_, io::Result<()>> {
        self.frozen.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(())).boxed()
    }

    fn thaw(&self) -> BoxFuture<'_, io::Result<()>> {
        self.frozen.store(0, Ordering::SeqCst);
        std::future::ready(Ok(())).boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.stopped.fetch_add(1, Ordering::SeqCst);
        self.exit(143);
        std::future::ready(()).boxed()
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        async {
            self.exit(137);
            self.removed.send_replace(true);
        }
        .boxed()
    }
}

/// The engine, and the journal beside it.
#[derive(Default)]
pub(crate) struct FakeEngine {
    pub(crate) behaviours: Mutex<HashMap<String, Behaviour>>,
    made: Mutex<Vec<Arc<Fake>>>,
    pub(crate) given_up: AtomicUsize,
    listener: tokio::sync::OnceCell<(SocketAddr, TcpListener)>,
    pub(crate) log: Mutex<Vec<LogEntry>>,
}

impl FakeEngine {
    pub(crate) fn behave(&self, name: &str, behaviour: Behaviour) {
        self.behaviours
            .lock()
            .expect("no test panics with it")
            .insert(name.to_owned(), behaviour);
    }

    /// Every instance made so far, the oldest first.
    pub(crate) fn made(&self) -> Vec<Arc<Fake>> {
        self.made.lock().expect("no test panics with it").clone()
    }

    /// What was logged: the line, and whether it was given to an invocation.
    pub(crate) fn logged(&self) -> Vec<(String, Option<skep_model::InvocationId>)> {
        let log = self.log.lock().expect("no test panics with it");
        log.iter()
            .map(|e| (String::from_utf8_lossy(&e.line.text).into_owned(), e.invocation))
            .collect()
    }

    /// One socket for all: the kernel accepts connections to it whether anybody takes them or not.
    async fn address(&self) -> SocketAddr {
        let open = || async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a port is free");
            (listener.local_addr().expect("it is bound"), listener)
        };
        self.listener.get_or_init(open).await.0
    }
}

/// Counts a launch whose future was dropped.
struct GivenUp<'a>(&'a AtomicUsize, bool);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(usize::from(self.1), Ordering::SeqCst);
    }
}

impl Engine for FakeEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }

    fn unsupported(&self, _function: &Function) -> Vec<String> {
        Vec::new()
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        async move {
            let behaviours = self.behaviours.lock().expect("no test panics with it").clone();
            let behaviour = behaviours
                .get(launch.function.name.as_str())
                .cloned()
                .unwrap_or_default();
            let mut given_up = GivenUp(&self.given_up, true);
            tokio::time::sleep(behaviour.start).await;
            given_up.1 = false;
            if behaviour.fails {
                let message = "no such command".to_owned();
                return Err(LaunchError {
                    kind: LaunchErrorKind::StartFailed,
                    message,
                });
            }
            let (sender, output) = output_channel();
            let fake = Arc::new(Fake {
                id: launch.instance,
                began: tokio::time::Instant::now(),
                listener: if behaviour.deaf {
                    None
                } else {
                    Some(self.address().await)
                },
                exit: watch::Sender::new(None),
                output: Mutex::new(Some(sender)),
                frozen: AtomicUsize::new(0),
                stopped: AtomicUsize::new(0),
                removed: watch::Sender::new(false),
                behaviour: behaviour.clone(),
            });
            self.made
                .lock()
                .expect("no test panics with it")
                .push(Arc::clone(&fake));
            for text in &behaviour.says {
                fake.say(text).await;
            }
            match behaviour.exits {
                None => {}
                Some((Duration::ZERO, code)) => fake.exit(code),
                Some((after, code)) => {
                    let fake = Arc::clone(&fake);
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        fake.exit(code);
                    });
                }
            }
            let (start, sandbox) = (behaviour.start, None);
            let pipes = (launch.stdio == Stdio::Pipe).then(|| Pipes {
                stdin: Box::new(tokio::io::sink()),
                stdout: Box::new(tokio::io::empty()),
            });
            Ok(Launched {
                instance: fake,
                pipes,
                output,
                sandbox,
                start,
            })
        }
        .boxed()
    }
}

impl Journal for FakeEngine {
    fn record(&self, _record: Record) {}

    fn log(&self, entry: LogEntry) {
        self.log.lock().expect("no test panics with it").push(entry);
    }
}
