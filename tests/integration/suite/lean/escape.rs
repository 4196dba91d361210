//! Ways out of a lean instance, each tried.

use http::StatusCode;
use skep_tests::{DEBIAN, Docker, Skep, probe_image};

const LEAN: [&str; 2] = ["handler=exec", "engine=lean"];

/// An image from a Dockerfile, removed with the value.
struct Image {
    name: String,
}

impl Image {
    fn build(skep: &Skep, what: &str, lines: &str) -> Self {
        let context = tempfile::tempdir().expect("a directory");
        let file = context.path().join("Dockerfile");
        std::fs::write(file, format!("FROM {DEBIAN}\n{lines}")).expect("a file");
        let name = format!("skep-test/{what}-{}", skep.docker.namespace());
        let folder = context.path().display().to_string();
        skep.docker.run(&["build", "-q", "-t", &name, &folder]);
        Self { name }
    }

    /// An image of these files alone: what Docker's builder would not make.
    fn import(skep: &Skep, what: &str, root: &std::path::Path) -> Self {
        let archive = root.with_extension("tar");
        let tar = std::process::Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(tar.expect("tar runs").success());
        let name = format!("skep-test/{what}-{}", skep.docker.namespace());
        skep.docker
            .run(&["import", &archive.display().to_string(), &name]);
        Self { name }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(Docker::new("escape").try_run(&["image", "rm", "-f", &self.name]));
    }
}

/// Runs a script in an instance with these flags.
async fn run(skep: &Skep, flags: &[&str], image: &str, script: &str) -> (StatusCode, String) {
    let template = skep
        .deploy("escape", &LEAN, flags, &[image, "/bin/sh", "-c", script])
        .await;
    let answer = skep.public.get("/escape").await;
    skep.docker.remove(&template);
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn links_in_the_place_of_the_kernels_folders_lead_nowhere() {
    let skep = Skep::start("escape-links").await;
    let host = tempfile::tempdir().expect("a directory");
    let target = host.path().display();
    // Docker itself puts folders over links at these places when it builds, so that they are made below it.
    let deep = Image::build(
        &skep,
        "deep",
        &format!("RUN mkdir -p {target} && ln -s {target} /out && ln -s ../../../../..{target} /up\n"),
    );
    let flags = [
        "--network",
        "none",
        "--tmpfs",
        "/out/memory",
        "--device",
        "/dev/null:/up/device",
    ];
    let script = "touch /out/memory/b; ls /out";
    let (status, text) = run(&skep, &flags, &deep.name, script).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "device\nmemory\n"));
    let written: Vec<_> = std::fs::read_dir(host.path()).expect("it stands").collect();
    assert!(written.is_empty(), "the host's folder was written: {written:?}");
    skep.finish().await;
}

#[tokio::test]
async fn an_image_whose_own_folders_for_the_kernel_are_links_reaches_nothing_of_the_host() {
    let skep = Skep::start("escape-kernel").await;
    let host = tempfile::tempdir().expect("a directory");
    let target = host.path().display().to_string();
    let parked = skep.docker.create(&[&probe_image()]);
    let probe = format!("{parked}:/probe");
    // Each of them leads to a folder that the image has, and that the host has at the same place.
    for (name, link) in [
        ("dev", target.clone()),
        ("dev-up", format!("../../../..{target}")),
        ("proc", target.clone()),
        ("sys", target.clone()),
        ("etc", target.clone()),
    ] {
        let files = tempfile::tempdir().expect("a directory");
        let root = files.path().join("root");
        std::fs::create_dir_all(root.join(&target[1..])).expect("a directory");
        skep.docker.run(&["cp", &probe, &root.display().to_string()]);
        let place = name.trim_end_matches("-up");
        std::os::unix::fs::symlink(&link, root.join(place)).expect("a link");
        let image = Image::import(&skep, name, &root);
        let flags = ["--network", "none"];
        let template = skep
            .deploy(
                "escape",
                &LEAN,
                &flags,
                &[&image.name, "/probe", "write", "/dev/null", "x"],
            )
            .await;
        let answer = skep.public.get("/escape").await;
        let record = skep.record_of(&answer).await;
        let fine = answer.status == StatusCode::OK || answer.problem() == "start-failed";
        assert!(fine, "{name}: {answer:?} {record}");
        let written: Vec<_> = std::fs::read_dir(host.path()).expect("it stands").collect();
        assert!(
            written.is_empty(),
            "{name}: the host's folder was written: {written:?}"
        );
        skep.docker.remove(&template);
    }
    skep.finish().await;
}

