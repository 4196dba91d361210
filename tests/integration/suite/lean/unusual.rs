//! Templates and images that are put together oddly: each engine makes the same of them, and refuses the same.

use http::StatusCode;
use skep_tests::{DEBIAN, Skep};

use super::parity::{NO_NETWORK, differences};

/// An image that is removed at the end.
struct Image<'a>(&'a Skep, String);

impl Drop for Image<'_> {
    fn drop(&mut self) {
        drop(self.0.docker.try_run(&["image", "rm", "-f", &self.1]));
    }
}

impl<'a> Image<'a> {
    fn build(skep: &'a Skep, name: &str, dockerfile: &str) -> Self {
        let context = tempfile::tempdir().expect("a directory");
        std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("a file");
        let image = format!("skep-test/{name}-{}", skep.docker.namespace());
        let folder = context.path().display().to_string();
        skep.docker.run(&["build", "-q", "-t", &image, &folder]);
        Self(skep, image)
    }

    fn name(&self) -> &str {
        &self.1
    }
}

/// What each of two requests is answered under each engine: the body, or that there was none.
async fn twice(skep: &Skep, flags: &[&str], command: &[&str]) -> [String; 2] {
    let mut answers = [String::new(), String::new()];
    for (engine, answer) in ["docker", "lean"].iter().zip(&mut answers) {
        let engine_label = format!("engine={engine}");
        let template = skep
            .deploy("odd", &["handler=exec", &engine_label], flags, command)
            .await;
        for _ in 0..2 {
            let got = skep.public.get("/odd").await;
            *answer += &match got.status {
                StatusCode::OK => got.text().to_owned(),
                StatusCode::BAD_GATEWAY => "refused\n".to_owned(),
                _ => panic!("{engine} {flags:?}: {got:?}\n{}", skep.said()),
            };
        }
        skep.docker.remove(&template);
    }
    answers
}

/// Says where the two differ; `expected` is in what both answer.
async fn alike(skep: &Skep, flags: &[&str], command: &[&str], expected: &str) -> String {
    let flags = [NO_NETWORK, flags].concat();
    let answers = twice(skep, &flags, command).await;
    let mut found = differences(&answers);
    if !answers.iter().all(|answer| answer.contains(expected)) {
        found += &format!("  not in both: {expected}\n{answers:?}\n");
    }
    if found.is_empty() {
        return found;
    }
    format!("{flags:?} {command:?}\n{found}")
}

#[tokio::test]
async fn users_and_groups_are_who_docker_takes_them_for() {
    let skep = Skep::start("lean-ids").await;
    let users = r"short:x:7\n77:x:9:9::/nine:\nword:x:none\nnohome:x:1234:1234:::\ntoor:x:0:0::/toor:\nover:x:4294967295:0::/:\n";
    let groups = r"few\nshort:x:9\nmore:x:8:short\n5:x:6:\n";
    let dockerfile =
        format!("FROM {DEBIAN}\nRUN printf '{users}' >> /etc/passwd && printf '{groups}' >> /etc/group\n");
    let image = Image::build(&skep, "ids", &dockerfile);
    let mut found = String::new();
    let command = [
        image.name(),
        "sh",
        "-c",
        "id -u; id -g; id -G | tr ' ' '\\n' | sort; echo \"HOME $HOME\"; grep CapEff /proc/self/status",
    ];
    for (flags, expected) in [
        ("-u 4294967295", "refused"),
        ("-u 2147483648", "refused"),
        ("-u -1", "refused"),
        ("-u over", "refused"),
        ("-u 1:4294967295", "refused"),
        ("-u 1 --group-add 4294967295", "refused"),
        ("-u 2147483647", "2147483647"),
        ("-u short", "7"),
        ("-u word", "HOME /root"),
        ("-u 77", "77"),
        ("-u 7:5", "5"),
        ("-u nohome -e HOME=", "HOME "),
        ("-u toor", "HOME /root"),
        ("-u daemon -e HOME=", "HOME /usr/sbin"),
        ("-u 1:short:9 --group-add 5", "5"),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        found += &alike(&skep, &flags, &command, expected).await;
    }
    assert!(found.is_empty(), "\n{found}");
    drop(image);
    skep.finish().await;
}

