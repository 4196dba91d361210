//! An engine whose instances are tasks of this process: a listener for `http`, two pipes for `exec` and `cgi`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use skep_engine::{
    Engine, EngineKind, Exit, Instance, Launch, LaunchError, LaunchErrorKind, Launched, Listener, Pipes,
    Stdio, output_channel,
};
use skep_model::{Function, InstanceId};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a command finds when it runs.
pub(crate) struct Command {
    pub(crate) environment: HashMap<String, String>,
    pub(crate) stdin: DuplexStream,
    pub(crate) stdout: DuplexStream,
}

type Program = Arc<dyn Fn(Command) -> BoxFuture<'static, i64> + Send + Sync>;
type Server = Arc<dyn Fn(TcpListener) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the instances of one function do.
#[derive(Clone)]
pub(crate) enum Behaviour {
    Program(Program),
    Server(Server),
}

/// A command that returns its exit code.
pub(crate) fn program<F>(run: impl Fn(Command) -> F + Send + Sync + 'static) -> Behaviour
where
    F: Future<Output = i64> + Send + 'static,
{
    Behaviour::Program(Arc::new(move |command| run(command).boxed()))
}

/// A server on a socket; its instance exits with 1 when it returns.
pub(crate) fn server<F>(run: impl Fn(TcpListener) -> F + Send + Sync + 'static) -> Behaviour
where
    F: Future<Output = ()> + Send + 'static,
{
    Behaviour::Server(Arc::new(move |listener| run(listener).boxed()))
}

/// Makes instances of the functions whose behaviour it knows.
#[derive(Default)]
pub(crate) struct FakeEngine {
    behaviours: Mutex<HashMap<String, Behaviour>>,
    launched: AtomicUsize,
    live: watch::Sender<usize>,
}

impl FakeEngine {
    pub(crate) fn teach(&self, function: &str, behaviour: Behaviour) {
        self.behaviours
            .lock()
            .unwrap()
            .insert(function.to_owned(), behaviour);
    }

    /// From now on its instances can't be started.
    pub(crate) fn forget(&self, function: &str) {
        self.behaviours.lock().unwrap().remove(function);
    }

    /// How many instances were ever launched.
    pub(crate) fn launched(&self) -> usize {
        self.launched.load(Ordering::SeqCst)
    }

    /// Waits until this many instances are left.
    pub(crate) async fn until_left(&self, count: usize) {
        let mut live = self.live.subscribe();
        live.wait_for(|left| *left == count)
            .await
            .expect("the engine lives as long as the test");
    }

    async fn start(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let name = launch.function.name.to_string();
        let behaviour = self.behaviours.lock().unwrap().get(&name).cloned();
        let behaviour = behaviour.ok_or_else(|| LaunchError {
            kind: LaunchErrorKind::StartFailed,
            message: format!("no such command: /secret/{name}"),
        })?;
        let (exit, _) = watch::channel(None);
        let (log, output) = output_channel();
        let (port, pipes, running) = match behaviour {
            Behaviour::Server(run) => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .expect("a free port");
                let port = listener.local_addr().expect("it is bound").port();
                (port, None, run(listener).map(|()| 1).boxed())
            }
            Behaviour::Program(run) => {
                assert_eq!(launch.stdio, Stdio::Pipe);
                let (stdin, command_stdin) = tokio::io::duplex(64 * 1024);
                let (stdout, command_stdout) = tokio::io::duplex(64 * 1024);
                let environment = launch.environment.iter().cloned().collect();
                let command = Command {
                    environment,
                    stdin: command_stdin,
                    stdout: command_stdout,
                };
                let pipes = Pipes {
                    stdin: Box::new(stdin),
                    stdout: Box::new(stdout),
                };
                (0, Some(pipes), run(command))
            }
        };
        let exited = exit.clone();
        let task = tokio::spawn(async move {
            let code = running.await;
            drop(log);
            exited.send_if_modified(|exit| {
                let ended = exit.is_none();
                exit.get_or_insert(Exit {
                    code,
                    out_of_memory: false,
                });
                ended
            });
        });
        self.launched.fetch_add(1, Ordering::SeqCst);
        self.live.send_modify(|left| *left += 1);
        let instance = FakeInstance {
            id: launch.instance,
            port,
            exit,
            task: Mutex::new(Some(task)),
            live: self.live.clone(),
        };
        Ok(Launched {
            instance: Arc::new(instance),
            pipes,
            output,
            sandbox: None,
            start: Duration::from_millis(3),
        })
    }
}

impl Engine for FakeEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }

    fn unsupported(&self, _: &Function) -> Vec<String> {
        Vec::new()
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        self.start(launch).boxed()
    }
}

#[derive(Debug)]
struct FakeInstance {
    id: InstanceId,
    port: u16,
    exit: watch::Sender<Option<Exit>>,
    task: Mutex<Option<JoinHandle<()>>>,
    live: watch::Sender<usize>,
}

impl Instance for FakeInstance {
    fn id(&self) -> InstanceId {
        self.id
    }

    fn locator(&self) -> String {
        "task".to_owned()
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn addresses(&self) -> Vec<IpAddr> {
        vec![Ipv4Addr::LOCALHOST.into()]
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).boxed()
    }

    fn listeners(&self) -> BoxFuture<'_, Vec<Listener>> {
        async { Vec::new() }.boxed()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        let mut exit = self.exit.subscribe();
        async move {
            let exit = exit.wait_for(Option::is_some).await.expect("the instance lives");
            exit.expect("it was waited for")
        }
        .boxed()
    }

    fn try_exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    fn freeze(&self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn thaw(&self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.remove()
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
            self.exit.send_if_modified(|exit| {
                let ended = exit.is_none();
                exit.get_or_insert(Exit {
                    code: 137,
                    out_of_memory: false,
                });
                ended
            });
            self.live.send_modify(|left| *left -= 1);
        }
        async {}.boxed()
    }
}
