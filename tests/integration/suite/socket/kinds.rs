//! Children of both kinds, Docker's and lean's: what a client sees of one is what it sees of the other.

use skep_tests::{DEBIAN, Skep, eventually};

use super::{run, shell};

pub(super) async fn both(name: &str, labels: &[&str]) -> Skep {
    both_in(Skep::start(name).await, labels).await
}

/// The same function twice: `fast` has lean children, `slow` Docker's.
pub(super) async fn both_in(skep: Skep, labels: &[&str]) -> Skep {
    let granted = [&["spawn=debian:bookworm-slim"], labels].concat();
    let lean = [&granted[..], &["engine=lean"]].concat();
    shell(&skep, "fast", &lean, &["--network", "none"]).await;
    let docker = [&granted[..], &["engine=docker"]].concat();
    shell(&skep, "slow", &docker, &["--network", "none"]).await;
    skep
}

/// How many children lean has.
pub(super) fn lean_children(skep: &Skep) -> usize {
    std::fs::read_dir(skep.data().join("children")).map_or(0, Iterator::count)
}

/// Waits until nothing is kept of any: that goes a moment after the answer.
async fn no_lean_children(skep: &Skep) {
    eventually("the children to be forgotten", async || {
        (lean_children(skep) == 0).then_some(())
    })
    .await;
}

/// Text without what differs from child to child: ids, times, process ids.
fn alike(text: &str) -> String {
    let is_id =
        |word: &str| matches!(word.len(), 12 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = |word: &str| word.len() > 19 && word.starts_with("20") && word.as_bytes()[10] == b'T';
    let line = |line: &str| {
        let words =
            line.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric() && !"-:.".contains(letter));
        let word = |word: &str| {
            let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            let end = &word[bare.len()..];
            if is_id(bare) {
                format!("ID{end}")
            } else if is_time(bare) {
                format!("TIME{end}")
            } else {
                word.to_owned()
            }
        };
        words.map(word).collect::<String>()
    };
    // Where there is no network, lean has no sandbox that could be named.
    let own = ["\"Pid\"", "\"SandboxID\"", "\"NetworkID\""];
    let is_shown = |line: &&str| !own.iter().any(|field| line.contains(field));
    text.lines()
        .filter(is_shown)
        .map(|text| line(text) + "\n")
        .collect()
}

/// Runs a script with both kinds of children, and holds what it says against each other.
pub(super) async fn compare(skep: &Skep, script: &str) -> String {
    let fast = run(skep, "fast", script).await;
    let slow = run(skep, "slow", script).await;
    let (fast, slow) = (alike(&fast), alike(&slow));
    assert_eq!(fast, slow, "lean on the left, Docker on the right");
    fast
}

#[tokio::test]
async fn a_lean_child_shows_of_itself_what_dockers_would() {
    let skep = both("kinds-show", &[]).await;
    let script = format!(
        "docker run --name one -e A=b -l x=y -w /tmp {DEBIAN} sh -c 'echo out; sleep 0.2; echo err >&2; exit 5'
         echo code $?
         docker inspect one; docker wait one; docker logs --tail 1 one; docker logs -t one 2>&1 | wc -l
         docker logs --since 2020-01-01T00:00:00Z --until 2021-01-01T00:00:00Z one
         docker ps -a --format '{{{{.Image}}}} {{{{.Command}}}} {{{{.Names}}}} {{{{.Ports}}}} {{{{.Labels}}}} {{{{.Networks}}}} {{{{.State}}}}'
         for filter in exited=5 exited=4 label=x=y label=z name=one status=exited status=running ancestor={DEBIAN}; do
           echo $filter $(docker ps -a --filter $filter -q | wc -l)
         done
         docker kill one; docker pause one; docker exec one true; docker rename one one; docker rename one two
         docker create --name two {DEBIAN} true; docker rm two"
    );
    let said = compare(&skep, &script).await;
    assert!(said.contains("code 5") && said.contains("out"), "{said}");
    no_lean_children(&skep).await;
}

