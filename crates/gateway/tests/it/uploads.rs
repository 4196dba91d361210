//! Answers that are there before the request's body is: their callers get to read them, whichever HTTP they speak.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use skep_gateway::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{PATIENCE, http1, http2, rest, text};
use crate::engine::{Behaviour, program};
use crate::world::{Planned, World};

const EXEC: &[(&str, &str)] = &[("skep.handler", "exec")];
const CHUNK: usize = 16 * 1024;

/// A command that never looks at its standard input.
fn early() -> Behaviour {
    program(|mut command| async move {
        command.stdout.write_all(b"early\n").await.unwrap();
        0
    })
}

async fn world(max_body: u64) -> World {
    let config = Config {
        max_body,
        ..Config::default()
    };
    World::with(config, vec![Planned("early", EXEC, early())]).await
}

/// A body that counts what was taken of it.
struct Upload {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Upload {
    fn of(chunks: usize) -> (Self, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let upload = Self {
            left: chunks,
            taken: taken.clone(),
        };
        (upload, taken)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.taken.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; CHUNK])))))
    }
}

fn post(path: &str, upload: Upload) -> Request<Upload> {
    Request::post(path).body(upload).unwrap()
}

#[tokio::test]
async fn over_http2_an_early_answer_ends_once_the_upload_has() {
    let world = world(1 << 30).await;
    let (upload, taken) = Upload::of(1000);
    let request = post(&format!("http://{}/early", world.address), upload);
    let response = http2(world.address, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "early\n");
    assert_eq!(taken.load(Ordering::SeqCst), 1000);
}

#[tokio::test]
async fn over_http2_a_refusal_is_read_whole_whatever_is_still_sent() {
    let world = world(10_000_000).await;
    for (path, chunks, status) in [("/nobody", 500, 404), ("/early", 100_000, 200)] {
        let (upload, _) = Upload::of(chunks);
        let request = post(&format!("http://{}{path}", world.address), upload);
        let response = http2(world.address, request).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(!text(response).await.is_empty(), "{path}");
    }
    let (upload, _) = Upload::of(1000);
    let mut request = post(&format!("http://{}/early", world.address), upload);
    let length = (1000 * CHUNK).to_string().parse().unwrap();
    request.headers_mut().insert("content-length", length);
    let response = http2(world.address, request).await;
    assert_eq!(response.status(), 413);
    assert!(text(response).await.contains("\"body-too-large\""));
}

#[tokio::test]
async fn over_http2_a_caller_who_never_ends_is_reset_without_an_error_after_the_answer() {
    let world = world(100_000).await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/early", world.address)).body(());
    let (response, mut sending) = client.send_request(request.unwrap(), false).unwrap();
    let endless = async {
        loop {
            sending.reserve_capacity(CHUNK);
            let reset = std::future::poll_fn(|cx| match sending.poll_reset(cx) {
                Poll::Ready(reason) => Poll::Ready(Some(reason)),
                Poll::Pending => sending.poll_capacity(cx).map(|_| None),
            });
            if let Some(reason) = reset.await {
                return reason;
            }
            if let Err(error) = sending.send_data(Bytes::from_static(&[0; CHUNK]), false) {
                return error.reason().ok_or(error);
            }
        }
    };
    let answer = async {
        let mut body = response.await.unwrap().into_body();
        let mut all = Vec::new();
        while let Some(data) = body.data().await {
            all.extend_from_slice(&data.unwrap());
        }
        all
    };
    let both = async { tokio::join!(endless, answer) };
    let (reason, answer) = tokio::time::timeout(PATIENCE, both).await.expect("an end");
    assert_eq!(answer, b"early\n");
    assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
    drop(client);
    connection.abort();
}

#[tokio::test]
async fn over_http2_a_caller_who_only_waits_for_the_answer_gets_its_end_soon() {
    let world = world(1 << 30).await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/early", world.address)).body(());
    let (response, sending) = client.send_request(request.unwrap(), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    let ended = async { while body.data().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(5), ended)
        .await
        .expect("the end, although the upload has none");
    drop(sending);
    connection.abort();
}

#[tokio::test]
async fn over_http2_a_caller_may_send_much_ahead_and_no_more_than_is_bounded() {
    let deaf = program(|command| async move {
        let _never_read = command.stdin;
        std::future::pending().await
    });
    let world = World::of(vec![Planned("deaf", EXEC, deaf)]).await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) = h2::client::Builder::new()
        .max_send_buffer_size(64 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/deaf", world.address)).body(());
    let (_response, mut sending) = client.send_request(request.unwrap(), false).unwrap();
    sending.reserve_capacity(64 << 20);
    let granted = async {
        while sending.capacity() < 2 << 20 {
            std::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
        }
    };
    tokio::time::timeout(PATIENCE, granted)
        .await
        .expect("so much may be sent while nobody reads");
    assert_eq!(sending.capacity(), 2 << 20);
    connection.abort();
}

#[tokio::test]
async fn over_http1_an_early_answer_is_read_whole_by_a_caller_who_still_sends() {
    let world = world(1 << 30).await;
    let (upload, _) = Upload::of(1000);
    let mut request = post("/early", upload);
    request.headers_mut().insert("host", "a".parse().unwrap());
    let response = http1(world.address, request).await;
    assert_eq!(text(response).await, "early\n");

    // One that writes everything before it reads.
    for (path, expected) in [("/early", "early\n"), ("/nobody", "\"not-found\"")] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 16384000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..1000 {
            stream.write_all(&[0; CHUNK]).await.unwrap();
        }
        let answer = rest(&mut stream).await;
        assert!(answer.contains(expected), "{path}: {answer}");
    }
}

/// curl reads no more once it knows the end of an answer, and then never sees that it may send on.
#[tokio::test]
async fn curl_reads_an_early_answer_over_either_http() {
    let curl = || tokio::process::Command::new("curl");
    let version = curl().arg("--version").output().await;
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("HTTP2")) {
        eprintln!("there is no curl with HTTP/2 here");
        return;
    }
    let world = world(1 << 30).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("upload");
    std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
    for version in ["--http2-prior-knowledge", "--http1.1"] {
        for (path, expected) in [("early", "early\n"), ("nobody", "\"not-found\"")] {
            let mut command = curl();
            command.args(["-sS", "--max-time", "20", version, "-H", "Expect:", "-T"]);
            // From a file curl knows the length, from standard input it does not.
            let url = format!("http://{}/{path}", world.address);
            let known = command.arg(&file).arg(&url).output().await.unwrap();
            let mut command = curl();
            command.args(["-sS", "--max-time", "20", version, "-T", "-", &url]);
            command.stdin(std::fs::File::open(&file).unwrap());
            let unknown = command.output().await.unwrap();
            for output in [known, unknown] {
                assert!(output.status.success(), "{version} {path}: {output:?}");
                let answer = String::from_utf8_lossy(&output.stdout);
                assert!(answer.contains(expected), "{version} {path}: {answer}");
            }
        }
    }
}
