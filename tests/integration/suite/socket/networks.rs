//! Networks that children are connected to after they were made: what a client sees of a lean child is what it sees of
//! Docker's.

use skep_tests::{DEBIAN, Skep, eventually};

use super::kinds::{both_in, compare, lean_children};
use super::{call, open, run, shell};

/// Shell functions: `show NAME` says on which networks a child is, as it is told, as the network says and as it sees
/// itself.
fn show(networks: &[&str]) -> String {
    let networks = networks.join(" ");
    format!(
        "listed() {{
           docker inspect -f '{{{{range $n, $e := .NetworkSettings.Networks}}}}{{{{$n}}}} {{{{if $e.IPAddress}}}}on{{{{else}}}}off{{{{end}}}} {{{{end}}}}' $1
           for network in {networks}; do
             echo $network: $(docker network inspect -f '{{{{range .Containers}}}}{{{{.Name}}}} {{{{end}}}}' $network) \
               $(docker ps -a --filter network=$network --format '{{{{.Names}}}}')
           done
         }}
         show() {{
           listed $1
           docker inspect -f '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}} {{{{end}}}}' $1 | xargs -n 1 | sort >/tmp/told
           docker exec $1 hostname -I | xargs -n 1 | sort | cmp - /tmp/told && echo its addresses
           docker exec $1 sed -n \"s/^\\([0-9.]*\\)\\t$(docker inspect -f '{{{{.Config.Hostname}}}}' $1)$/\\1/p\" /etc/hosts | sort | cmp - /tmp/told && echo its names
           docker exec $1 sh -c 'ls /sys/class/net | xargs; grep -v ^# /etc/resolv.conf'
         }}"
    )
}