#[tokio::test]
async fn a_lean_child_ends_as_dockers_would() {
    let skep = both("kinds-end", &[]).await;
    let script = format!(
        "docker run --rm {DEBIAN} sh -c 'exit 3'; echo $?
         docker run --rm {DEBIAN} no-such-program 2>/dev/null; echo $?
         docker run --rm {DEBIAN} /etc/passwd 2>/dev/null; echo $?
         docker run --rm {DEBIAN} sh -c 'kill -SEGV $$'; echo $?
         docker run --name big -m 16m {DEBIAN} sh -c 'x=$(head -c 50000000 /dev/zero | tr \"\\0\" x)' 2>/dev/null; echo $?
         docker inspect big --format '{{{{.State.OOMKilled}}}} {{{{.State.ExitCode}}}}'
         docker run -d --name stays {DEBIAN} sleep 300 >/dev/null
         docker rm stays; docker stop -t 0 stays; docker inspect stays --format '{{{{.State.ExitCode}}}}'
         docker start stays; docker kill -s TERM stays; docker restart -t 0 stays; docker kill stays; docker wait stays
         echo in | docker run -i --rm {DEBIAN} cat; docker run -t --rm {DEBIAN} tty
         docker create -i --name says {DEBIAN} cat >/dev/null; for word in one two; do echo $word | docker start -ai says; done
         docker rm says
         docker rm -f stays big"
    );
    let said = compare(&skep, &script).await;
    assert!(said.starts_with("3\n127\n126\n"), "{said}");
}

#[tokio::test]
async fn dockers_first_process_stands_before_a_lean_childs_command_as_before_dockers() {
    let skep = both("kinds-init", &[]).await;
    let script = format!(
        "docker run --rm --init {DEBIAN} cat /proc/1/comm; docker run --rm {DEBIAN} cat /proc/1/comm
         docker run --rm --init {DEBIAN} sh -c 'tr \"\\0\" \" \" </proc/1/cmdline; exit 3'; echo $?
         docker run --rm --init --entrypoint /bin/echo {DEBIAN} said; docker run --rm --init {DEBIAN} no-such 2>&1 | grep -c tini
         docker create --init --name early {DEBIAN} cat /proc/1/comm >/dev/null; docker cp /etc/hostname early:/tmp/
         docker start -a early; docker rm early
         docker run -d --init --name stays {DEBIAN} sleep 300 >/dev/null; docker exec stays cat /proc/1/comm
         begin=$(date +%s); docker stop -t 60 stays; echo slow $(( ($(date +%s) - begin) / 30 ))
         docker inspect stays --format '{{{{.State.ExitCode}}}} {{{{.HostConfig.Init}}}}'; docker rm stays"
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.starts_with("docker-init\ncat\n/sbin/docker-init -- sh -c"),
        "{said}"
    );
    assert!(said.contains("\nslow 0\n143 true\n"), "{said}");
    no_lean_children(&skep).await;
}

#[tokio::test]
async fn processes_and_files_go_into_a_lean_child_as_into_dockers() {
    let skep = both("kinds-into", &[]).await;
    let script = format!(
        "docker create --name box -v /data {DEBIAN} sleep 300 >/dev/null
         echo early >/tmp/file; docker cp /tmp/file box:/root/file
         docker start box; docker exec box cat /root/file
         docker exec -u 33:33 -w /var -e Q=1 box sh -c 'id; pwd; echo $Q; exit 9'; echo $?
         docker exec box no-such-program; echo $?
         for id in 4294967295 2147483648 1:4294967295; do
           docker exec -u $id box true >/dev/null 2>&1 && echo let in $id
           docker run --rm -u $id {DEBIAN} true >/dev/null 2>&1 && echo let in $id
         done
         echo piped | docker exec -i box cat; docker exec -t box tty
         docker exec box sh -c 'echo kept >/root/kept; echo volume >/data/kept'
         docker pause box; docker ps --format '{{{{.State}}}}'; docker unpause box
         docker cp box:/root/kept - | tar -tf -; docker cp box:/no/such - 2>&1
         docker stop -t 0 box; docker cp box:/root/kept - | tar -xOf -
         docker start box; docker exec box cat /root/kept /data/kept
         docker rm -f box"
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.contains("early\n") && said.contains("kept\nvolume\n") && !said.contains("let in"),
        "{said}"
    );
}

#[tokio::test]
async fn events_of_lean_children_come_in_dockers_order() {
    let skep = both("kinds-events", &[]).await;
    let script = format!(
        "begin=$(date +%s)
         docker run --name one {DEBIAN} true; docker start one >/dev/null; docker wait one >/dev/null
         docker rename one two; docker rm two >/dev/null; docker run --rm {DEBIAN} false
         sleep 1.1
         docker events --since $begin --until $(date +%s) --format '{{{{.Action}}}}'
         docker events --since $begin --until $(date +%s) --filter event=die --format '{{{{.Action}}}}'"
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.starts_with("create\nattach\nstart\ndie\nstart\ndie\nrename\ndestroy\n"),
        "{said}"
    );
}

