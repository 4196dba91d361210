//! Members of a cluster, and others, over real connections.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use skep_tls::{Authority, Body, Dialer, Identity, Listener, Reply, body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const AGENT: &str = "agent.skep";
const GATEWAY: &str = "gateway.skep";

/// Answers with what it is sent; an upgrade likewise.
#[derive(Clone)]
struct Echo {
    asked: mpsc::UnboundedSender<()>,
}

impl Reply for Echo {
    type Body = Body;

    async fn reply(&self, mut request: Request<Incoming>) -> Response<Body> {
        let _ = self.asked.send(());
        if !request.headers().contains_key(header::UPGRADE) {
            return Response::new(body(request.into_body()));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let upgraded = upgrade.await.expect("the connection is handed over");
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            tokio::io::copy(&mut from, &mut to).await.expect("it is echoed");
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "echo")
            .body(body(Empty::new()))
            .expect("an answer")
    }
}

fn member(authority: &Authority, name: &str) -> Identity {
    let member = authority.member(name).expect("a member");
    Identity::from_pem(authority.certificate(), &member.certificate, &member.key).expect("an identity")
}

struct Agent {
    address: SocketAddr,
    stop: CancellationToken,
    asked: mpsc::UnboundedReceiver<()>,
    serving: AbortOnDropHandle<()>,
}

async fn agent(authority: &Authority) -> Agent {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listener = Listener::new(listener, &member(authority, AGENT), GATEWAY).expect("a listener");
    let (sender, asked) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    Agent {
        address: listener.address().expect("its address"),
        serving: AbortOnDropHandle::new(tokio::spawn(listener.serve(Echo { asked: sender }, stop.clone()))),
        stop,
        asked,
    }
}

fn request(content: &'static str) -> Request<Body> {
    Request::post("http://agent.skep/")
        .body(body(Full::new(Bytes::from_static(content.as_bytes()))))
        .expect("a request")
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.expect("a whole body");
    String::from_utf8_lossy(&bytes.to_bytes()).into_owned()
}

#[tokio::test]
async fn many_requests_share_one_line() {
    let authority = Authority::generate().unwrap();
    let agent = agent(&authority).await;
    let dialer = Dialer::new(&member(&authority, GATEWAY), AGENT).unwrap();
    let line = dialer.line(agent.address).await.unwrap();
    let (first, second) = tokio::join!(line.send(request("one")), line.send(request("two")));
    assert_eq!(text(first.unwrap()).await, "one");
    assert_eq!(text(second.unwrap()).await, "two");
}

#[tokio::test]
async fn an_upgrade_has_a_connection_of_its_own() {
    let authority = Authority::generate().unwrap();
    let agent = agent(&authority).await;
    let dialer = Dialer::new(&member(&authority, GATEWAY), AGENT).unwrap();
    let connection = dialer.upgradable(agent.address).await.unwrap();
    let mut request = request("");
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, "echo".parse().unwrap());
    let (mut response, _driver) = connection.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let mut stream = TokioIo::new(upgraded);
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

/// TLS 1.3 tells a client that it was refused only after it has spoken.
async fn is_refused(dialer: &Dialer, address: SocketAddr) -> bool {
    match dialer.line(address).await {
        Ok(line) => line.send(request("let me in")).await.is_err(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn whoever_is_not_a_gateway_of_this_cluster_is_refused() {
    let authority = Authority::generate().unwrap();
    let foreign = Authority::generate().unwrap();
    let mut agent = agent(&authority).await;
    let another_agent = Dialer::new(&member(&authority, AGENT), AGENT).unwrap();
    assert!(is_refused(&another_agent, agent.address).await);
    // One that believes this cluster, and that this cluster does not know.
    let stranger = foreign.member(GATEWAY).unwrap();
    let stranger = Identity::from_pem(authority.certificate(), &stranger.certificate, &stranger.key).unwrap();
    let stranger = Dialer::new(&stranger, AGENT).unwrap();
    assert!(is_refused(&stranger, agent.address).await);
    assert!(agent.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_gateway_speaks_to_agents_of_its_cluster_only() {
    let authority = Authority::generate().unwrap();
    let agent = agent(&authority).await;
    let mistaken = Dialer::new(&member(&authority, GATEWAY), GATEWAY).unwrap();
    assert!(mistaken.line(agent.address).await.is_err());
    let foreign = Authority::generate().unwrap();
    let foreign = Dialer::new(&member(&foreign, GATEWAY), AGENT).unwrap();
    assert!(foreign.line(agent.address).await.is_err());
}

#[tokio::test]
async fn the_end_waits_for_what_is_being_answered() {
    let authority = Authority::generate().unwrap();
    let mut agent = agent(&authority).await;
    let dialer = Dialer::new(&member(&authority, GATEWAY), AGENT).unwrap();
    let line = dialer.line(agent.address).await.unwrap();
    let (sender, content) = mpsc::channel::<Result<http_body::Frame<Bytes>, std::io::Error>>(1);
    let stream = http_body_util::StreamBody::new(futures_of(content));
    let slow = Request::post("http://agent.skep/").body(body(stream)).unwrap();
    let answer = line.send(slow).await.unwrap();
    agent.asked.recv().await.unwrap();
    agent.stop.cancel();
    sender
        .send(Ok(http_body::Frame::data(Bytes::from_static(b"late"))))
        .await
        .unwrap();
    drop(sender);
    assert_eq!(text(answer).await, "late");
    agent.serving.await.unwrap();
}

fn futures_of<T>(mut receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

#[test]
fn an_authority_that_was_put_away_certifies_as_before() {
    let first = Authority::generate().unwrap();
    let again = Authority::from_pem(first.certificate(), &first.key()).unwrap();
    let member = again.member(AGENT).unwrap();
    let identity = Identity::from_pem(first.certificate(), &member.certificate, &member.key).unwrap();
    assert!(Dialer::new(&identity, GATEWAY).is_ok());
}
