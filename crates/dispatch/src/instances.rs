//! The tasks of an instance's life: launching it and watching it, freezing it, removing it.

use std::sync::Arc;
use std::time::Duration;

use skep_engine::{Launch, LaunchError, Launched, Stdio};
use skep_model::{
    Function, InvocationId, LogEntry, LogLine, LogStream, Phases, Problem, ProblemCode, Recycle,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::live::{Handover, Live};
use crate::logs::{Attribution, Serves};
use crate::pool::InstanceKey;
use crate::ready;
use crate::shared::Shared;

/// An engine that does not answer a launch for this long is stalled, however patient the function is.
const STALLED: Duration = Duration::from_secs(60);
/// Starting takes an engine under load longer than the shortest time that a function may have for its work.
const UNHURRIED: Duration = Duration::from_secs(5);

/// How long an engine may take to answer for this function: its own time, within reason.
pub(crate) fn engine_patience(function: &Function) -> Duration {
    function.settings.timeout.clamp(UNHURRIED, STALLED)
}

/// Tells the pool that a launch is over, whatever happens to its task: a fault in it must not keep a place taken.
struct Watch {
    shared: Arc<Shared>,
    key: InstanceKey,
    exists: bool,
    over: bool,
}

impl Watch {
    fn fail(&mut self, problem: &Problem, phases: Phases) {
        self.over = true;
        let (key, exists) = (self.key, self.exists);
        self.shared.apply(|state, now| {
            if !exists {
                state.begun.remove(&key);
            }
            state.pool.failed(key, problem, phases, exists, now);
        });
    }

    /// Nothing was made: the launch was given up in time.
    fn nothing_made(&mut self) {
        self.over = true;
        let key = self.key;
        self.shared.apply(|state, now| {
            state.begun.remove(&key);
            state.pool.removed(key, now);
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.over {
            self.fail(&Problem::new(ProblemCode::Internal), Phases::default());
        }
    }
}

/// From the launch until the instance ends by itself, or its removal begins.
pub(crate) async fn live(
    shared: Arc<Shared>,
    key: InstanceKey,
    launch: Launch,
    invocation: Option<InvocationId>,
    cancelled: CancellationToken,
) {
    let mut watch = Watch {
        shared: Arc::clone(&shared),
        key,
        exists: false,
        over: false,
    };
    let stdio = launch.stdio;
    let launching = timeout(
        engine_patience(&launch.function),
        shared.engine.launch(launch.clone()),
    );
    let launched = tokio::select! {
        biased;
        () = cancelled.cancelled() => return watch.nothing_made(),
        launched = launching => launched,
    };
    let launched = match launched {
        Ok(Ok(launched)) => launched,
        Ok(Err(error)) => {
            let problem = refused(&launch, &error);
            explain(&shared, &launch, &problem);
            return watch.fail(&problem, Phases::default());
        }
        Err(_) => {
            let problem = stalled(&launch);
            explain(&shared, &launch, &problem);
            return watch.fail(&problem, Phases::default());
        }
    };
    let phases = Phases {
        sandbox: launched.sandbox,
        start: Some(launched.start),
        ..Phases::default()
    };
    let live = register(&shared, key, &launch, launched, invocation);
    watch.exists = true;
    shared.apply(|state, now| state.pool.launched(key, now));
    if stdio == Stdio::Log {
        let began = Instant::now();
        let patience = shared.config.elsewhere_after;
        let ready = tokio::select! {
            biased;
            // The pool waits for the removal, and has told everybody.
            () = cancelled.cancelled() => {
                watch.over = true;
                live.ended.cancel();
                return remove(shared, live, false).await;
            }
            ready = ready::wait(&live.instance, &launch.function, &live.logs, patience) => ready,
        };
        let phases = Phases {
            ready: Some(began.elapsed()),
            ..phases
        };
        live.handover().phases = phases;
        match ready {
            Ok(connection) => live.handover().connection = connection,
            Err(problem) => {
                tracing::warn!(function = %launch.function.name, instance = %launch.instance,
                    code = problem.code.as_str(), reason = problem.internal, "an instance did not become ready");
                explain(&shared, &launch, &problem);
                return watch.fail(&problem, phases);
            }
        }
    }
    watch.over = true;
    shared.apply(|state, now| state.pool.ready(key, now));
    // Nobody took it at once: a server with a single thread would wait on this connection until somebody does.
    drop(live.handover().connection.take());
    tokio::select! {
        exit = live.instance.exited() => shared.apply(|state, now| state.pool.exited(key, exit.code, now)),
        () = live.ended.cancelled() => {}
    }
}

/// The engine made it: from here on others find it, and its log is read.
fn register(
    shared: &Arc<Shared>,
    key: InstanceKey,
    launch: &Launch,
    launched: Launched,
    invocation: Option<InvocationId>,
) -> Arc<Live> {
    let Launched {
        instance,
        pipes,
        output,
        sandbox,
        start,
    } = launched;
    let serves = if launch.stdio == Stdio::Pipe || launch.function.settings.recycle == Recycle::Request {
        Serves::One(invocation)
    } else {
        Serves::Many
    };
    let name = launch.function.name.clone();
    let logs = Attribution::new(
        Arc::clone(&shared.journal),
        name,
        launch.instance,
        shared.config.log_limit,
        serves,
    );
    let phases = Phases {
        sandbox,
        start: Some(start),
        ..Phases::default()
    };
    let handover = Handover {
        pipes,
        connection: None,
        phases,
    };
    let live = Arc::new(Live::new(
        key,
        Arc::clone(&launch.function),
        instance,
        logs,
        handover,
    ));
    // Its process runs already, and may call others in the name of its invocation.
    live.invocations().extend(invocation);
    let mut state = shared.lock();
    for address in live.instance.addresses() {
        state.addresses.entry(address).or_default().push(key);
    }
    state.live.insert(key, Arc::clone(&live));
    if let Some(begun) = state.begun.get(&key) {
        begun.over.cancel();
    }
    drop(state);
    let reading = Arc::clone(&live);
    shared.tasks.spawn(async move { reading.logs.pump(output).await });
    live
}

fn refused(launch: &Launch, error: &LaunchError) -> Problem {
    tracing::warn!(function = %launch.function.name, instance = %launch.instance, %error, "a launch failed");
    Problem::new(error.kind.problem()).internal(error.message.clone())
}

fn stalled(launch: &Launch) -> Problem {
    tracing::error!(function = %launch.function.name, instance = %launch.instance, "the engine stalls");
    let waited = engine_patience(&launch.function);
    Problem::new(ProblemCode::EngineUnavailable)
        .internal(format!("the engine did not answer a launch within {waited:?}"))
}

/// Says in the function's log why there is no instance: its author looks there first, and the public is not told.
fn explain(shared: &Shared, launch: &Launch, problem: &Problem) {
    let Some(reason) = problem.internal.as_ref().or(problem.detail.as_ref()) else {
        return;
    };
    shared.journal.log(LogEntry {
        function: launch.function.name.clone(),
        instance: launch.instance,
        invocation: None,
        line: LogLine {
            time: jiff::Timestamp::now(),
            stream: LogStream::Skep,
            text: reason.clone().into_bytes(),
        },
    });
}

/// Stops an idle instance's processes from running, unless it was given work meanwhile.
pub(crate) async fn freeze(shared: Arc<Shared>, live: Arc<Live>) {
    let _turn = live.temperature.lock().await;
    if !live.is_to_be_frozen() || live.ended.is_cancelled() {
        return;
    }
    if let Err(error) = live.instance.freeze().await {
        tracing::warn!(function = %live.function.name, instance = %live.instance.id(), %error, "can't freeze");
        shared.apply(|state, _| state.pool.freeze_failed(live.key));
    }
}

/// Lets an instance's processes run again. An engine that does not answer in time is an error of the kind `TimedOut`.
pub(crate) async fn thaw(live: &Live) -> std::io::Result<()> {
    let thawing = async {
        let _turn = live.temperature.lock().await;
        live.instance.thaw().await
    };
    timeout(engine_patience(&live.function), thawing)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Removes an instance and tells the pool when nothing of it is left.
pub(crate) async fn remove(shared: Arc<Shared>, live: Arc<Live>, gentle: bool) {
    let gone = Gone {
        shared: Arc::clone(&shared),
        live: Arc::clone(&live),
    };
    live.attachments.clear();
    if gentle {
        let stopping = async {
            // A frozen process takes no signal.
            let _ = thaw(&live).await;
            live.instance.stop().await;
        };
        tokio::select! {
            () = stopping => {}
            () = live.hurried.cancelled() => {}
        }
    }
    let _permit = shared.removals.acquire().await;
    live.instance.remove().await;
    drop(gone);
}

/// Tells the pool, also where removing ends with a fault.
struct Gone {
    shared: Arc<Shared>,
    live: Arc<Live>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let key = self.live.key;
        self.shared.apply(|state, now| {
            state.begun.remove(&key);
            state.live.remove(&key);
            state.addresses.retain(|_, keys| {
                keys.retain(|other| *other != key);
                !keys.is_empty()
            });
            state.pool.removed(key, now);
        });
    }
}
