//! `skep serve` with a real engine, as far as the command itself is concerned: what it prints, what `skep rm` makes
//! it see, its metrics, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use skep_testing::{Docker, PATIENCE, PAUSE, probe_image, within};

use crate::{ran, skep};

/// Set it to anything to write the reference of metrics anew.
const REGENERATE: &str = "SKEP_REGENERATE";
/// Where the part of that reference begins that is not about `skep serve`.
const ON_A_SWARM: &str = "\n## On a Swarm";

struct Serving {
    process: Child,
    stderr: BufReader<ChildStderr>,
    public: String,
    control: String,
    _data: tempfile::TempDir,
}

impl Serving {
    fn start(docker: &Docker) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = skep(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--call-port",
            "0",
        ]);
        command
            .args(["--namespace", docker.namespace(), "--data-dir"])
            .arg(data.path());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut after = |prefix: &str| {
            loop {
                let mut line = String::new();
                assert!(
                    stderr.read_line(&mut line).unwrap() > 0,
                    "skep serve ended before {prefix:?}"
                );
                if let Some(rest) = line.strip_prefix(prefix) {
                    return rest.trim().to_owned();
                }
            }
        };
        let (public, control) = (after("listening on http://"), after("control on http://"));
        after("ready");
        Self {
            process,
            stderr,
            public,
            control,
            _data: data,
        }
    }

    fn signal(&self) {
        let id = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(id, Signal::TERM).unwrap();
    }

    /// Waits until a line begins so.
    fn said(&mut self, prefix: &str) {
        let mut line = String::new();
        while !line.starts_with(prefix) {
            line.clear();
            assert!(
                self.stderr.read_line(&mut line).unwrap() > 0,
                "skep serve ended before {prefix:?}"
            );
        }
    }

    /// Waits for the end; gives back the exit code and what was still said.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap().code(), rest)
    }
}

/// A GET, read to the connection's end.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_function_is_served_listed_inspected_and_removed() {
    let docker = Docker::new("command");
    let probe = probe_image();
    let serving = Serving::start(&docker);
    let create = [
        "--label",
        "skep.function=cat",
        "--label",
        "skep.handler=exec",
        "--network",
        "none",
        &probe,
        "cat",
    ];
    docker.create(&create);
    let control = format!("http://{}", serving.control);
    let seen = within(PATIENCE, PAUSE, || {
        let said = ran(skep(&["inspect", "cat", "--json"]).env("SKEP_CONTROL", &control));
        (said.exit == 0).then_some(said.stdout)
    });
    let detail: serde_json::Value = serde_json::from_str(&seen.expect("the function is seen")).unwrap();
    assert_eq!(detail["settings"]["skep.handler"], "exec");
    let said = ran(skep(&["invoke", "cat", "-d", "hello"]).env("SKEP_CONTROL", &control));
    assert_eq!(
        (said.exit, said.stdout.as_str(), said.stderr.as_str()),
        (0, "hello", "")
    );
    let answer = get(&serving.public, "/cat");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let elsewhere = format!("{}-other", docker.namespace());
    let said = ran(&mut skep(&["rm", "cat", "--namespace", &elsewhere]));
    let hint = format!("skep rm cat --namespace {}\n", docker.namespace());
    assert_eq!(said.exit, 3, "{}", said.stderr);
    assert!(
        said.stderr.contains("hint: ") && said.stderr.contains(&hint),
        "{}",
        said.stderr
    );

    let mut remove = skep(&["rm", "cat", "--namespace", docker.namespace()]);
    let said = ran(remove.env("SKEP_CONTROL", &control));
    assert_eq!((said.exit, said.stdout.as_str()), (0, "cat\n"), "{}", said.stderr);
    assert!(
        get(&serving.public, "/cat").starts_with("HTTP/1.1 404 "),
        "rm returns when Skep has seen it"
    );
    let said = ran(skep(&["rm", "cat", "--namespace", docker.namespace()]).env("SKEP_CONTROL", &control));
    assert_eq!(said.exit, 3, "{}", said.stderr);

    serving.signal();
    let (exit, said) = serving.ended();
    assert_eq!(exit, Some(0), "{said}");
    assert!(
        docker.containers("skep.owner").is_empty(),
        "nothing is left behind"
    );
}

#[test]
fn the_reference_of_metrics_is_up_to_date() {
    let docker = Docker::new("metrics");
    let probe = probe_image();
    let function = |name: &'static str| format!("skep.function={name}");
    let exec = ["--label", "skep.handler=exec", "--network", "none", "--label"];
    docker.create(&[&exec[..], &[&function("cat"), &probe, "cat"]].concat());
    docker.create(&[&exec[..], &[&function("sleep"), &probe, "sleep", "60"]].concat());
    let mut serving = Serving::start(&docker);
    let control = format!("http://{}", serving.control);
    // Families that tell functions apart appear with the first invocation, and the backlog's with its work.
    for arguments in [["invoke", "cat", "--path=/"], ["invoke", "sleep", "--async"]] {
        let said = ran(skep(&arguments).env("SKEP_CONTROL", &control));
        assert_eq!(said.exit, 0, "{}", said.stderr);
    }
    let answer = within(PATIENCE, PAUSE, || {
        Some(get(&serving.control, "/metrics")).filter(|answer| answer.contains("skep_backlog_waiting"))
    });
    let answer = answer.expect("the accepted invocation is counted");
    serving.signal();
    serving.said("SIGTERM");
    serving.signal();
    assert_eq!(
        serving.ended().0,
        Some(130),
        "the second signal ends what the first let run"
    );
    assert!(
        docker.containers("skep.owner").is_empty(),
        "nothing is left behind"
    );
    let mut text = String::from(
        "# Metrics\n\nWhat `/metrics` on the control listener tells, in OpenMetrics. Histograms have `_bucket`, `_sum` \
         and `_count`, counters end in `_total`.\n\n| family | kind | meaning |\n| --- | --- | --- |\n",
    );
    let mut families: Vec<(String, String, String)> = Vec::new();
    for line in answer.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                families.push((name.to_owned(), String::new(), help.replace('|', "\\|")));
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let family = families
                    .iter_mut()
                    .find(|family| family.0 == name)
                    .expect("HELP comes first");
                kind.clone_into(&mut family.1);
            }
            _ => {}
        }
    }
    families.sort();
    assert!(
        families.is_sorted_by(|a, b| a.0 != b.0),
        "a family is registered twice: {families:?}"
    );
    for (name, kind, help) in families {
        text.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    // What only gateways of a Swarm count stands behind it; a test on a Swarm looks whether all of it does.
    text.push_str(kept.find(ON_A_SWARM).map_or("", |begin| &kept[begin..]));
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "docs/reference/metrics.md is not what /metrics says: run the tests once with {REGENERATE}=1"
    );
}
