//! A gateway's cluster against agents that the test plays: real connections, made-up sandboxes.

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
    Ending, EndingKind, Function, InvocationId, Journal, LogEntry, Namespace, Phases, Record, Status, Trigger,
};
use skep_tls::{Authority, Identity, Listener, Reply};
use skep_wire::{
    AGENT_NAME, CONTEXT, Context, GATEWAY_NAME, INVOCATION, NOT_STARTED, NodePicture, NotStarted, OUTCOME,
    Outcome, SANDBOX, SandboxPicture, WAITING, Waiting,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What an agent does with work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
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
struct Running {
    address: SocketAddr,
    picture: watch::Sender<NodePicture>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    began: watch::Receiver<usize>,
    waiting: watch::Receiver<Option<Waiting>>,
    task: AbortOnDropHandle<()>,
}

struct World {
    authority: Authority,
    function: Arc<Function>,
}

impl World {
    fn new(labels: &[(&str, &str)]) -> Self {
        Self {
            authority: Authority::generate().unwrap(),
            function: Arc::new(skep_testing::function("hello", labels)),
        }
    }

    fn identity(&self, name: &str) -> Identity {
        let member = self.authority.member(name).unwrap();
        Identity::from_pem(self.authority.certificate(), &member.certificate, &member.key).unwrap()
    }

    fn picture(&self, name: &str, idle: u32) -> NodePicture {
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
    async fn agent(&self, name: &str, manner: Manner, idle: u32) -> Running {
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

    async fn cluster(&self, agents: &[&Running]) -> (Cluster, AbortOnDropHandle<()>) {
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

    fn invocation(&self, trigger: Trigger, report: Report) -> Box<Invocation> {
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

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn an_invocation_goes_to_an_agent_with_all_that_belongs_to_it() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let invocation = world.invocation(Trigger::Request, Report::Journal);
    let id = invocation.id.to_string();
    let response = cluster.invoke(invocation).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["skep-invocation"], id.as_str());
    let timing = response.headers()["server-timing"].to_str().unwrap().to_owned();
    assert!(
        timing.contains("start;dur=3.000") && timing.contains("handler;dur=2.000"),
        "{timing}"
    );
    assert_eq!(timing.matches("queue").count(), 1, "{timing}");
    assert_eq!(text(response).await, "some work");
    let seen = agent.seen.lock().unwrap()[0].clone();
    assert_eq!(seen[INVOCATION], id.as_str());
    assert_eq!(seen[SANDBOX], "a-sandbox");
    assert_eq!(seen["host"], "shop.example.com");
}

#[tokio::test]
async fn what_was_not_started_is_given_to_another_as_it_was() {
    for reason in [NotStarted::Full, NotStarted::Draining, NotStarted::Unknown] {
        let world = World::new(&[]);
        let refusing = world.agent("a", Manner::Refuse(reason), 1).await;
        let other = world.agent("b", Manner::Echo, 0).await;
        let (cluster, _finding) = world.cluster(&[&refusing, &other]).await;
        let response = cluster
            .invoke(world.invocation(Trigger::Request, Report::Journal))
            .await;
        assert_eq!(response.status(), 200, "{reason}");
        assert_eq!(text(response).await, "some work");
        assert_eq!(
            (
                refusing.seen.lock().unwrap().len(),
                other.seen.lock().unwrap().len()
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn what_was_running_on_a_lost_node_fails_and_is_not_repeated() {
    let world = World::new(&[]);
    let mut dying = world.agent("a", Manner::Never, 1).await;
    let other = world.agent("b", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&dying, &other]).await;
    let invoking = cluster.clone();
    let invocation = world.invocation(Trigger::Request, Report::Journal);
    let running = tokio::spawn(async move { invoking.invoke(invocation).await });
    dying.began.wait_for(|count| *count > 0).await.unwrap();
    drop(dying);
    let response = tokio::time::timeout(Duration::from_secs(8), running)
        .await
        .expect("within seconds")
        .unwrap();
    assert_eq!(response.status(), 502);
    assert!(text(response).await.contains("node-lost"));
    assert!(other.seen.lock().unwrap().is_empty());
    // The next goes to the other.
    let next = cluster
        .invoke(world.invocation(Trigger::Request, Report::Journal))
        .await;
    assert_eq!(next.status(), 200);
}

#[tokio::test]
async fn who_waits_for_a_sandbox_gets_the_first_that_comes() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let with = agent.picture.borrow().clone();
    agent.picture.send_modify(|picture| picture.sandboxes.clear());
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let invoking = cluster.clone();
    let invocation = world.invocation(Trigger::Request, Report::Journal);
    let waiting = tokio::spawn(async move { invoking.invoke(invocation).await });
    while cluster.waiting().values().sum::<u32>() == 0 {
        tokio::task::yield_now().await;
    }
    agent.picture.send_replace(with);
    let response = waiting.await.unwrap();
    assert_eq!(response.status(), 200);
    let timing = response.headers()["server-timing"].to_str().unwrap();
    assert!(
        timing.contains("sandbox;dur="),
        "the wait says what it was for: {timing}"
    );
}

#[tokio::test]
async fn who_waits_here_is_told_to_one_agent_and_that_nobody_does_any_more() {
    let world = World::new(&[]);
    let mut agent = world.agent("a", Manner::Echo, 0).await;
    let with = agent.picture.borrow().clone();
    agent.picture.send_modify(|picture| picture.sandboxes.clear());
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let invoking = cluster.clone();
    let invocation = world.invocation(Trigger::Request, Report::Journal);
    let waiting = tokio::spawn(async move { invoking.invoke(invocation).await });
    let told = agent.waiting.wait_for(Option::is_some).await.unwrap().clone();
    let told = told.unwrap();
    assert_eq!(
        (told.gateway.as_str(), told.namespace.as_str()),
        ("gateway", "default")
    );
    assert_eq!(told.functions, [("hello".to_owned(), 1)].into());
    agent.picture.send_replace(with);
    assert_eq!(waiting.await.unwrap().status(), 200);
    let nobody = |told: &Option<Waiting>| told.as_ref().is_some_and(|told| told.functions.is_empty());
    agent.waiting.wait_for(nobody).await.unwrap();
}

#[tokio::test]
async fn the_wait_for_a_sandbox_is_bounded() {
    let world = World::new(&[("skep.timeout", "100ms"), ("skep.queue", "0")]);
    let (cluster, _finding) = world.cluster(&[]).await;
    let response = cluster
        .invoke(world.invocation(Trigger::Request, Report::Journal))
        .await;
    assert_eq!(response.status(), 429);
    let world = World::new(&[("skep.timeout", "100ms")]);
    let response = cluster
        .invoke(world.invocation(Trigger::Request, Report::Journal))
        .await;
    assert_eq!(response.status(), 504);
    assert!(text(response).await.contains("queue-timeout"));
}

#[tokio::test]
async fn an_asynchronous_one_ends_as_its_node_says() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let (report, ended) = oneshot::channel();
    let response = cluster
        .invoke(world.invocation(Trigger::Async, Report::To(report)))
        .await;
    let (collected, record) = tokio::join!(response.into_body().collect(), ended);
    assert!(
        collected.unwrap().trailers().is_none(),
        "what is for the gateway alone stays there"
    );
    let record = record.unwrap();
    assert_eq!(record.status, Status::Failed);
    assert_eq!(record.ending.unwrap().exit_code, Some(3));
    assert_eq!(record.revision.as_deref(), Some("0123456789ab"));
    drop(agent.task);
}