#[tokio::test]
async fn a_script_whose_interpreter_is_itself_can_not_write_skeps_program() {
    let skep = Skep::start("escape-exe").await;
    let script = Image::build(
        &skep,
        "exe",
        "RUN printf '#!/proc/self/exe\\n' >/script && chmod +x /script\n",
    );
    // It becomes Skep's own program, in there, which has nothing to do with such a command line.
    skep.deploy(
        "escape",
        &LEAN,
        &["--network", "none"],
        &[&script.name, "/script"],
    )
    .await;
    let answer = skep.public.get("/escape").await;
    assert_eq!(answer.problem(), "exit-code", "{answer:?}");
    // What stands there as its program is the spawner's, and is not to be written whoever runs it.
    let children = format!("/proc/{0}/task/{0}/children", skep.pid().as_raw_nonzero());
    let children = std::fs::read_to_string(children).expect("it runs");
    let spawner = children.split_whitespace().next().expect("the spawner");
    let seen = rustix::fs::statvfs(format!("/proc/{spawner}/exe")).expect("it runs");
    assert!(seen.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    skep.finish().await;
}

/// A file system in memory that the host has mounted like this; gone with the value.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn with(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(folder.path())
            .status();
        assert!(mount.expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_bind_can_do_no_more_than_what_it_shows() {
    let skep = Skep::start("escape-bind").await;
    let mounted = Mounted::with("nosuid,nodev,noexec");
    let folder = mounted.0.path().display();
    let binds = [format!("{folder}:/plain"), format!("{folder}:/read:ro")];
    let flags = ["--network", "none", "-v", &binds[0], "-v", &binds[1]];
    let script = "grep -E ' /(plain|read) ' /proc/self/mountinfo | cut -d ' ' -f 5,6 | sort";
    let (_, text) = run(&skep, &flags, DEBIAN, script).await;
    let expected = "/plain rw,nosuid,nodev,noexec,relatime\n/read ro,nosuid,nodev,noexec,relatime\n";
    assert_eq!(text, expected);
    skep.finish().await;
}

#[tokio::test]
async fn nothing_of_the_host_is_seen_or_touched() {
    let skep = Skep::start("escape-host").await;
    let host = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(host.path().join("shown")).expect("a directory");
    std::fs::write(host.path().join("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink("../secret", host.path().join("shown/link")).expect("a link");
    let bind = format!("{}:/bound", host.path().join("shown").display());
    let script = r#"exec 2>/dev/null
cat /bound/../secret /bound/link && echo "out of a bind"
for process in /proc/[0-9]*; do case "$(readlink $process/exe)" in *skep*) echo "Skep's own program";; esac; done
test "$(ls -d /proc/[0-9]* | wc -l)" -lt 8 || echo "processes of others"
grep -q '@' /proc/net/unix && echo "abstract sockets of others"
for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
  test -e $folder/cgroup.procs || continue
  mkdir $folder/own && echo "made $folder/own"
  echo $$ > $folder/cgroup.procs && echo "entered $folder"
  echo /bin/sh > $folder/release_agent && echo "an agent in $folder"
done
echo '|/bin/sh' > /proc/sys/kernel/core_pattern && echo "the kernel's core_pattern"
echo b > /proc/sysrq-trigger && echo "the kernel's sysrq"
head -c 1 /proc/kcore | grep -q . && echo "the kernel's memory"
test -s /proc/keys && echo "keys of others"
for number in 0 1 16; do mknod /tmp/disk$number b 254 $number && head -c 1 /tmp/disk$number && echo "a disk"; done
mknod /tmp/memory c 1 1 && head -c 1 /tmp/memory && echo "the machine's memory"
mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg && echo "the kernel's log"
umount /proc/kcore && echo "took a cover away"; mount -o remount,rw /sys && echo "made /sys writable"
mount --bind / /mnt && echo "mounted"; unshare -Ur true && echo "a user namespace"
nsenter --net=/proc/1/ns/net true && echo "entered a namespace"
for descriptor in /proc/self/fd/*; do case "${descriptor##*/}" in 0|1|2) ;; *)
  case "$(readlink $descriptor)" in ''|/proc/*) ;; *) echo "left open: $(readlink $descriptor)";; esac;; esac; done
echo tried everything"#;
    let flags = ["--network", "none", "-v", &bind];
    let (status, text) = run(&skep, &flags, DEBIAN, script).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "tried everything\n"));
    skep.finish().await;
}

#[tokio::test]
async fn neighbours_on_a_network_are_not_overheard_and_other_networks_not_reached() {
    let skep = Skep::start("escape-network").await;
    let (one, two) = (
        skep.docker.network("one", &["--internal"]),
        skep.docker.network("two", &["--internal"]),
    );
    let capabilities = "grep CapBnd /proc/self/status";
    let raw = |text: &str| {
        let set = text
            .split_whitespace()
            .nth(1)
            .and_then(|set| u64::from_str_radix(set, 16).ok());
        set.expect("a set of capabilities") & (1 << 13) != 0
    };
    let (_, shared) = run(&skep, &["--network", &one], DEBIAN, capabilities).await;
    assert!(!raw(&shared), "others share the loopback device: {shared}");
    let asked = ["--network", &one, "--cap-add", "NET_RAW"];
    let (_, private) = run(&skep, &asked, DEBIAN, capabilities).await;
    assert!(raw(&private), "one that asked for it is alone: {private}");
    // A server on one network, and a function on another that tries to reach it.
    let server = skep
        .deploy(
            "server",
            &["engine=lean", "recycle=idle"],
            &["--network", &one],
            &[&probe_image(), "http"],
        )
        .await;
    let environment = skep.public.get("/server/env").await;
    let port = environment
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("PORT="));
    let port = port.expect("it has a port").to_owned();
    let list = skep.control.get("/v1/sandboxes").await.json();
    let sandboxes = list["sandboxes"].as_array().expect("a list").iter();
    let sandbox = sandboxes
        .filter(|sandbox| sandbox["function"] == "server")
        .find_map(|sandbox| sandbox["id"].as_str())
        .expect("its sandbox");
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = skep.docker.run(&["inspect", "-f", format, sandbox]);
    let reach = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}' && echo reached; true");
    let (_, stranger) = run(&skep, &["--network", &two], DEBIAN, &reach).await;
    assert_eq!(stranger, "", "a server of another network was reached");
    let (_, neighbour) = run(&skep, &["--network", &one], DEBIAN, &reach).await;
    assert_eq!(neighbour, "reached\n", "on its own network it is");
    skep.docker.remove(&server);
    skep.finish().await;
}

#[tokio::test]
async fn one_that_changed_its_network_leaves_no_trace_of_that_to_the_next() {
    let skep = Skep::start("escape-once").await;
    let network = skep.docker.network("one", &[]);
    // Where there is AppArmor, Docker's profile keeps it from mounting.
    let unconfined = ["--security-opt", "apparmor=unconfined"];
    let flags = [
        &["--network", &network, "--cap-add", "SYS_ADMIN"][..],
        &unconfined,
    ]
    .concat();
    let script = "mount -t proc proc /mnt && cat /mnt/sys/net/ipv4/tcp_keepalive_time && \
                  echo 77 > /mnt/sys/net/ipv4/tcp_keepalive_time";
    let labels = [LEAN[0], LEAN[1]];
    skep.deploy("change", &labels, &flags, &[DEBIAN, "sh", "-c", script])
        .await;
    let first = skep.public.get("/change").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    for _ in 0..2 {
        assert_eq!(skep.public.get("/change").await.text(), first.text());
    }
    skep.finish().await;
}
