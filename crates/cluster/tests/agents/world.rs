//! Agents that the test plays: real connections, made-up sandboxes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use jiff::Timestamp;
use skep_cluster::{Cluster, Config};
use skep_invoke::{Body, Invocation, Metrics, Report, full};
use skep_model::{
    Ending, EndingKind, Function, InvocationId, Journal, LogEntry, Namespace, Phases, Record, Trigger,
};
use skep_tls::{Authority, Identity, Listener, Reply};
use skep_wire::{
    AGENT_NAME, CONTEXT, Context, Field as _, GATEWAY_NAME, NOT_STARTED, NodePicture, NotStarted, OUTCOME,
    Outcome, SANDBOX, SandboxPicture, WAITING, Waiting,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What an agent does with work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Echo,
    Refuse(NotStarted),
    Never,
}

#[derive(Clone)]
struct FakeAgent {
    manner: Manner,
    picture: watch::Receiver<NodePicture>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    began: watch::Sender<usize>,
    waiting: watch::Sender<Option<Waiting>>,
}

impl Reply for FakeAgent {
    type Body = skep_tls::Body;

    async fn reply(&self, request: Request<Incoming>) -> Response<skep_tls::Body> {
        if request.uri().path() == WAITING {
            let said = request.into_body().collect().await.unwrap().to_bytes();
            self.waiting
                .send_replace(Some(serde_json::from_slice(&said).unwrap()));
            return Response::new(skep_tls::body(full("")));
        }
        if !request.headers().contains_key(SANDBOX) {
            let picture = self.picture.clone();
            let lines = futures::stream::unfold((picture, true), |(mut picture, first)| async move {
                if !first {
                    // Still there, if nothing changes.
                    let _ = tokio::time::timeout(Duration::from_millis(500), picture.changed()).await;
                }
                let line = serde_json::to_string(&*picture.borrow_and_update()).ok()? + "\n";
                Some((
                    Ok::<_, std::io::Error>(Frame::data(Bytes::from(line))),
                    (picture, false),
                ))
            });
            return Response::new(skep_tls::body(StreamBody::new(lines.boxed())));
        }
        self.seen.lock().unwrap().push(request.headers().clone());
        self.began.send_modify(|count| *count += 1);
        match self.manner {
            Manner::Refuse(reason) => {
                let mut response = Response::new(skep_tls::body(full("")));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response.headers_mut().insert(NOT_STARTED, reason.header());
                response
            }
            Manner::Never => std::future::pending().await,
            Manner::Echo => {
                let context = Context::read(&request.headers()[CONTEXT]).unwrap();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut frames = vec![Ok::<_, std::io::Error>(Frame::data(body))];
                if context.trigger == Trigger::Async {
                    let fields = HeaderMap::from_iter([(OUTCOME, outcome().header())]);
                    frames.push(Ok(Frame::trailers(fields)));
                }
                let mut response =
                    Response::new(skep_tls::body(StreamBody::new(futures::stream::iter(frames))));
                let timing = "queue;dur=1.000, start;dur=3.000, handler;dur=2.000"
                    .parse()
                    .unwrap();
                response.headers_mut().insert("server-timing", timing);
                response
            }
        }
    }
}

fn outcome() -> Outcome {
    Outcome {
        ending: Ending {
            kind: EndingKind::ExitCode,
            problem: None,
            exit_code: Some(3),
            http_status: Some(500),
            detail: None,
        },
        revision: Some("0123456789ab".to_owned()),
        instance: None,
        started: None,
        phases: Phases::default(),
    }
}

struct Nothing;

impl Journal for Nothing {
    fn record(&self, _: Record) {}
    fn log(&self, _: LogEntry) {}
}

/// An agent that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) picture: watch::Sender<NodePicture>,
    pub(crate) seen: Arc<Mutex<Vec<HeaderMap>>>,
    pub(crate) began: watch::Receiver<usize>,
    pub(crate) waiting: watch::Receiver<Option<Waiting>>,
    pub(crate) task: AbortOnDropHandle<()>,
}

