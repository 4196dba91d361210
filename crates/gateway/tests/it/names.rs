//! Fields and methods by which a caller might say something to the instance that Skep did not mean: written by hand,
//! and shown by a mirror.

use crate::cgi;
use crate::client::{body, field, raw};
use crate::servers::mirror;
use crate::world::{Planned, World};

async fn mirrored() -> World {
    World::of(vec![Planned("m", &[("skep.route", "/")], mirror())]).await
}

async fn post(world: &World, fields: &str) -> String {
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n{fields}\r\nconnection: close\r\n\r\nabc"
    );
    raw(world.address, &request).await
}

#[tokio::test]
async fn connection_can_not_name_away_what_frames_or_tells_of_the_request() {
    let world = mirrored().await;
    for name in [
        "Content-Length",
        "Host",
        "X-Forwarded-For",
        "Forwarded",
        "Skep-Invocation",
        "Transfer-Encoding",
    ] {
        let response = post(&world, &format!("connection: {name}")).await;
        let seen = body(&response);
        for there in [
            "content-length: 3\n",
            "host: a\n",
            "x-forwarded-for: 127.0.0.1\n",
            "forwarded: for=127.0.0.1",
            "skep-invocation: ",
        ] {
            assert!(seen.contains(there), "{name}: {response}");
        }
        assert!(seen.ends_with("\n\nabc"), "{name}: {response}");
    }
    let response = post(&world, "connection: x-private\r\nx-private: 1").await;
    assert!(!body(&response).contains("x-private"), "{response}");
}

#[tokio::test]
async fn an_underscore_is_no_way_to_speak_for_a_proxy() {
    let world = mirrored().await;
    let fields = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: gopher\r\nContent_Length: 77\r\n\
        Transfer_Encoding: chunked\r\nSkep_Invocation: mine\r\nX-Forwarded-For: 6.6.6.6\r\napi_key: kept";
    let response = post(&world, fields).await;
    let seen = body(&response);
    for gone in ["6.6.6.6", "gopher", "content_length", "chunked", "mine"] {
        assert!(!seen.contains(gone), "{gone}: {response}");
    }
    assert!(seen.contains("api_key: kept"), "{response}");
}

#[tokio::test]
async fn a_script_sees_one_value_of_each_variable() {
    let world = World::of(vec![Planned("c", &[("skep.handler", "cgi")], cgi::environment())]).await;
    let request = "GET /c HTTP/1.1\r\nhost: a\r\nX_Forwarded_For: 6.6.6.6\r\nx-a: one\r\nx_a: two\r\n\
        Proxy: http://evil.example\r\nproxy-authorization: secret\r\nconnection: close\r\n\r\n";
    let response = raw(world.address, request).await;
    let seen = body(&response);
    assert!(
        seen.contains("HTTP_X_A=one\n") && seen.contains("HTTP_X_FORWARDED_FOR=127.0.0.1\n"),
        "{response}"
    );
    for gone in ["6.6.6.6", "two", "evil.example", "secret"] {
        assert!(!seen.contains(gone), "{gone}: {response}");
    }
}

#[tokio::test]
async fn methods_are_the_functions_own_but_for_the_proxys() {
    let world = mirrored().await;
    // TRACE is answered by whoever is there for the path, or not; Skep itself echoes nothing.
    for method in ["TRACE", "OPTIONS", "PROPFIND", "BREW"] {
        let response = raw(
            world.address,
            &format!("{method} /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(
            body(&response).starts_with(&format!("{method} /x\n")),
            "{response}"
        );
    }
    for target in ["a:80", "/x", "http://a/"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n");
        let response = raw(world.address, &request).await;
        assert!(
            response.starts_with("HTTP/1.1 405 ") || response.starts_with("HTTP/1.1 400 "),
            "{target}: {response}"
        );
        assert_eq!(field(&response, "content-type"), Some("application/problem+json"));
    }
    for method in ["GET", "TRACE"] {
        let request = format!("{method} * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let response = raw(world.address, &request).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
}
