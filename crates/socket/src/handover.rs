//! A connection that becomes a container's streams, when its client has read that it does.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// How long a client may take to read the answer before it gets more.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether it did.
const LOOK: Duration = Duration::from_micros(500);

/// The client's end of a connection: its own socket, or what another node's agent brings of it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The client's end of a connection that was handed over, and what it sent behind its request.
///
/// docker-py reads the head of an answer through a buffer and what follows past that buffer: output that came
/// together with the head is lost to it. The daemon takes its time after the head; here the head is waited for.
pub(crate) async fn taken(upgraded: Upgraded) -> io::Result<(Box<dyn Stream>, Bytes, HangUp)> {
    let parts = match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => parts,
        // Another node's: its agent waits for the client, and closes the connection when that is there no more.
        Err(upgraded) => return Ok((Box::new(TokioIo::new(upgraded)), Bytes::new(), HangUp(None))),
    };
    let stream = parts.io.into_inner();
    let end = Instant::now() + PATIENCE;
    while skep_sys::unread_by_peer(&stream).is_ok_and(|waiting| waiting > 0) && Instant::now() < end {
        sleep(LOOK).await;
    }
    let hang_up = HangUp::of(&stream)?;
    Ok((Box::new(stream), parts.read_buf, hang_up))
}

/// Knows when the other end of a connection is there no more; one that only says that it sends nothing further is.
pub(crate) struct HangUp(Option<UnixStream>);

impl HangUp {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let again = std::os::unix::net::UnixStream::from(stream.as_fd().try_clone_to_owned()?);
        UnixStream::from_std(again).map(|again| Self(Some(again)))
    }

    /// Whether it will ever be known.
    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) async fn wait(&self) {
        let Some(stream) = &self.0 else {
            return std::future::pending().await;
        };
        loop {
            match stream.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {
                    // That it can be written to is no news: the next is awaited.
                    let seen: io::Result<()> = Err(io::ErrorKind::WouldBlock.into());
                    drop(stream.try_io(Interest::WRITABLE, || seen));
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response, StatusCode};
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_has_gone_is_noticed_and_one_that_only_sends_no_more_is_not() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let hang_up = HangUp::of(&server).unwrap();
        client.shutdown().await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), hang_up.wait()).await;
        assert!(early.is_err(), "it still reads");
        drop(client);
        let noticed = tokio::time::timeout(Duration::from_secs(20), hang_up.wait()).await;
        noticed.expect("it has gone");
    }

    #[tokio::test]
    async fn nothing_comes_together_with_the_head_of_the_answer() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let answer = service_fn(|mut request: Request<hyper::body::Incoming>| async move {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut stream, early, _) = taken(upgrade.await.unwrap()).await.unwrap();
                assert_eq!(&*early, b"early");
                stream.write_all(b"streams").await.unwrap();
            });
            let mut answer = Response::new(Empty::<Bytes>::new());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer.headers_mut().insert("upgrade", "tcp".parse().unwrap());
            Ok::<_, Infallible>(answer)
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), answer)
            .with_upgrades();
        let serving = tokio::spawn(serving);
        let request = b"POST / HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly";
        client.write_all(request).await.unwrap();
        serving.await.unwrap().unwrap();
        // A slow client: everything that came by now is read at once.
        sleep(Duration::from_millis(20)).await;
        let mut head = vec![0; 4096];
        let length = client.read(&mut head).await.unwrap();
        assert!(
            head[..length].ends_with(b"\r\n\r\n"),
            "{:?}",
            String::from_utf8_lossy(&head[..length])
        );
        let mut streams = String::new();
        client.read_to_string(&mut streams).await.unwrap();
        assert_eq!(streams, "streams");
    }
}