pub(crate) struct World {
    authority: Authority,
    function: Arc<Function>,
}

impl World {
    pub(crate) fn new(labels: &[(&str, &str)]) -> Self {
        Self {
            authority: Authority::generate().unwrap(),
            function: Arc::new(skep_testing::function("hello", labels)),
        }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let member = self.authority.member(name).unwrap();
        Identity::from_pem(self.authority.certificate(), &member.certificate, &member.key).unwrap()
    }

    pub(crate) fn picture(&self, name: &str, idle: u32) -> NodePicture {
        NodePicture {
            node: format!("{name}-id"),
            hostname: name.to_owned(),
            engine: "lean".to_owned(),
            fallback: Vec::new(),
            children: skep_wire::Usage::default(),
            sandboxes: vec![SandboxPicture {
                id: format!("{name}-sandbox"),
                task: "task".to_owned(),
                service: "hello-template".to_owned(),
                function: "hello".to_owned(),
                namespace: "default".to_owned(),
                revision: self.function.revision.to_string(),
                slots: 4,
                running: 0,
                idle,
                draining: false,
                alone: false,
                reasons: Vec::new(),
            }],
            waiting: Vec::new(),
        }
    }

    /// `idle` makes it the one that is chosen first.
    pub(crate) async fn agent(&self, name: &str, manner: Manner, idle: u32) -> Running {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let listener = Listener::new(listener, &self.identity(AGENT_NAME), GATEWAY_NAME).unwrap();
        let address = listener.address().unwrap();
        let (picture, pictures) = watch::channel(self.picture(name, idle));
        let (began, begins) = watch::channel(0);
        let (waiting, waits) = watch::channel(None);
        let seen = Arc::default();
        let agent = FakeAgent {
            manner,
            picture: pictures,
            seen: Arc::clone(&seen),
            began,
            waiting,
        };
        let task = tokio::spawn(listener.serve(agent, CancellationToken::new()));
        Running {
            address,
            picture,
            seen,
            began: begins,
            waiting: waits,
            task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) async fn cluster(&self, agents: &[&Running]) -> (Cluster, AbortOnDropHandle<()>) {
        let config = Config {
            namespace: Namespace::default(),
            agents: agents.iter().map(|agent| agent.address.to_string()).collect(),
            gateway: "gateway".to_owned(),
            address: String::new(),
            pause: None,
            accounts: Default::default(),
        };
        let dialer = skep_cluster::dialer(&self.identity(GATEWAY_NAME)).unwrap();
        let cluster = Cluster::new(config, dialer, Arc::new(Nothing), Metrics::default());
        let finding = cluster.clone();
        let task = tokio::spawn(async move { finding.find_agents(CancellationToken::new()).await });
        while cluster.nodes().len() < agents.len() {
            tokio::task::yield_now().await;
        }
        (cluster, AbortOnDropHandle::new(task))
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, cluster: &Cluster) -> Response<Body> {
        let request = self.invocation(Trigger::Request, Report::Journal);
        cluster.invoke(request).await
    }

    /// The same, while the test goes on.
    pub(crate) fn asking(&self, cluster: &Cluster) -> JoinHandle<Response<Body>> {
        let (cluster, request) = (
            cluster.clone(),
            self.invocation(Trigger::Request, Report::Journal),
        );
        tokio::spawn(async move { cluster.invoke(request).await })
    }

    pub(crate) fn invocation(&self, trigger: Trigger, report: Report) -> Box<Invocation> {
        let mut request = Request::new(full("some work"));
        *request.uri_mut() = "/path?query=1".parse().unwrap();
        request
            .headers_mut()
            .insert("host", "shop.example.com".parse().unwrap());
        Box::new(Invocation {
            id: InvocationId::generate(),
            function: self.function.clone(),
            parent: None,
            trigger,
            received: Timestamp::now(),
            attempts: 1,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request,
            report,
        })
    }
}

/// An answer, whole.
pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
