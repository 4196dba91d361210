//! Call listeners: how functions and services reach Skep.

use skep_testing::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{self, Bench};

fn address(url: &str) -> &str {
    url.strip_prefix("http://").expect("an http URL")
}

#[tokio::test]
async fn a_function_on_a_network_reaches_skep_at_the_networks_gateway() {
    let mut bench = Bench::new("calls").await;
    let network = bench.docker.network("a", &[]);
    let url = bench.engine.call_url(&network).await.expect("a URL");
    let launched = bench
        .exec_with(&["--network", &network], &["connect", address(&url)])
        .await;
    let (mut stream, peer) = bench.calls.recv().await.unwrap();
    assert_eq!(vec![peer.ip()], launched.instance.addresses());
    stream.write_all(b"from skep").await.unwrap();
    drop(stream);
    assert_eq!(common::finish(launched).await.0, b"from skep");
}

#[tokio::test]
async fn a_function_without_a_network_reaches_skep_inside_its_own_namespace() {
    let mut bench = Bench::new("inside").await;
    // Connects as the first thing that its process does.
    let launched = bench
        .exec_with(&["--network", "none"], &["connect", "127.0.0.1:61082"])
        .await;
    let (mut stream, peer) = bench.calls.recv().await.unwrap();
    assert_eq!(vec![peer.ip()], launched.instance.addresses());
    stream.write_all(b"from skep").await.unwrap();
    drop(stream);
    assert_eq!(common::finish(launched).await.0, b"from skep");
    let (stdout, _, _) = common::finish(bench.exec_with(&["--network", "none"], &["env"]).await).await;
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(stdout.contains("SKEP_URL=http://127.0.0.1:61082\n"), "{stdout}");
}

#[tokio::test]
async fn a_function_finds_the_url_in_its_environment_and_it_is_one_port_everywhere() {
    let bench = Bench::new("url").await;
    let (first, internal) = (
        bench.docker.network("a", &[]),
        bench.docker.network("b", &["--internal"]),
    );
    let mut ports = Vec::new();
    for network in [first.as_str(), &internal, "bridge", "host"] {
        let (stdout, _, _) = common::finish(bench.exec_with(&["--network", network], &["env"]).await).await;
        let stdout = String::from_utf8(stdout).unwrap();
        let url = stdout
            .lines()
            .find_map(|line| line.strip_prefix("SKEP_URL=http://"))
            .expect(&stdout);
        ports.push(url.rsplit(':').next().unwrap().to_owned());
    }
    assert!(ports.iter().all(|port| port == &ports[0]), "{ports:?}");
}

#[tokio::test]
async fn a_connection_from_outside_the_network_is_closed() {
    let mut bench = Bench::new("outside").await;
    let network = bench.docker.network("a", &[]);
    let url = bench.engine.call_url(&network).await.expect("a URL");
    // The host's own connection comes from the gateway's address itself, which is inside; one bound to loopback isn't.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let stream = socket.connect(address(&url).parse().unwrap()).await;
    if let Ok(mut stream) = stream {
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    }
    assert!(bench.calls.try_recv().is_err());
}

#[tokio::test]
async fn a_listener_goes_with_its_network_and_comes_back_with_it() {
    let mut bench = Bench::new("again").await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    // Two blocks that no other test takes: networks are removed and made by name here, and differ by their block.
    let digits = bench.docker.namespace().rsplit('-').next().unwrap().to_owned();
    let third = u8::from_str_radix(&digits[10..12], 16).unwrap() & 0xfe;
    let subnet = |third: u8| format!("10.213.{third}.0/24");
    let network = bench.docker.network("a", &["--subnet", &subnet(third)]);
    let url = bench.engine.call_url(&network).await.expect("a URL");
    bench.docker.run(&["network", "rm", &network]);
    bench.docker.network("a", &["--subnet", &subnet(third | 1)]);
    // The background looks at once when it starts.
    let engine = bench.engine.clone();
    let background = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { engine.run_background(shutdown).await }
    });
    let now = eventually("the new network's URL", async || {
        bench.engine.call_url(&network).await.filter(|now| *now != url)
    })
    .await;
    assert!(
        now.starts_with(&format!("http://10.213.{}.1:", third | 1)),
        "{now}"
    );
    let launched = bench
        .exec_with(&["--network", &network], &["connect", address(&now)])
        .await;
    drop(bench.calls.recv().await.unwrap());
    common::finish(launched).await;
    shutdown.cancel();
    background.await.unwrap();
    assert!(TcpStream::connect(address(&now)).await.is_err());
}

#[tokio::test]
async fn a_services_network_gets_a_listener_without_any_function() {
    let bench = Bench::new("service").await;
    let network = bench.docker.network("a", &[]);
    let label = format!("skep.namespace={}", bench.docker.namespace());
    let probe = skep_testing::probe_image();
    let service = [
        "run",
        "-d",
        "--label",
        &label,
        "--label",
        "skep.service=web",
        "--network",
        &network,
        &probe,
        "sleep",
        "100",
    ];
    bench.docker.run(&service);
    bench.engine.reconcile_networks().await;
    let gateway = bench.docker.run(&[
        "network",
        "inspect",
        "-f",
        "{{(index .IPAM.Config 0).Gateway}}",
        &network,
    ]);
    let port = bench.engine.call_port();
    assert_ne!(port, 0);
    TcpStream::connect(format!("{gateway}:{port}")).await.unwrap();
}