#[tokio::test]
async fn lean_children_are_known_after_a_crash_and_their_end_is_told() {
    let mut skep = Skep::start("kinds-crash").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.max=3", "engine=lean"];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name runs {DEBIAN} sh -c 'echo before; exec sleep 300'
         docker create --name made {DEBIAN} echo made; docker run --name ended {DEBIAN} sh -c 'echo end; exit 4'
         docker run -d --rm --name leaves {DEBIAN} sleep 300"
    );
    run(&skep, "fast", &script).await;
    assert_eq!(lean_children(&skep), 4, "all of them are lean's");
    skep.kill();
    skep.restart().await;
    eventually("the function", async || {
        let answer = skep.control.get("/v1/functions/fast").await;
        (answer.status == http::StatusCode::OK).then_some(())
    })
    .await;
    let script = "docker ps -a --format '{{.Names}} {{.State}}' | sort
         docker inspect runs --format '{{.State.ExitCode}} {{.State.Error}}'
         docker logs runs; docker logs ended; docker wait ended
         docker events --since 0 --until $(( $(date +%s) + 1 )) --filter container=runs --format '{{.Action}} {{.Actor.Attributes.exitCode}}'
         docker start -a made; docker start runs; docker ps -q | wc -l; docker rm -f runs made ended";
    let said = run(&skep, "fast", script).await;
    assert!(
        said.starts_with("ended exited\nmade created\nruns exited\n137 Skep ended"),
        "{said}"
    );
    assert!(
        said.contains("\nbefore\nend\n4\ndie 137\nmade\nruns\n1\n"),
        "{said}"
    );
    no_lean_children(&skep).await;
}

#[tokio::test]
async fn both_kinds_of_children_are_held_to_one_budget_and_one_set_of_names() {
    let skep = Skep::start("kinds-budget").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.max=2", "spawn.memory=64m"];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name lean -m 16m {DEBIAN} sleep 300 >/dev/null
         docker create --name lean --restart always {DEBIAN} sleep 300 2>&1 | grep -c 'already in use'
         docker run -d --name docker --restart always -m 32m {DEBIAN} sleep 300 >/dev/null
         docker run {DEBIAN} true 2>&1 | grep -o 'skep.spawn.max grants 2'
         docker rm -f lean
         docker run -m 48m {DEBIAN} true 2>&1 | grep -o 'skep.spawn.memory grants'
         docker run --rm -m 16m {DEBIAN} echo fits
         docker ps -a --format '{{{{.Names}}}}'; docker rm -f docker"
    );
    let said = run(&skep, "fast", &script).await;
    let wanted = "1\nskep.spawn.max grants 2\nlean\nskep.spawn.memory grants\nfits\ndocker\ndocker\n";
    assert!(said.contains(wanted), "{said}");
}

#[tokio::test]
async fn what_a_lean_child_changed_is_told_as_dockers_would_be() {
    let skep = both("kinds-diff", &[]).await;
    let change = "echo x >/root/new; rm /etc/issue; chmod 700 /srv; mkdir -p /opt/a/b; echo y >/opt/a/b/c; \
                  echo z >>/etc/debian_version; rm -r /var/opt; ln -s /tmp /link; echo t >/tmp/t; rm /tmp/t";
    let script = format!(
        "docker run --name one {DEBIAN} sh -c '{change}'; docker diff one | sort
         docker create --name two {DEBIAN} true >/dev/null; docker diff two; echo q >/tmp/q; docker cp /tmp/q two:/root/q
         docker diff two | sort; docker run --name three {DEBIAN} head -c 1m /dev/zero -c 1m >/dev/null
         docker run --name four {DEBIAN} sh -c 'head -c 1m /dev/zero >/file'
         docker rm one two three >/dev/null; docker container prune -f | grep -c 'space: 0B'"
    );
    let said = compare(&skep, &script).await;
    for line in [
        "A /root/new",
        "D /etc/issue",
        "C /srv",
        "A /opt/a/b/c",
        "D /var/opt",
        "A /link",
        "A /root/q",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.ends_with("\n0\n"), "{said}");
}

