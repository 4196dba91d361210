//! Requests that try to be read in two ways, written by hand. Behind the gateway a mirror would show what got
//! through; each must be refused, or be read in the one way that the RFC allows and end the connection's use.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{body, field, get, raw, rest, until};
use crate::servers::mirror;
use crate::world::{Planned, World};

async fn mirrored() -> World {
    World::of(vec![Planned("m", &[("skep.route", "/")], mirror())]).await
}

async fn refused(world: &World, request: &str) {
    let before = world.engine.launched();
    let response = raw(world.address, request).await;
    assert!(
        response.starts_with("HTTP/1.1 400 "),
        "{request:?} was answered {response:?}"
    );
    assert!(
        !response.contains("HTTP/1.1 200 "),
        "{request:?} was answered {response:?}"
    );
    assert_eq!(field(&response, "content-type"), Some("application/problem+json"));
    assert!(
        body(&response).contains("\"code\":\"bad-request\"")
            || body(&response).contains("\"code\":\"ambiguous-request\""),
        "{request:?} was answered {response:?}"
    );
    assert_eq!(
        world.engine.launched(),
        before,
        "{request:?} reached the function"
    );
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused() {
    let world = mirrored().await;
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length:",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding:\u{b}chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        refused(&world, &request).await;
    }
}

const BOTH: [&str; 5] = [
    "content-length: 4\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 4",
    "Transfer-Encoding: Chunked\r\nx: y\r\nContent-Length: 100",
    "content-length: 0\ntransfer-encoding: chunked",
    "content-length:\ttwo\r\ntransfer-encoding: chunked",
];

#[tokio::test]
async fn a_length_beside_chunks_is_refused() {
    let world = mirrored().await;
    for fields in BOTH {
        let request = format!(
            "POST /first HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
             GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        refused(&world, &request).await;
        // However it arrives, and after another request as well.
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream
            .write_all(b"GET /before HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        until(&mut stream, "GET /before").await;
        for piece in request.as_bytes().chunks(7) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let response = rest(&mut stream).await;
        assert!(
            response.contains("HTTP/1.1 400 ") && !response.contains("/second"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_length_beside_chunks_behind_another_request_never_decides_where_the_request_ends() {
    let world = mirrored().await;
    for fields in BOTH {
        // In one packet with the request before it: nobody looked at its head on its own.
        let request = format!(
            "GET /before HTTP/1.1\r\nhost: a\r\n\r\n\
             POST /first HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
             GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let response = raw(world.address, &request).await;
        let (_, first) = response.split_once("GET /before").expect("an answer");
        // Either refused, or read as chunks and passed on with one framing only (RFC 9112, section 6.3).
        assert!(
            first.contains("HTTP/1.1 400 ") || first.contains("\n\nabc"),
            "{response}"
        );
        assert!(
            !first.contains("content-length: 4\n") && !first.contains("/second"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn malformed_headers_are_refused() {
    let world = mirrored().await;
    for fields in [
        "host: a\r\nx-folded: one\r\n two",
        "host: a\r\ncontent-length : 5",
        "host: a\r\n x: y",
        "host: a\r\nx y: z",
        "host: a\r\nno-colon",
        "host: a\r\nx: a\0b",
        "host: a\r\nx: a\rb",
        "host: a\r\n: nameless",
        "host: a\r\nx\r\n : y",
    ] {
        refused(&world, &format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nhello")).await;
    }
}

#[tokio::test]
async fn hosts_that_contradict_each_other_are_refused_with_a_problem() {
    let world = mirrored().await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\nconnection: close\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        refused(&world, request).await;
        assert!(
            raw(world.address, request)
                .await
                .contains("application/problem+json"),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    let world = mirrored().await;
    for chunks in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\nabc",
        "3\nabc\n0\n\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}\
             GET /smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let response = raw(world.address, &request).await;
        assert!(!response.contains("smuggled"), "{chunks:?} gave {response}");
        assert!(
            !response.starts_with("HTTP/1.1 200 "),
            "{chunks:?} gave {response}"
        );
    }
}

#[tokio::test]
async fn a_line_feed_alone_ends_no_chunk_and_smuggles_nothing() {
    let world = mirrored().await;
    // Bare line feeds between fields are allowed to a recipient (RFC 9112, section 2.2); what is behind the body
    // must still be read as the next request, and not as part of this one.
    let request = "POST /first HTTP/1.1\nhost: a\ncontent-length: 3\n\nabcGET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = raw(world.address, request).await;
    assert!(
        response.contains("POST /first") || response.starts_with("HTTP/1.1 400 "),
        "{response}"
    );
    if response.contains("POST /first") {
        assert!(
            response.contains("\n\nabc") && response.contains("GET /second"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn http10_works_and_has_no_chunks() {
    let world = mirrored().await;
    let response = raw(world.address, "GET /old HTTP/1.0\r\n\r\n").await;
    assert!(
        response.starts_with("HTTP/1.0 200 ") && response.contains("GET /old"),
        "{response}"
    );
    assert!(response.contains("host: localhost\n"), "{response}");
    let chunked = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(raw(world.address, chunked).await.contains(" 400 "));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = mirrored().await;
    let request =
        "GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = raw(world.address, request).await;
    let (one, two) = (
        response.find("GET /one").unwrap(),
        response.find("GET /two").unwrap(),
    );
    assert!(one < two);
}

#[tokio::test]
async fn skep_is_no_forward_proxy() {
    let world = mirrored().await;
    let response = raw(
        world.address,
        "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    let asterisk = raw(
        world.address,
        "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        asterisk.starts_with("HTTP/1.1 204 ") && asterisk.contains("allow: "),
        "{asterisk}"
    );
    assert_eq!(world.engine.launched(), 0);
}

#[tokio::test]
async fn an_absolute_target_is_a_path_of_its_host() {
    let world = mirrored().await;
    let response = raw(
        world.address,
        "GET http://a/x?y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(body(&response).starts_with("GET /x?y\n"), "{response}");
}

#[tokio::test]
async fn a_path_is_passed_on_as_it_was_sent() {
    let world = mirrored().await;
    for path in [
        "//evil.example/x",
        "/a/../b",
        "/%2e%2e/",
        "/a;b=c",
        "/a%00b",
        "/ä".replace('ä', "%C3%A4").as_str(),
    ] {
        let response = get(world.address, path).await;
        assert!(
            body(&response).starts_with(&format!("GET {path}\n")),
            "{path}: {response}"
        );
    }
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let world = mirrored().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for path in ["/one", "/two"] {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        until(&mut stream, &format!("GET {path}\n")).await;
    }
}
