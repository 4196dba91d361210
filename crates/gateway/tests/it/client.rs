//! Callers: one that writes bytes by hand, and hyper's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far more than anything here takes; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// What comes until the other side closes, in whichever way.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until a text was there.
pub(crate) async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !all.contains(text) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed before {text:?}: {all:?}");
            all.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| panic!("no {text:?} came"));
    all
}

/// A GET that closes its connection.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    raw(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: skep.test\r\nconnection: close\r\n\r\n"),
    )
    .await
}

/// The value of a header field in a response that was read by hand.
pub(crate) fn field<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = response.split_once("\r\n\r\n")?;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The invocation that a response tells of.
pub(crate) fn invocation(response: &str) -> &str {
    field(response, "skep-invocation").expect("every answer names its invocation")
}

pub(crate) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a whole head").1
}

/// One request by hyper's HTTP/1 client.
pub(crate) async fn http1<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// One request by hyper's HTTP/2 client; its connection ends with the response.
pub(crate) async fn http2<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// A whole body.
pub(crate) fn full(
    bytes: impl Into<Bytes>,
) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin {
    Full::new(bytes.into()).map_err(|never| match never {})
}

/// A response's whole body as text.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    let bytes = tokio::time::timeout(PATIENCE, response.into_body().collect())
        .await
        .expect("the body ends");
    String::from_utf8_lossy(&bytes.expect("a whole body").to_bytes()).into_owned()
}