#[tokio::test]
async fn a_command_and_a_name_mean_what_they_mean_to_docker() {
    let skep = Skep::start("lean-words").await;
    let mut found = String::new();
    let cases: [(&str, &[&str], &str); 7] = [
        ("", &["", "echo", "hi"], "refused"),
        ("-w /usr/bin -e PATH=.:/nowhere", &["env"], "refused"),
        ("-w /usr/bin -e PATH=:/nowhere", &["env"], "refused"),
        ("-w /usr -e PATH=bin", &["env"], "refused"),
        ("-w /usr -e PATH=/nowhere:.:/bin", &["pwd"], "/usr"),
        ("-w /usr", &["bin/pwd"], "/usr"),
        (
            "",
            &[
                "sh",
                "-c",
                "cat /proc/sys/net/ipv6/conf/*/disable_ipv6 /proc/net/if_inet6",
            ],
            "",
        ),
    ];
    for (flags, command, expected) in cases {
        let flags: Vec<&str> = flags.split_whitespace().collect();
        found += &alike(&skep, &flags, &[&[DEBIAN], command].concat(), expected).await;
    }
    for flags in [
        "--hostname my.host --domainname d",
        "--hostname my.host",
        "--hostname mine --domainname d.e",
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        let script = [
            "sh",
            "-c",
            "tail -1 /etc/hosts | cut -f2; hostname; domainname; cat /etc/hostname",
        ];
        let answers = twice(&skep, &flags, &[&[DEBIAN], &script[..]].concat()).await;
        found += &differences(&answers);
    }
    assert!(found.is_empty(), "\n{found}");
    skep.finish().await;
}

#[tokio::test]
async fn a_volume_is_mounted_however_its_target_is_written() {
    let skep = Skep::start("lean-targets").await;
    let namespace = skep.docker.namespace().to_owned();
    let label = format!("skep.namespace={namespace}");
    let named = |name: &str| {
        let volume = format!("{namespace}-{name}");
        skep.docker.run(&["volume", "create", "--label", &label, &volume]);
        volume
    };
    let (volume, fresh) = (named("one"), named("two"));
    let mut found = String::new();
    let script = format!("grep -c 'volumes/{volume}/_data /data ' /proc/self/mountinfo");
    for target in ["/data/", "//data", "/data/./x/../"] {
        let flags = ["-v", &format!("{volume}:{target}")];
        found += &alike(&skep, &flags, &[DEBIAN, "sh", "-c", &script], "1").await;
    }
    let flags = ["--mount", &format!("type=volume,src={volume},dst=/data/")];
    found += &alike(&skep, &flags, &[DEBIAN, "sh", "-c", &script], "1").await;
    let flags = ["-v", &format!("{fresh}:/etc/apt:nocopy")];
    found += &alike(&skep, &flags, &[DEBIAN, "sh", "-c", "ls /etc/apt | wc -l"], "0").await;
    assert!(found.is_empty(), "\n{found}");
    skep.finish().await;
}

#[tokio::test]
async fn a_volume_without_a_name_is_fresh_below_any_other_mount() {
    let skep = Skep::start("lean-below").await;
    let dockerfile = format!(
        "FROM {DEBIAN}\nRUN mkdir -p /vol/sub && echo x > /vol/sub/kept && chown -R daemon:games /vol/sub && \
         chmod 2770 /vol/sub\nVOLUME /vol/sub\n"
    );
    let image = Image::build(&skep, "below", &dockerfile);
    let host = tempfile::tempdir().expect("a directory");
    let namespace = skep.docker.namespace();
    let volume = format!("{namespace}-above");
    let label = format!("skep.namespace={namespace}");
    skep.docker.run(&["volume", "create", "--label", &label, &volume]);
    let bind = format!("{}:/vol", host.path().display());
    let named = format!("{volume}:/vol");
    let script = "ls -ld /vol/sub | cut -c1-10; stat -c '%u:%g' /vol/sub; ls /vol/sub; \
                  echo x >> /vol/sub/new; wc -l < /vol/sub/new";
    let mut found = String::new();
    for flags in [["-v", &bind], ["-v", &named], ["--tmpfs", "/vol"], ["-v", "/vol"]] {
        let expected = "drwxrws---\n1:60\nkept\n1\ndrwxrws---\n1:60\nkept\n1\n";
        found += &alike(&skep, &flags, &[image.name(), "sh", "-c", script], expected).await;
    }
    let left = std::fs::read_dir(host.path().join("sub")).expect("the place of the mount");
    assert_eq!(left.count(), 0, "written to the host");
    let bind = format!("{}:/p", host.path().display());
    let script = "echo x >> /p/q/new; wc -l < /p/q/new";
    let flags = ["-v", &bind, "-v", "/p/q"];
    found += &alike(&skep, &flags, &[DEBIAN, "sh", "-c", script], "1\n1\n").await;
    assert!(found.is_empty(), "\n{found}");
    drop(image);
    skep.finish().await;
}

