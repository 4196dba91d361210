//! Runs invocations.

use std::path::PathBuf;
use std::sync::Arc;

use http::{Request, Response};
use skep_dispatch::{Dispatcher, Lease, Work};
use skep_engine::{Pipes, Stdio};
use skep_model::{Function, Handler, Journal, Problem, ProblemCode};
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::http::Exchange;
use crate::invocation::Invocation;
use crate::metrics::Metrics;
use crate::pipes::Process;
use crate::run::{Failure, Reporting, Run};
use crate::trace::Trace;
use crate::upload::Upload;
use crate::{cgi, exec, http as http_handler};

/// What an invoker needs to know beside who works for it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where a request's body goes whose length must be known first (`cgi`).
    pub spill: PathBuf,
}

/// Runs invocations, one call each. Clones share everything.
#[derive(Clone)]
pub struct Invoker {
    dispatcher: Dispatcher,
    reporting: Arc<Reporting>,
    config: Arc<Config>,
    /// What outlives the call that began it: upgraded connections.
    tasks: TaskTracker,
}

impl Invoker {
    /// An invoker over this dispatcher.
    pub fn new(config: Config, dispatcher: Dispatcher, journal: Arc<dyn Journal>, metrics: Metrics) -> Self {
        let reporting = Arc::new(Reporting { journal, metrics });
        Self {
            dispatcher,
            reporting,
            config: Arc::new(config),
            tasks: TaskTracker::new(),
        }
    }

    /// Where the instances come from.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.reporting.metrics
    }

    /// Returns when every upgraded connection has ended. Call it once nothing new is begun.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs one invocation. The invocation ends with the response's body; dropping this future or that body ends
    /// it early, as a caller does who goes away.
    ///
    /// A request to a running server takes microseconds, and every future between the connection and it is moved once
    /// or twice: what is seldom waited for is boxed, and what is large goes through as a pointer.
    pub async fn invoke(&self, mut invocation: Box<Invocation>) -> Response<Body> {
        let run = Run::begin(self.reporting.clone(), &mut invocation);
        let trace = Trace::of(invocation.request.headers(), invocation.id);
        match invocation.function.settings.handler {
            Handler::Http => self.http(run, invocation, trace).await,
            Handler::Exec => Box::pin(self.exec(run, invocation, trace)).await,
            Handler::Cgi => Box::pin(self.cgi(run, invocation, trace)).await,
        }
    }

    async fn http(&self, mut run: Run, invocation: Box<Invocation>, trace: Trace) -> Response<Body> {
        let at_once = self
            .dispatcher
            .at_once(&invocation.function, &work(&run, Stdio::Log, Vec::new()));
        let leased = match at_once {
            Some(lease) => Ok(lease),
            None => Box::pin(self.lease(&mut run, &invocation.function, Stdio::Log, Vec::new())).await,
        };
        match leased {
            Ok(lease) => run.leased(lease),
            Err(problem) => return run.fail(Failure::new(problem)),
        }
        match Exchange::prepare(&mut run, *invocation, &trace) {
            Ok(exchange) => http_handler::respond(run, exchange, &self.tasks).await,
            Err(problem) => run.fail(Failure::new(problem)),
        }
    }

    async fn exec(&self, mut run: Run, invocation: Box<Invocation>, trace: Trace) -> Response<Body> {
        let environment = environment(&run, &trace);
        match self.process(&mut run, *invocation, environment).await {
            Ok((process, request)) => exec::respond(run, process, request.method()).await,
            Err(problem) => run.fail(Failure::new(problem)),
        }
    }

    async fn cgi(&self, mut run: Run, invocation: Box<Invocation>, trace: Trace) -> Response<Body> {
        let mut invocation = *invocation;
        let request = match cgi::measure(invocation.request, &self.config.spill).await {
            Ok(request) => request,
            Err(error) => return run.fail(Failure::new(error.problem())),
        };
        let mut variables = environment(&run, &trace);
        match cgi::variables(&request, invocation.client) {
            Ok(more) => variables.extend(more),
            Err(problem) => return run.fail(Failure::new(problem)),
        }
        invocation.request = request;
        match self.process(&mut run, invocation, variables).await {
            Ok((process, request)) => cgi::respond(run, process, request.method()).await,
            Err(problem) => run.fail(Failure::new(problem)),
        }
    }

    /// Waits for an instance and hands its pipes the request's body.
    async fn process(
        &self,
        run: &mut Run,
        invocation: Invocation,
        environment: Vec<(String, String)>,
    ) -> Result<(Process, Request<()>), Problem> {
        let mut lease = self
            .lease(run, &invocation.function, Stdio::Pipe, environment)
            .await?;
        let pipes: Option<Pipes> = lease.take_pipes();
        let instance = lease.instance().clone();
        run.leased(lease);
        let (parts, body) = invocation.request.into_parts();
        let pipes = pipes.ok_or_else(|| {
            Problem::new(ProblemCode::Internal).internal("the engine started a command without its pipes")
        })?;
        run.announce();
        Ok((
            Process::new(instance, pipes, Upload::new(body)),
            Request::from_parts(parts, ()),
        ))
    }

    async fn lease(
        &self,
        run: &mut Run,
        function: &Arc<Function>,
        stdio: Stdio,
        environment: Vec<(String, String)>,
    ) -> Result<Lease, Problem> {
        let work = work(run, stdio, environment);
        self.dispatcher.acquire(function, work).await.map_err(|refusal| {
            run.waited(refusal.phases);
            refusal.problem
        })
    }
}

fn work(run: &Run, stdio: Stdio, environment: Vec<(String, String)>) -> Work {
    Work {
        invocation: run.id(),
        environment,
        stdio,
        background: run.is_background(),
    }
}

/// What every command finds in its environment beside its template's own.
fn environment(run: &Run, trace: &Trace) -> Vec<(String, String)> {
    vec![
        ("SKEP_INVOCATION".to_owned(), run.id().to_string()),
        ("TRACEPARENT".to_owned(), trace.traceparent().to_owned()),
    ]
}
