//! What a process sees of itself under the lean engine, beside what it sees under Docker, option by option.

use http::StatusCode;
use skep_tests::{DEBIAN, Docker, Skep, eventually, probe_image};

/// A shell that says everything that a process can see of itself; what differs between any two containers (ids,
/// times, addresses, the names of cgroups) is left out.
const PROBE: &str = r#"exec 2>&1
id; grep -E 'Cap|Seccomp:|NoNewPrivs|Groups|Sig(Blk|Ign|Cgt)' /proc/self/status
awk '{print "mount", $5, $6}' /proc/self/mountinfo | sort
find /dev ! -path '/dev/pts/*' -printf '%p %y %m %u:%g %l\n' | sort
cat /proc/self/limits; umask; pwd; cat /proc/self/oom_score_adj /etc/resolv.conf
env | grep -vE '^(HOSTNAME|SKEP_INVOCATION|SKEP_URL|TRACEPARENT)=' | sort
test "$(hostname)" = "$HOSTNAME" && test "$(cat /etc/hostname)" = "$HOSTNAME" && echo named
sed "s/$HOSTNAME/ME/g; s/^[0-9.]*\tME/ADDRESS\tME/" /etc/hosts
tr '\0' ' ' < /proc/1/cmdline | head -c 40; echo; hostname -f | sed "s/^$HOSTNAME$/ME/"; domainname
ls -la --time-style=+ / | awk '{print $1, $3, $4, $6, $7, $8}' | grep -v ' \.\?\.$'
test ! -d /proc/100 && echo alone; ls /proc/self/fd | wc -l; ls /sys/fs/cgroup
mknod /tmp/disk b 8 0 && head -c1 /tmp/disk
mknod /tmp/null c 1 3 && echo x > /tmp/null && echo null opens
mknod /tmp/fuse c 10 229 && head -c1 /tmp/fuse
for call in 'unshare -m true' 'unshare -U true' 'mount -t tmpfs x /mnt' 'chroot / true' 'dmesg' 'swapoff -a' \
  'nice -n -1 true' 'hostname x' 'setpriv --nnp true' 'ln /etc/passwd /etc/other'; do
  $call >/dev/null 2>&1; echo "$call: $?"
done
echo 1 > /proc/sys/kernel/panic; for file in /proc/keys /proc/timer_list /proc/kcore; do head -c 1 $file | wc -c; done
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range
cat /proc/sys/kernel/msgmax /proc/sys/kernel/sem /proc/sys/net/core/somaxconn
tail -n +3 /proc/net/dev | cut -d: -f1 | sort; wc -l < /proc/net/route
for folder in /data /var/lib/dpkg /named /host /scratch; do
  ls -ld --time-style=+ $folder | awk '{print $1, $3, $4, $6}'; ls $folder | head -3
  touch $folder/new && echo "$folder is writable"; rm -f $folder/new
done
for file in memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus \
  memory.max pids.max cpu.weight cpu.max cpuset.cpus; do
  test -e /sys/fs/cgroup/$file && echo "$file $(cat /sys/fs/cgroup/$file)"
done
true
"#;

pub(super) const NO_NETWORK: &[&str] = &["--network", "none"];

/// What the same template answers under each engine.
pub(super) async fn both(skep: &Skep, flags: &[&str], command: &[&str]) -> [String; 2] {
    let mut answers = [String::new(), String::new()];
    for (engine, answer) in ["docker", "lean"].iter().zip(&mut answers) {
        let engine_label = format!("engine={engine}");
        let template = skep
            .deploy("probe", &["handler=exec", &engine_label], flags, command)
            .await;
        let got = skep.public.get("/probe").await;
        if got.status != StatusCode::OK {
            let record = skep.record_of(&got).await;
            panic!("{engine} {flags:?}: {got:?}\n{record}\n{}", skep.said());
        }
        *answer = String::from_utf8_lossy(&got.body).into_owned();
        skep.docker.remove(&template);
    }
    answers
}

/// No signal is ignored.
const NOTHING_IGNORED: &str = "SigIgn:\t0000000000000000";

