//! A whole gateway for one test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use skep_backlog::Backlog;
use skep_catalogue::Catalogue;
use skep_dispatch::Dispatcher;
use skep_gateway::{Config, Gateway, Metrics, Serving, Workers};
use skep_invoke::Invoker;
use skep_model::{InvocationId, Journal, LogEntry, Namespace, Record};
use skep_store::Store;
use skep_testing::function;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::engine::{Behaviour, FakeEngine};

/// Keeps records and logs in memory.
#[derive(Default)]
pub(crate) struct Memory {
    records: Mutex<BTreeMap<InvocationId, Record>>,
    logs: Mutex<Vec<LogEntry>>,
    changed: watch::Sender<()>,
}

impl Journal for Memory {
    fn record(&self, record: Record) {
        self.records.lock().unwrap().insert(record.id, record);
        self.changed.send_replace(());
    }

    fn log(&self, entry: LogEntry) {
        self.logs.lock().unwrap().push(entry);
    }
}

/// A gateway with its listeners, over a fake engine.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) store: Store,
    pub(crate) invoker: Invoker,
    pub(crate) gateway: Gateway,
    pub(crate) serving: Serving,
    pub(crate) calls: mpsc::Sender<(TcpStream, SocketAddr)>,
    memory: Arc<Memory>,
    _calls: Serving,
    _backlog: DropGuard,
    _directory: tempfile::TempDir,
}

/// A function to be: its name, its other labels, what its instances do.
pub(crate) struct Planned(
    pub(crate) &'static str,
    pub(crate) &'static [(&'static str, &'static str)],
    pub(crate) Behaviour,
);

impl World {
    pub(crate) async fn of(functions: Vec<Planned>) -> Self {
        Self::with(Config::default(), functions).await
    }

    pub(crate) async fn with(config: Config, functions: Vec<Planned>) -> Self {
        Self::on(Workers::start(2).unwrap(), config, functions).await
    }

    /// With connections served there.
    pub(crate) async fn on(workers: Workers, config: Config, functions: Vec<Planned>) -> Self {
        let engine = Arc::new(FakeEngine::default());
        let memory = Arc::new(Memory::default());
        let mut dispatch = skep_dispatch::Config::new(8 << 30);
        dispatch.freeze_after = std::time::Duration::from_secs(3600);
        let dispatcher = Dispatcher::new(dispatch, engine.clone(), memory.clone());
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
        let candidates = functions
            .iter()
            .map(|planned| Ok(function(planned.0, planned.1)))
            .collect();
        for planned in functions {
            engine.teach(planned.0, planned.2);
        }
        let catalogue = Catalogue::resolve(&Namespace::default(), candidates, None);
        assert!(catalogue.invalid().is_empty(), "{:?}", catalogue.invalid());
        dispatcher.set_functions(catalogue.functions().cloned().collect());
        let (_, catalogue) = watch::channel(Arc::new(catalogue));
        let spill = skep_invoke::Config {
            spill: directory.path().to_owned(),
        };
        let invoker = Invoker::new(
            spill,
            dispatcher.clone(),
            memory.clone(),
            skep_invoke::Metrics::default(),
        );
        let gateway = Gateway::new(
            config,
            catalogue.clone(),
            invoker.clone(),
            store.clone(),
            Metrics::default(),
        )
        .on(workers);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let serving = gateway.serve(listener);
        let (calls, streams) = mpsc::channel(16);
        let backlog = backlog(&gateway, &store, catalogue);
        Self {
            address: serving.address().unwrap(),
            engine,
            dispatcher,
            store,
            invoker,
            serving,
            calls,
            memory,
            _calls: gateway.serve_calls(streams),
            gateway,
            _backlog: backlog,
            _directory: directory,
        }
    }

    /// The record of an invocation, once it has ended.
    pub(crate) async fn record(&self, id: &str) -> Record {
        let id: InvocationId = id.parse().unwrap();
        let mut changed = self.memory.changed.subscribe();
        loop {
            let known = self.memory.records.lock().unwrap().get(&id).cloned();
            if let Some(record) = known
                && record.ending.is_some()
            {
                return record;
            }
            changed.changed().await.unwrap();
        }
    }

    /// Why an invocation ended, for the operator.
    pub(crate) async fn detail(&self, id: &str) -> String {
        self.record(id).await.ending.unwrap().detail.unwrap_or_default()
    }

    /// A connection to the listener of calls, and from where the gateway sees it come.
    pub(crate) async fn call(&self) -> TcpStream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        self.calls.send(accepted).await.unwrap();
        client
    }
}

fn backlog(gateway: &Gateway, store: &Store, catalogue: watch::Receiver<Arc<Catalogue>>) -> DropGuard {
    let stop = CancellationToken::new();
    let backlog = Backlog::new(
        skep_backlog::Config::default(),
        store.clone(),
        catalogue,
        gateway.runner(),
    );
    tokio::spawn(backlog.run(stop.clone()));
    stop.drop_guard()
}