#[tokio::test]
async fn a_lean_child_has_its_own_socket_also_after_a_crash() {
    let mut skep = Skep::start("kinds-socket").await;
    let volume = super::docker_volume(&skep);
    let volumes = format!("spawn.volumes={volume}");
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.depth=2",
        "engine=lean",
        &volumes,
    ];
    shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let own = format!("-v /var/run/docker.sock:/var/run/docker.sock -v {volume}:/cli");
    let ask = "echo $DOCKER_HOST; /cli/docker run --rm debian:bookworm-slim echo below; /cli/docker ps -a --format {{.Names}}";
    let script = format!(
        "docker create --name sibling {DEBIAN} true >/dev/null
         docker run --name one {own} {DEBIAN} sh -c '{ask}'
         docker run --rm {own} --read-only --tmpfs /run -u 1234 {DEBIAN} sh -c '{ask}'
         docker inspect -f '{{{{.HostConfig.Binds}}}}' one | grep -o '/var/run/docker.sock:/var/run/docker.sock'"
    );
    let said = run(&skep, "fast", &script).await;
    let once = "unix:///var/run/docker.sock\nbelow\n";
    assert_eq!(
        said,
        format!("{once}{once}/var/run/docker.sock:/var/run/docker.sock\n")
    );
    assert_eq!(lean_children(&skep), 2, "they are lean's");
    skep.kill();
    skep.restart().await;
    eventually("the function", async || {
        let answer = skep.control.get("/v1/functions/fast").await;
        (answer.status == http::StatusCode::OK).then_some(())
    })
    .await;
    let said = run(&skep, "fast", "docker start -a one; docker rm -f one sibling").await;
    assert_eq!(said, format!("{once}one\nsibling\n"));
    super::no_sockets(&skep).await;
    skep.finish().await;
}

#[tokio::test]
async fn a_lean_child_is_on_the_network_that_it_names_and_its_sandbox_is_listed() {
    let skep = Skep::start("kinds-network").await;
    let network = skep.docker.network("own", &[]);
    let granted = format!("spawn.networks={network}");
    let labels = ["spawn=debian:bookworm-slim", "engine=lean", &granted];
    let fast = shell(&skep, "fast", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name one --network {network} {DEBIAN} sleep 300 >/dev/null
         docker inspect -f '{{{{range $name, $_ := .NetworkSettings.Networks}}}}{{{{$name}}}} {{{{.IPAddress}}}}{{{{end}}}}' one
         docker exec one sed -n 's/^\\(172[0-9.]*\\|192[0-9.]*\\|10[0-9.]*\\).*/\\1/p' /etc/hosts"
    );
    let said = run(&skep, "fast", &script).await;
    let (shown, inside) = said.trim_end().split_once('\n').expect("two lines");
    assert_eq!(shown, format!("{network} {inside}"));
    assert_eq!(lean_children(&skep), 1, "it is lean's");
    let listed = skep.control.get("/v1/sandboxes").await.json();
    let listed = listed["sandboxes"].as_array().unwrap().len();
    run(&skep, "fast", "docker rm -f one").await;
    assert!(listed >= 2, "the function's own and the child's: {listed}");
    skep.docker.remove(&fast);
    // A sandbox that waits for the function's next child would hold the network.
    eventually("the network to be nobody's", async || {
        skep.docker.try_run(&["network", "rm", &network]).ok()
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn the_keys_that_leave_a_terminal_leave_the_child_running() {
    let skep = both("kinds-keys", &[]).await;
    for name in ["fast", "slow"] {
        let (socket, running) = super::open(&skep, name).await;
        let docker = async |words: &[&str]| super::docker(&socket, words).await.unwrap();
        docker(&["run", "-d", "-i", "-t", "--name", "one", DEBIAN, "cat"]).await;
        let path = "/containers/one/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,x";
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbefore\u{1}x"
        );
        let began = std::time::Instant::now();
        super::raw(&socket, request.as_bytes()).await;
        let said = docker(&["inspect", "-f", "{{.State.Running}}", "one"]).await;
        assert_eq!(said, "true", "{name}");
        let events = [
            "events",
            "--since",
            "5m",
            "--until",
            "0s",
            "--filter",
            "event=detach",
            "--format",
            "{{.Action}}",
        ];
        let told = eventually("the event", async || {
            let told = docker(&events).await;
            (!told.is_empty()).then_some(told)
        });
        assert_eq!(told.await, "detach", "{name} {:?}", began.elapsed());
        docker(&["rm", "-f", "one"]).await;
        running.abort();
    }
}
