//! Archives that are small and ask for much: time, memory, what is the host's.

use std::time::Duration;

use skep_tests::{DEBIAN, Skep};

use super::{call, open, run, shell};

/// One header of an archive, as GNU's tar writes it.
fn header(name: &str, kind: char, size: usize) -> String {
    let mut header = format!(
        "{name:\0<100}{:07o}\0{:07o}\0{:07o}\0{size:011o}\0{:011o}\0        {kind}",
        0o755, 0, 0, 0
    );
    header = format!("{header:\0<257}ustar  \0");
    if kind == 'S' {
        // One hole up to the end of eight GiB, and that size.
        header = format!("{header:\0<386}{0}\0{1}\0", "7".repeat(11), "0".repeat(11));
        header = format!("{header:\0<483}{}\0", "7".repeat(11));
    }
    let header = format!("{header:\0<512}");
    let sum: u32 = header.bytes().map(u32::from).sum();
    format!("{}{sum:06o}\0 {}", &header[..148], &header[156..])
}

/// The same with a name that has no room in it.
fn with_long_name(name: &str, kind: char) -> String {
    let length = name.len() + 1;
    let padded = length.next_multiple_of(512);
    let long = format!("{name:\0<padded$}");
    format!(
        "{}{long}{}",
        header("././@LongLink", 'L', length),
        header("long", kind, 0)
    )
}

#[tokio::test]
async fn what_is_no_byte_of_an_archive_takes_no_time() {
    let skep = Skep::start("bombs-sparse").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "sh").await;
    let body = format!(r#"{{"Image":"{DEBIAN}","Cmd":["true"]}}"#);
    let (status, said) = call(&socket, "POST", "/containers/create?name=box", &body).await;
    assert_eq!(status, 201, "{said}");
    for name in ["./", "folder/"] {
        let archive = header(name, 'S', 0).repeat(100) + &"\0".repeat(1024);
        let put = call(&socket, "PUT", "/containers/box/archive?path=/srv", &archive);
        let (status, said) = tokio::time::timeout(Duration::from_secs(30), put)
            .await
            .expect("an answer");
        assert!(
            status == 500 && said.contains("sparse"),
            "{name}: {status} {said}"
        );
    }
    let archive = header("file", 'S', 0) + &"\0".repeat(1024);
    let (status, said) = call(&socket, "PUT", "/containers/box/archive?path=/srv", &archive).await;
    assert_eq!(status, 200, "{said}");
    let (status, _) = call(&socket, "DELETE", "/containers/box", "").await;
    assert_eq!(status, 204);
    running.abort();
}

#[tokio::test]
async fn folders_without_anything_in_them_are_held_to_the_memory_that_is_granted() {
    let skep = Skep::start("bombs-deep").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.memory=16m", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "sh").await;
    let body = format!(r#"{{"Image":"{DEBIAN}","Cmd":["true"],"HostConfig":{{"Memory":8388608}}}}"#);
    let (status, said) = call(&socket, "POST", "/containers/create?name=box", &body).await;
    assert_eq!(status, 201, "{said}");
    let deep = |number| with_long_name(&format!("{number}/{}", "a/".repeat(1900)), '5');
    let archive = (0..60).map(deep).collect::<String>() + &"\0".repeat(1024);
    let (status, said) = call(&socket, "PUT", "/containers/box/archive?path=/srv", &archive).await;
    assert!(
        status == 429 && said.contains("skep.spawn.memory"),
        "{status} {said}"
    );
    let made = run(
        &skep,
        "sh",
        "docker cp box:/srv - | tar -t | wc -l; docker rm box",
    )
    .await;
    let made: usize = made.lines().next().unwrap().parse().expect(&made);
    assert!(made < 30_000, "{made} folders");
    running.abort();
}

#[tokio::test]
async fn a_node_that_an_archive_brings_opens_no_device() {
    let skep = Skep::start("bombs-nodes").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let script = format!(
        "cd /tmp; mkdir n; mknod n/null c 1 3; mknod n/memory c 1 1; mknod n/kernel c 1 11
         for major in 7 8 253 254 259; do mknod n/disk$major b $major 0; done
         for child in running made; do
           docker create --name $child {DEBIAN} sh -c 'sleep 300' >/dev/null
           [ $child = made ] || docker start $child >/dev/null
           docker cp n $child:/srv; docker start $child >/dev/null
           docker exec $child sh -c 'for node in /srv/n/*; do head -c 1 $node >/dev/null 2>&1 && echo opened $node; done'
           docker exec -u 33 $child sh -c 'head -c 1 /srv/n/disk8 2>&1 | grep -c .'
         done; docker rm -f running made"
    );
    let said = run(&skep, "sh", &script).await;
    let opened: Vec<&str> = said.lines().filter(|line| line.starts_with("opened")).collect();
    assert_eq!(opened, ["opened /srv/n/null"; 2], "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn paths_that_change_while_an_archive_is_made_lead_nowhere_but_into_the_child() {
    let skep = Skep::start("bombs-swap").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let canary = format!("canary-{}", skep.docker.namespace());
    let script = format!(
        "cat >/tmp/swap <<'PERL'
         my @to = qw(/ /proc/1/root /proc/self/cwd ../../../../../.. /dev k/n k/p /w/k);
         chdir q(/w); for (my $n = 0;; $n++) {{
           rename q(a/d), q(a/e); symlink $to[$n % @to], q(a/d); rename q(a/d), q(a/f); unlink q(a/f);
           for my $kind (qw(k/p k/n)) {{ rename $kind, q(a/d); rename q(a/d), $kind }}
           rename q(a/e), q(a/d)
         }}
PERL
         docker create --name box {DEBIAN} sh -c 'mkdir -p /w/a/d /w/k; cd /w; mknod k/n b 8 0; mkfifo k/p; exec perl /swap'
         docker cp /tmp/swap box:/swap 2>/dev/null; docker start box
         mkdir -p /tmp/t/sub; cd /tmp/t; echo mine >{canary}; echo mine >sub/{canary}
         end=$((SECONDS + 5))
         while [ $SECONDS -lt $end ]; do for to in /w/a/d /w/a/d/tmp /w/a /w; do
           timeout 20 docker cp . box:$to >/dev/null 2>&1; [ $? = 124 ] && echo HUNG put $to
           timeout 20 docker cp box:$to - >/dev/null 2>&1; [ $? = 124 ] && echo HUNG get $to
         done; done
         docker exec box ls /w/{canary}; docker rm -f box"
    );
    let said = run(&skep, "sh", &script).await;
    assert!(
        said.ends_with(&format!("/w/{canary}\nbox\n")) && !said.contains("HUNG"),
        "{said}"
    );
    for place in ["/", "/tmp", "/etc", "/dev", "/root"] {
        let place = std::path::Path::new(place).join(&canary);
        assert!(!place.exists(), "{} is on the host", place.display());
    }
    skep.finish().await;
}
