//! Connecting to instances, whatever their network.

use std::io;

use crate::common::{self, Bench};

async fn answers(bench: &Bench, options: &[&str], command: &[&str]) {
    let launched = bench.http(options, command).await;
    common::ready(&launched).await;
    let answer = common::get(&launched, "/hello").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("GET /hello"),
        "{answer}"
    );
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_server_on_the_default_bridge_answers() {
    answers(&Bench::new("bridge").await, &[], &["http"]).await;
}

#[tokio::test]
async fn a_server_on_a_network_of_its_own_answers() {
    let bench = Bench::new("network").await;
    let network = bench.docker.network("a", &[]);
    answers(&bench, &["--network", &network], &["http"]).await;
}

#[tokio::test]
async fn a_server_on_an_internal_network_answers() {
    let bench = Bench::new("internal").await;
    let network = bench.docker.network("a", &["--internal"]);
    answers(&bench, &["--network", &network], &["http"]).await;
}

#[tokio::test]
async fn a_server_without_network_answers() {
    let bench = Bench::new("none").await;
    answers(&bench, &["--network", "none"], &["http", "--listen", "127.0.0.1"]).await;
}

#[tokio::test]
async fn servers_on_the_hosts_network_each_get_a_port_of_their_own() {
    let bench = Bench::new("host").await;
    let function = bench.function(&["--network", "host"], &["http"]);
    let one = bench.launch(&function).await.unwrap();
    let two = bench.launch(&function).await.unwrap();
    assert_ne!(one.instance.port(), two.instance.port());
    for launched in [&one, &two] {
        common::ready(launched).await;
        let answer = common::get(launched, "/env").await.unwrap();
        assert!(
            answer.contains(&format!("\nPORT={}\n", launched.instance.port())),
            "{answer}"
        );
        launched.instance.remove().await;
    }
}

#[tokio::test]
async fn a_strangers_socket_on_the_hosts_network_is_never_taken_for_the_instances() {
    let bench = Bench::new("stranger").await;
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let label = format!("skep.port={}", stranger.local_addr().unwrap().port());
    let options = ["--network", "host", "--label", &label, "--label", "skep.max=1"];
    let launched = bench.http(&options, &["sleep", "100"]).await;
    let error = launched.instance.connect().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_server_in_another_containers_network_answers() {
    let bench = Bench::new("joined").await;
    let probe = skep_testing::probe_image();
    let namespace = format!("skep.namespace={}", bench.docker.namespace());
    let other = bench
        .docker
        .run(&["run", "-d", "--label", &namespace, &probe, "sleep", "1000"]);
    answers(&bench, &["--network", &format!("container:{other}")], &["http"]).await;
}

#[tokio::test]
async fn a_server_on_two_networks_is_on_both() {
    let bench = Bench::new("two").await;
    let (first, second) = (bench.docker.network("a", &[]), bench.docker.network("b", &[]));
    let template = bench.docker.create(&[
        "--label",
        "skep.function=probe",
        "--network",
        &first,
        &skep_testing::probe_image(),
        "http",
    ]);
    bench.docker.run(&["network", "connect", &second, &template]);
    let function = bench.docker.function(&template).into();
    let launched = bench.launch(&function).await.unwrap();
    assert_eq!(launched.instance.addresses().len(), 2);
    common::ready(&launched).await;
    let format =
        "{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{$network.IPAddress}} {{end}}";
    let networks = bench
        .docker
        .run(&["inspect", "-f", format, &launched.instance.locator()]);
    let first_address = launched.instance.addresses()[0].to_string();
    assert!(
        networks.contains(&format!("{first} {first_address}")) && networks.contains(&second),
        "{networks}"
    );
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_server_that_only_listens_on_ipv6_is_reached_where_the_network_has_only_that() {
    let bench = Bench::new("six").await;
    let digits = bench.docker.namespace().rsplit('-').next().unwrap().to_owned();
    let subnet = format!("fd00:{}:{}::/64", &digits[4..8], &digits[8..12]);
    let network = bench.docker.network("six", &["--ipv6", "--subnet", &subnet]);
    answers(&bench, &["--network", &network], &["http"]).await;
}

#[tokio::test]
async fn nothing_listening_is_a_refused_connection_and_what_listens_elsewhere_is_seen() {
    let bench = Bench::new("elsewhere").await;
    let launched = bench
        .http(&[], &["http", "--port", "9000", "--listen", "127.0.0.1"])
        .await;
    common::logged(launched.output, "listening on 9000").await;
    let error = launched.instance.connect().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let listeners = launched.instance.listeners().await;
    assert_eq!(
        listeners
            .iter()
            .map(|l| l.address.to_string())
            .collect::<Vec<_>>(),
        ["127.0.0.1:9000"]
    );
    launched.instance.remove().await;
    assert_eq!(launched.instance.listeners().await, []);
    assert!(launched.instance.connect().await.is_err());
}

#[tokio::test]
async fn the_port_is_the_templates_own_where_it_has_one() {
    let bench = Bench::new("port").await;
    let launched = bench
        .http(&["-e", "PORT=3000", "--expose", "80"], &["http"])
        .await;
    assert_eq!(launched.instance.port(), 3000);
    launched.instance.remove().await;
    let launched = bench.http(&["--expose", "81"], &["http"]).await;
    assert_eq!(launched.instance.port(), 81);
    launched.instance.remove().await;
    let launched = bench.http(&["-e", "PORT=nonsense"], &["http"]).await;
    assert_eq!(launched.instance.port(), 8080);
    launched.instance.remove().await;
}