#[tokio::test]
async fn a_running_lean_child_is_connected_and_disconnected_as_dockers_would_be() {
    let skep = both_on_networks("networks-running").await;
    let (a, b) = (named(&skep, "a"), named(&skep, "b"));
    let script = format!(
        "{show}
         docker run -d --name one --network {a} {DEBIAN} sleep 300 >/dev/null
         show one; docker network connect {b} one; echo $?; show one
         docker exec one sh -c 'echo 10.9.9.9 own >>/etc/hosts'
         docker network connect {b} one; docker network connect {a} one
         docker network connect --alias db {b} one; docker network connect --ip 10.3.3.3 {b} one
         docker network connect other one; docker network connect none one; docker network connect {b} nobody
         docker network disconnect {a} one; echo $?; docker exec one grep own /etc/hosts; show one
         docker network disconnect {a} one; docker network disconnect -f {a} one; docker network disconnect bridge one
         docker restart -t 0 one; show one
         docker pause one; docker network connect {a} one; docker unpause one; show one
         docker network disconnect {a} one; docker network disconnect {b} one; show one
         docker restart -t 0 one; show one
         docker stop -t 0 one; listed one; docker rm one; docker network inspect -f '{{{{len .Containers}}}}' {b}",
        show = show(&[&a, &b]),
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.contains("its addresses") && said.contains("its names"),
        "{said}"
    );
    assert!(said.contains("10.9.9.9 own"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn a_lean_child_that_does_not_run_is_connected_for_its_next_start_as_dockers_would_be() {
    let skep = both_on_networks("networks-stopped").await;
    let (a, b) = (named(&skep, "a"), named(&skep, "b"));
    let script = format!(
        "{show}
         networks() {{ docker inspect $1 | sed -n '/\"Networks\"/,$p'; }}
         docker create --name one --network {a} {DEBIAN} sleep 300 >/dev/null
         docker network connect {b} one; docker network connect {b} one; echo $?; listed one
         docker network connect none one; docker network disconnect bridge one
         docker start one; show one
         docker network disconnect {a} one; docker stop -t 0 one; listed one
         docker network connect {a} one; docker network disconnect {b} one; listed one; docker start one; show one
         docker stop -t 0 one; docker network disconnect {a} one; listed one; docker start one; show one
         docker rm -f one
         docker create --name two --network none {DEBIAN} sleep 300 >/dev/null
         docker network connect {a} two; docker network disconnect {a} two
         docker network disconnect none two; networks two; docker network connect {b} two; networks two
         docker start two; docker network connect none two; show two; docker rm -f two
         docker run -d --name three --network none {DEBIAN} sleep 300 >/dev/null
         docker network connect {a} three; docker network disconnect {a} three; docker network connect none three
         docker rm -f three",
        show = show(&[&a, &b]),
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.contains("its addresses") && said.contains("its names"),
        "{said}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_lean_child_that_began_on_the_bridge_finds_and_is_found_on_what_it_is_connected_to() {
    let skep = both_on_networks("networks-names").await;
    let a = named(&skep, "a");
    let script = format!(
        "{show}
         one=$(docker run -d --name one --network bridge --read-only {DEBIAN} sleep 300)
         two=$(docker run -d --name two --network {a} {DEBIAN} sleep 300)
         docker network connect {a} one
         docker exec one sh -c 'grep -v ^# /etc/resolv.conf; grep -c \"$(cat /etc/hostname)\" /etc/hosts'
         docker exec two getent hosts ${{one:0:12}} | grep -c ${{one:0:12}}
         docker exec one getent hosts ${{one:0:12}} | wc -l
         docker network disconnect bridge one; docker exec two getent hosts ${{one:0:12}} | grep -c ${{one:0:12}}
         docker network disconnect {a} one; docker exec two getent hosts ${{one:0:12}}; echo $?
         docker rm -f one two",
        show = show(&[&a]),
    );
    compare(&skep, &script).await;
    skep.finish().await;
}

#[tokio::test]
async fn no_other_child_gets_a_sandbox_that_was_connected_and_nothing_is_left_of_it() {
    let mut skep = Skep::start("networks-after").await;
    let (a, b) = (skep.docker.network("a", &[]), skep.docker.network("b", &[]));
    let granted = format!("spawn.networks={a},{b}");
    let labels = ["spawn=debian:bookworm-slim", "engine=lean", &granted];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name one --network {a} {DEBIAN} sleep 300 >/dev/null
         docker network connect {b} one; docker rm -f one >/dev/null
         docker run --rm --network {a} {DEBIAN} sh -c 'ls /sys/class/net | xargs'
         docker run -d --name two --network {a} {DEBIAN} sleep 300 >/dev/null; docker network connect {b} two"
    );
    assert_eq!(run(&skep, "fast", &script).await, "eth0 lo\n");
    assert_eq!(lean_children(&skep), 1, "they are lean's");
    skep.kill();
    skep.restart().await;
    eventually("the function", async || {
        let answer = skep.control.get("/v1/functions/fast").await;
        (answer.status == http::StatusCode::OK).then_some(())
    })
    .await;
    let script = format!(
        "docker start two; docker exec two sh -c 'ls /sys/class/net | xargs'
         docker network inspect -f '{{{{range .Containers}}}}{{{{.Name}}}}{{{{end}}}}' {b}; docker rm -f two >/dev/null"
    );
    assert_eq!(run(&skep, "fast", &script).await, "two\neth0 eth1 lo\ntwo\n");
    eventually("the sandboxes to be gone", async || {
        let format = "{{len .Containers}}";
        let members = skep.docker.run(&["network", "inspect", "-f", format, &b]);
        (members == "0").then_some(())
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn a_lean_child_that_runs_without_a_network_gets_none() {
    let skep = Skep::start("networks-none").await;
    let a = skep.docker.network("a", &[]);
    let granted = format!("spawn.networks={a}");
    let labels = ["spawn=debian:bookworm-slim", "engine=lean", &granted];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "fast").await;
    super::docker(&socket, &["run", "-d", "--name", "one", DEBIAN, "sleep", "300"])
        .await
        .unwrap();
    let body = r#"{"Container":"one"}"#;
    let (status, said) = call(&socket, "POST", "/networks/none/disconnect", body).await;
    assert!(
        status == 501 && said.contains("create it with the network"),
        "{status} {said}"
    );
    let (status, said) = call(&socket, "POST", &format!("/networks/{a}/connect"), body).await;
    assert!(
        status == 400 && said.contains("private (none) mode"),
        "{status} {said}"
    );
    super::docker(&socket, &["rm", "-f", "one"]).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn nobody_waits_for_a_child_that_holds_its_hosts_against_a_change() {
    let skep = Skep::start("networks-lease").await;
    let (a, b) = (skep.docker.network("a", &[]), skep.docker.network("b", &[]));
    let granted = format!("spawn.networks={a},{b}");
    let labels = ["spawn=debian:bookworm-slim", "engine=lean", &granted];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    // F_SETLEASE, F_WRLCK: whoever opens the file waits for its holder, or for as long as the machine says.
    let hold = "$SIG{IO} = q(IGNORE); for my $name (qw(hosts resolv.conf)) { open my $file, q(+<), qq(/etc/$name); \
                fcntl($file, 1024, 1) or die $!; push @held, $file } print qq(held\\n); sleep 300";
    let script = format!(
        "docker run -d --name one --network {a} {DEBIAN} perl -e '$|=1; {hold}' >/dev/null
         until docker logs one | grep .; do :; done; begin=$SECONDS
         docker network connect {b} one; docker network disconnect {a} one
         echo $((SECONDS - begin > 20)); docker rm -f one"
    );
    assert_eq!(run(&skep, "fast", &script).await, "held\n0\none\n");
    skep.finish().await;
}

/// Both kinds of children, with two networks of their own and the default bridge granted.
async fn both_on_networks(name: &str) -> Skep {
    let skep = Skep::start(name).await;
    let (a, b) = (skep.docker.network("a", &[]), skep.docker.network("b", &[]));
    both_in(skep, &[&format!("spawn.networks=bridge,{a},{b}")]).await
}

/// The whole name of a network of the test's.
fn named(skep: &Skep, name: &str) -> String {
    format!("{}-{name}", skep.docker.namespace())
}
