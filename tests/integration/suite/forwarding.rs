//! What a function gets to know of a request: paths, prefixes, hosts, and who asked.

use http::{Request, StatusCode};
use skep_tests::{Skep, empty, probe_image};

#[tokio::test]
async fn the_longest_matching_prefix_wins_on_segment_boundaries() {
    let skep = Skep::start("fwd-prefix").await;
    let probe = probe_image();
    for (name, route) in [("root", "/"), ("shop", "/shop"), ("api", "/shop/api")] {
        let route = format!("route={route}");
        skep.deploy(name, &["handler=exec", &route], &[], &[&probe, "echo", name])
            .await;
    }
    for (path, name) in [
        ("/", "root"),
        ("/shopping", "root"),
        ("/shop", "shop"),
        ("/shop/", "shop"),
        ("/shop/apis", "shop"),
        ("/shop/api", "api"),
        ("/shop/api/x?y=/z", "api"),
    ] {
        assert_eq!(skep.public.get(path).await.text().trim(), name, "{path}");
    }
    skep.finish().await;
}

#[tokio::test]
async fn a_route_may_be_a_host_or_a_host_with_a_prefix() {
    let skep = Skep::start("fwd-host").await;
    let probe = probe_image();
    let routes = [
        ("any", "/any"),
        ("shop", "shop.example.com"),
        ("api", "shop.example.com/api,other.example.com"),
    ];
    for (name, route) in routes {
        let route = format!("route={route}");
        skep.deploy(name, &["handler=exec", &route], &[], &[&probe, "echo", name])
            .await;
    }
    for (host, path, name) in [
        ("shop.example.com", "/", Some("shop")),
        ("SHOP.example.com:8080", "/x", Some("shop")),
        ("shop.example.com", "/api/v1", Some("api")),
        ("other.example.com", "/", Some("api")),
        ("elsewhere.example.com", "/any", Some("any")),
        ("elsewhere.example.com", "/", None),
    ] {
        let answer = skep
            .public
            .send(Request::get(path).header("host", host).body(empty()).unwrap())
            .await;
        match name {
            Some(name) => assert_eq!(answer.text().trim(), name, "{host}{path}"),
            None => assert_eq!(answer.problem(), "not-found", "{host}{path}"),
        }
    }
    skep.finish().await;
}

#[tokio::test]
async fn the_prefix_is_stripped_and_said_and_what_strangers_claim_is_dropped() {
    let skep = Skep::start("fwd-strip").await;
    let probe = probe_image();
    skep.deploy("cut", &["recycle=idle"], &[], &[&probe, "http"])
        .await;
    skep.deploy("whole", &["recycle=idle", "strip=false"], &[], &[&probe, "http"])
        .await;
    let request = Request::get("/cut/a%2Fb?c=d")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("x-forwarded-prefix", "/evil")
        .header("x-forwarded-host", "evil")
        .header("skep-invocation", "evil")
        .header("connection", "x-hop")
        .header("x-hop", "only to the next")
        .body(empty())
        .unwrap();
    let answer = skep.public.send(request).await;
    let text = answer.text().to_ascii_lowercase();
    assert!(text.starts_with("/a%2fb?c=d\n"), "{text}");
    for part in [
        "x-forwarded-prefix: /cut",
        "x-forwarded-for: 127.0.0.1\r\n",
        "forwarded: for=127.0.0.1;",
        "traceparent: 00-",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    for part in ["6.6.6.6", "evil", "x-hop"] {
        assert!(!text.contains(part), "{part:?} is in {text}");
    }
    assert!(
        text.contains(&format!("skep-invocation: {}", answer.header("skep-invocation"))),
        "{text}"
    );
    let whole = skep.public.get("/whole/x").await;
    assert!(whole.text().starts_with("/whole/x\n"), "{whole:?}");
    assert!(
        !whole.text().to_ascii_lowercase().contains("x-forwarded-prefix"),
        "{whole:?}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let skep = Skep::with("fwd-trusted", &["--trusted-proxies", "127.0.0.0/8"]).await;
    skep.deploy("p", &[], &[], &[&probe_image(), "http"]).await;
    let request = Request::get("/p")
        .header("x-forwarded-for", "9.9.9.9")
        .header("x-forwarded-proto", "https");
    let answer = skep.public.send(request.body(empty()).unwrap()).await;
    let text = answer.text().to_ascii_lowercase();
    assert!(text.contains("x-forwarded-for: 9.9.9.9, 127.0.0.1"), "{text}");
    assert!(text.contains("x-forwarded-proto: https"), "{text}");
    skep.finish().await;
}

#[tokio::test]
async fn functions_call_each_other_and_the_child_knows_its_parent() {
    let skep = Skep::start("fwd-call").await;
    let probe = probe_image();
    let network = skep.docker.network("calls", &[]);
    let on = ["--network", network.as_str()];
    skep.deploy("front", &["recycle=idle"], &on, &[&probe, "http"])
        .await;
    skep.deploy("hidden", &["handler=exec", "route=none"], &on, &[&probe, "env"])
        .await;
    assert_eq!(
        skep.public.get("/hidden").await.status,
        StatusCode::NOT_FOUND,
        "not on the public listener"
    );

    let environment = skep.public.get("/front/env").await;
    let url = environment
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("SKEP_URL=http://"))
        .expect("SKEP_URL");
    let answer = skep
        .public
        .get(&format!("/front/fetch/{}/hidden", url.trim_end_matches('/')))
        .await;
    assert!(answer.text().starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(answer.text().contains("SKEP_FUNCTION=hidden"), "{answer:?}");
    let control = skep
        .public
        .get(&format!(
            "/front/fetch/{}/v1/functions",
            url.trim_end_matches('/')
        ))
        .await;
    assert!(control.text().starts_with("HTTP/1.1 404"), "{control:?}");
    skep.finish().await;
}

#[tokio::test]
async fn an_image_that_exposes_one_port_is_asked_there() {
    let skep = Skep::start("fwd-port").await;
    let probe = probe_image();
    skep.deploy(
        "exposed",
        &[],
        &["--expose", "7777"],
        &[&probe, "http", "--port", "7777"],
    )
    .await;
    assert_eq!(skep.public.get("/exposed").await.status, StatusCode::OK);
    skep.deploy(
        "labelled",
        &["port=7778"],
        &[],
        &[&probe, "http", "--port", "7778"],
    )
    .await;
    assert_eq!(skep.public.get("/labelled").await.status, StatusCode::OK);
    skep.deploy("isolated", &[], &["--network", "none"], &[&probe, "http"])
        .await;
    assert_eq!(
        skep.public.get("/isolated").await.status,
        StatusCode::OK,
        "reached in its own network namespace"
    );
    let environment = ["-e", "PORT=7779"];
    skep.deploy("chosen", &[], &environment, &[&probe, "http"]).await;
    assert_eq!(skep.public.get("/chosen").await.status, StatusCode::OK);
    skep.finish().await;
}