#[tokio::test]
async fn a_file_system_in_memory_has_the_mode_that_docker_gives_it() {
    let skep = Skep::start("lean-modes").await;
    let script = "stat -c '%n %a %u:%g' /run /var/mail /tmp /new /new/deep /srv /dev/shm; true";
    let mut found = String::new();
    for flags in [
        "--tmpfs /run --tmpfs /var/mail --tmpfs /tmp:size=1m --tmpfs /new/deep --tmpfs /srv:ro",
        "--tmpfs /run:mode=700 --tmpfs /var/mail:uid=7 --tmpfs /new/deep:mode=711 --tmpfs //srv/",
        "--mount type=tmpfs,dst=/run,tmpfs-mode=1770 --mount type=tmpfs,dst=/new/deep/ --tmpfs /dev/shm:size=1m",
        "--read-only --tmpfs /run",
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        found += &alike(&skep, &flags, &[DEBIAN, "sh", "-c", script], "/run 755 0:0").await;
    }
    assert!(found.is_empty(), "\n{found}");
    skep.finish().await;
}

/// An image with little in it, changed by a script that runs where its root is put together.
fn little(skep: &Skep, name: &str, change: &str, more: &str) -> String {
    format!(
        "FROM {DEBIAN}\nRUN mkdir -p /r/etc /r/usr/bin /r/usr/lib/x86_64-linux-gnu && cd /r && \
         cp -a /bin /lib /lib64 . && cp -a /usr/lib64 usr/ && cp -a /etc/passwd /etc/group etc/ && \
         cp -a /usr/bin/dash /usr/bin/sh /usr/bin/cat /usr/bin/stat /usr/bin/id usr/bin/ && \
         cp -a /lib/x86_64-linux-gnu/libc.so* /lib/x86_64-linux-gnu/ld-* /lib/x86_64-linux-gnu/libselinux.so* \
         /lib/x86_64-linux-gnu/libpcre2-8.so* usr/lib/x86_64-linux-gnu/ && {change}\n\
         FROM scratch\nLABEL test={name}-{}\nCOPY --from=0 /r /\n{more}\n",
        skep.docker.namespace()
    )
}

#[tokio::test]
async fn what_an_image_has_where_docker_puts_its_own_gives_way() {
    let skep = Skep::start("lean-front").await;
    let script = "stat -c '%n %F %a %u:%g' / /etc /dev /proc /sys /etc/resolv.conf /etc/hosts /.dockerenv; pwd -P; \
                  cat /etc/resolv.conf; stat -c %N /etc/mtab; id -u; : > /dev/null; echo whole";
    let mut found = String::new();
    for (name, change, more) in [
        // As systemd-resolved leaves it.
        (
            "resolved",
            "ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf && ln -s /nowhere etc/mtab",
            "",
        ),
        (
            "links",
            "ln -s /nowhere dev && ln -s usr sys && ln -s usr/bin proc",
            "",
        ),
        (
            "files",
            "rm -r etc && echo > etc && echo > dev && echo > sys && echo > proc",
            "",
        ),
        ("closed", "chown 3:4 etc && chmod 2750 etc", "USER daemon"),
        ("place", "ln -s /not/yet place && ln -s not/rel more", ""),
    ] {
        let image = Image::build(&skep, name, &little(&skep, name, change, more));
        let folders: &[&str] = if name == "place" {
            &["/place", "/place/deep", "/more"]
        } else {
            &["/"]
        };
        for folder in folders {
            found += &alike(
                &skep,
                &["-w", folder],
                &[image.name(), "sh", "-c", script],
                "whole",
            )
            .await;
        }
    }
    // A user that only the image's folder would know.
    let change = "mv etc usr/etc && ln -s usr/etc etc";
    let image = Image::build(&skep, "moved", &little(&skep, "moved", change, "USER daemon"));
    found += &alike(&skep, &[], &[image.name(), "sh", "-c", script], "refused").await;
    assert!(found.is_empty(), "\n{found}");
    drop(image);
    skep.finish().await;
}