/// The lines that one has and the other has not. Docker hands on which signals its daemon was started ignoring, which
/// is not the template's doing; lean ignores none, whoever started it.
pub(super) fn differences([docker, lean]: &[String; 2]) -> String {
    let alone = |one: &str, other: &str| {
        let other: Vec<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("  {line}\n")).collect::<String>()
    };
    let docker = docker.lines().map(|line| {
        if line.starts_with("SigIgn:") {
            NOTHING_IGNORED
        } else {
            line
        }
    });
    let docker: &str = &docker.collect::<Vec<_>>().join("\n");
    let (docker, lean) = (alone(docker, lean), alone(lean, docker));
    if docker.is_empty() && lean.is_empty() {
        return String::new();
    }
    format!("docker alone:\n{docker}lean alone:\n{lean}")
}

/// Fails where the two engines show a process something different, with all of it.
async fn compare(skep: &Skep, options: &[Vec<&str>], image: &str) {
    let mut found = String::new();
    for flags in options {
        let answers = both(skep, flags, &[image, "sh", "-c", PROBE]).await;
        let differences = differences(&answers);
        if !differences.is_empty() {
            found.push_str(&format!("{flags:?}\n{differences}"));
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

fn without_network(options: &[&str]) -> Vec<Vec<&'static str>> {
    let words = |line: &&str| -> Vec<&'static str> {
        let line: &'static str = String::leak((*line).to_owned());
        [NO_NETWORK, &line.split_whitespace().collect::<Vec<_>>()].concat()
    };
    options.iter().map(words).collect()
}

#[tokio::test]
async fn an_instance_sees_what_docker_would_show_it() {
    let skep = Skep::start("lean-parity").await;
    let options = without_network(&[
        "",
        "-u daemon:games -w /made/up --cap-drop ALL --cap-add CHOWN",
        "--security-opt no-new-privileges --read-only --tmpfs /scratch:size=1m --ulimit nofile=100:200 --memory 64m \
         --pids-limit 50 --oom-score-adj 5 -w /made/up",
        "-e A=1 -e HOME=/x --hostname chosen --domainname example.org --shm-size 8m --group-add audio \
         --stop-signal SIGRTMIN+3",
        "--security-opt seccomp=unconfined --cpus 0.5 --cpuset-cpus 0 --cpu-shares 512 --ipc none --init",
    ]);
    compare(&skep, &options, DEBIAN).await;
    skep.finish().await;
}

#[tokio::test]
async fn volumes_binds_and_devices_are_what_docker_would_give() {
    let skep = Skep::start("lean-volumes").await;
    let host = tempfile::tempdir().expect("a directory");
    std::fs::write(host.path().join("file"), "x").expect("a file");
    let volume = format!("{}-named", skep.docker.namespace());
    let namespace = format!("skep.namespace={}", skep.docker.namespace());
    skep.docker
        .run(&["volume", "create", "--label", &namespace, &volume]);
    let host = host.path().display();
    let binds = format!("-v {host}:/host:ro -v {host}/made/by/docker:/scratch -v {volume}:/named -v /data");
    let options = without_network(&[
        // One that the image has nothing at, one that it has files at.
        "-v /data -v /var/lib/dpkg --read-only",
        &binds,
        "--mount type=tmpfs,target=/scratch,tmpfs-size=65536,tmpfs-mode=1770 --mount type=volume,target=/data -u daemon",
        "--device /dev/zero:/dev/nothing:r --device /dev/full --device-cgroup-rule c_10:229_rwm",
    ]);
    let options: Vec<Vec<&str>> = options.into_iter().map(spaced).collect();
    compare(&skep, &options, DEBIAN).await;
    skep.finish().await;
}

/// Words in which a low line stands for a space.
fn spaced(words: Vec<&'static str>) -> Vec<&'static str> {
    let word = |word: &'static str| -> &'static str { String::leak(word.replace('_', " ")) };
    words.into_iter().map(word).collect()
}

#[tokio::test]
async fn rights_and_kernel_settings_are_what_docker_would_give() {
    let skep = Skep::start("lean-rights").await;
    let options = without_network(&[
        "--cap-add SYS_ADMIN",
        "--cap-add SYS_PTRACE --cap-add SYS_NICE --cap-add SYSLOG",
        "--cap-add SYS_TIME --cap-add DAC_READ_SEARCH --cap-drop CHOWN",
        "--cap-drop ALL --cap-add NET_ADMIN --sysctl net.core.somaxconn=1024 --sysctl kernel.msgmax=65536",
        "--security-opt apparmor=unconfined --security-opt systempaths=unconfined",
    ]);
    compare(&skep, &options, DEBIAN).await;
    skep.finish().await;
}

/// Every number that a system call may have, tried with arguments that mean nothing: what answers EPERM or ENOSYS is refused.
#[tokio::test]
async fn the_same_system_calls_are_refused() {
    let skep = Skep::start("lean-calls").await;
    let mut looser = String::new();
    for added in [
        "CHOWN",
        "SYS_ADMIN",
        "SYS_PTRACE",
        "SYS_NICE",
        "SYS_TIME",
        "SYS_CHROOT",
        "DAC_READ_SEARCH",
        "SYSLOG",
    ] {
        let flags = [NO_NETWORK, &["--cap-add", added]].concat();
        let [docker, lean] = both(&skep, &flags, &[&probe_image(), "calls"]).await;
        let allowed = |line: &&str| line.ends_with("goes on");
        let docker: Vec<&str> = docker.lines().filter(allowed).collect();
        let more = lean.lines().filter(allowed).filter(|line| !docker.contains(line));
        looser.extend(more.map(|line| format!("{added}: {line}\n")));
    }
    assert!(looser.is_empty(), "lean allows what Docker does not:\n{looser}");
    skep.finish().await;
}

#[tokio::test]
async fn networks_are_what_docker_would_give() {
    let skep = Skep::start("lean-networks").await;
    let network = skep.docker.network("one", &[]);
    let other = skep.docker.network("two", &[]);
    // The one documented difference is left out: on a shared network lean withholds NET_RAW.
    let quiet = ["--cap-drop", "NET_RAW"];
    let resolving = [
        "--dns",
        "192.0.2.1",
        "--dns-search",
        "example.org",
        "--add-host",
        "db:10.1.2.3",
    ];
    let options = [
        quiet.to_vec(),
        [&quiet[..], &["--network", &network], &resolving].concat(),
        vec![
            "--network",
            &network,
            "--cap-add",
            "NET_ADMIN",
            "--cap-add",
            "NET_RAW",
        ],
        [&quiet[..], &["--sysctl", "net.core.somaxconn=1024"]].concat(),
    ];
    compare(&skep, &options, DEBIAN).await;
    let mut shown = Vec::new();
    for engine in ["engine=docker", "engine=lean"] {
        let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | sort; wc -l < /proc/net/route";
        let (labels, flags) = (["handler=exec", engine], ["--network", &network]);
        let template = skep.park("several", &labels, &flags, &[DEBIAN, "sh", "-c", script]);
        skep.docker.run(&["network", "connect", &other, &template]);
        skep.in_force("several", &template).await;
        let answer = eventually("both networks", async || {
            let answer = skep.public.get("/several").await;
            answer.text().contains("eth1").then(|| answer.text().to_owned())
        });
        shown.push(answer.await);
        skep.docker.remove(&template);
    }
    assert_eq!(shown[0], shown[1]);
    skep.finish().await;
}

#[tokio::test]
async fn an_ordinary_image_runs_on_lean_under_auto() {
    let skep = Skep::start("lean-ordinary").await;
    let context = tempfile::tempdir().expect("a directory");
    let dockerfile = format!(
        "FROM {DEBIAN}\nRUN useradd -m -u 1234 app && mkdir -p /data/kept && echo first > /data/kept/file && \
         chown -R app /data\nENV GREETING=hello\nWORKDIR /srv/none/yet\nVOLUME /data /var/cache\n\
         EXPOSE 80/tcp 443/tcp\nUSER app\nHEALTHCHECK CMD true\nSTOPSIGNAL SIGINT\nLABEL org.example=1\n\
         ONBUILD RUN true\nENTRYPOINT [\"/bin/sh\", \"-c\"]\n\
         CMD [\"cat /data/kept/file; echo more >> /data/kept/file; cat /data/kept/file\"]\n"
    );
    std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("a file");
    let image = format!("skep-test/ordinary-{}", skep.docker.namespace());
    let folder = context.path().display().to_string();
    skep.docker.run(&["build", "-q", "-t", &image, &folder]);
    let flags = [
        "--restart",
        "always",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=1m",
        "-i",
    ];
    let template = skep
        .deploy("ordinary", &["handler=exec"], &flags, &[&image])
        .await;
    for _ in 0..2 {
        let answer = skep.public.get("/ordinary").await;
        assert_eq!(answer.text(), "first\nfirst\nmore\n", "{answer:?}");
    }
    let shown = skep.control.get("/v1/functions/ordinary").await.json();
    assert_eq!(shown["function"]["engine"], "lean", "{shown}");
    skep.docker.remove(&template);
    compare(&skep, &[[NO_NETWORK, &["--entrypoint", ""]].concat()], &image).await;
    skep.finish().await;
    Docker::new("lean-ordinary").run(&["image", "rm", "-f", &image]);
}

#[tokio::test]
async fn what_lean_can_not_give_runs_on_docker_and_says_why() {
    let skep = Skep::start("lean-fallback").await;
    let volume = |options: &'static str| ["--mount", options];
    let with_options = volume("type=volume,dst=/data,volume-opt=type=tmpfs,volume-opt=device=tmpfs");
    let empty = volume("type=volume,dst=/etc/apt,volume-nocopy=true");
    let cases: [(&str, &[&str], &str); 5] = [
        ("network", &["--network", "host"], "host's network"),
        ("ipc", &["--ipc", "host"], "--ipc host"),
        ("uts", &["--uts", "host"], "UTSMode"),
        // Of a volume without a name, which is each instance's own.
        ("options", &with_options, "/data has options"),
        ("empty", &empty, "/etc/apt has options"),
    ];
    for (name, flags, reason) in cases {
        skep.deploy(name, &["handler=exec"], flags, &[DEBIAN, "echo", name])
            .await;
        let answer = skep.public.get(&format!("/{name}")).await;
        assert_eq!(answer.text(), format!("{name}\n"));
        let shown = skep.control.get(&format!("/v1/functions/{name}")).await.json();
        assert_eq!(shown["function"]["engine"], "docker", "{shown}");
        let reasons = shown["function"]["fallback"].to_string();
        assert!(reasons.contains(reason), "{name}: {reasons}");
    }
    skep.finish().await;
}

/// A 32-bit program that says `thirty-two`, as `printf` writes it.
const NARROW: &str = concat!(
    r"\177\105\114\106\001\001\001\000\000\000\000\000\000\000\000\000\002\000\003\000\001\000\000\000",
    r"\124\200\004\010\064\000\000\000\000\000\000\000\000\000\000\000\064\000\040\000\001\000\000\000",
    r"\000\000\000\000\001\000\000\000\000\000\000\000\000\200\004\010\000\200\004\010\176\000\000\000",
    r"\176\000\000\000\005\000\000\000\000\020\000\000\270\004\000\000\000\273\001\000\000\000\271\163",
    r"\200\004\010\272\013\000\000\000\315\200\270\001\000\000\000\061\333\315\200\164\150\151\162\164",
    r"\171\055\164\167\157\012",
);

#[tokio::test]
async fn a_32_bit_program_runs_where_docker_lets_it() {
    let skep = Skep::start("parity-narrow").await;
    let script = format!("printf '{NARROW}' > /tmp/narrow && chmod +x /tmp/narrow && /tmp/narrow; echo $?");
    let [docker, lean] = both(&skep, NO_NETWORK, &[DEBIAN, "sh", "-c", &script]).await;
    assert_eq!(lean, docker);
    skep.finish().await;
}
