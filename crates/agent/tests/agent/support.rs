//! A `skep agent` of a test's own, sandboxes as Swarm would make them, and a gateway's side of the line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use skep_model::{InvocationId, Trigger};
use skep_testing::Docker;
use skep_tls::{Authority, Body, Dialer, Identity, Line, body};
use skep_wire::{
    AGENT_NAME, CONTEXT, Context, Definition, Field as _, GATEWAY_NAME, INVOCATION, Keys, NodePicture,
    SANDBOX, SandboxPicture, WAITING,
};
use tempfile::TempDir;

use crate::gateway::FakeGateway;

fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let built = test.ancestors().nth(2).expect("target/PROFILE").join("skep");
    assert!(
        built.exists(),
        "{} is not there: `cargo build -p skep` builds it",
        built.display()
    );
    built
}

/// A running agent, and a gateway's line to it.
pub(crate) struct Agent {
    child: Child,
    said: Arc<Mutex<String>>,
    dialer: Dialer,
    pub(crate) line: Line,
    pub(crate) address: SocketAddr,
    pub(crate) docker: Docker,
    directory: TempDir,
    pub(crate) gateways: Vec<FakeGateway>,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) trailers: HeaderMap,
}

impl Agent {
    pub(crate) async fn start(topic: &str) -> Self {
        let docker = Docker::new(topic);
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::generate().expect("an authority");
        let member = authority.member(AGENT_NAME).expect("a member");
        let keys = Keys {
            authority: authority.certificate().to_owned(),
            certificate: member.certificate,
            key: member.key,
        };
        let keys = serde_json::to_string(&keys).expect("JSON");
        std::fs::write(directory.path().join("keys"), keys).expect("the keys");
        std::fs::write(directory.path().join("pause"), skep_pause::program()).expect("the program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(directory.path().join("pause"), mode).expect("its mode");
        let gateway = authority.member(GATEWAY_NAME).expect("a member");
        let identity = Identity::from_pem(authority.certificate(), &gateway.certificate, &gateway.key);
        let identity = identity.expect("an identity");
        let dialer = Dialer::new(&identity, AGENT_NAME).expect("a dialer");
        let mut gateways = Vec::new();
        for name in ["first-gateway", "second-gateway"] {
            gateways.push(FakeGateway::start(&identity, name).await);
        }
        let addresses: Vec<String> = gateways
            .iter()
            .map(|gateway| gateway.address.to_string())
            .collect();
        std::fs::write(directory.path().join("gateways"), addresses.join(",")).expect("their addresses");
        let said = Arc::new(Mutex::new(String::new()));
        let mut child = spawn(&docker, &directory, &said);
        let address = listening(&mut child, &said).await;
        let line = dialer.line(address).await.expect("a line");
        Self {
            child,
            said,
            dialer,
            line,
            address,
            docker,
            directory,
            gateways,
        }
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts another one in its place.
    pub(crate) async fn restart(&mut self) {
        self.said.lock().expect("whole").clear();
        self.child = spawn(&self.docker, &self.directory, &self.said);
        self.address = listening(&mut self.child, &self.said).await;
        self.line = self.dialer.line(self.address).await.expect("a line");
    }

    /// The first signal.
    pub(crate) fn terminate(&self) {
        let process = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(process, Signal::TERM).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let mut ended = None;
        eventually("the agent ends", async || {
            ended = self.child.try_wait().expect("its own child");
            ended.is_some()
        })
        .await;
        ended.expect("it was awaited")
    }

    /// A task's container as Swarm would make it, of the function that these labels describe. `slots` is what its
    /// limits were multiplied for; `docker` are further words of `docker run`.
    pub(crate) async fn sandbox(
        &self,
        labels: &[(&str, &str)],
        slots: u32,
        arguments: &[&str],
        docker: &[&str],
    ) -> String {
        let image = skep_testing::probe_image();
        self.sandbox_of(&image, labels, slots, arguments, docker).await
    }

    /// The same, of an image.
    pub(crate) async fn sandbox_of(
        &self,
        image: &str,
        labels: &[(&str, &str)],
        slots: u32,
        arguments: &[&str],
        docker: &[&str],
    ) -> String {
        let namespace = self.docker.namespace();
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let own = [("skep.function", "hello"), ("skep.namespace", namespace)];
        let definition = Definition {
            revision: "0123456789ab".to_owned(),
            service: "service-id".to_owned(),
            service_name: "hello".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            labels: labels.iter().chain(&own).map(text).collect(),
            entrypoint: None,
            arguments: Some(arguments.iter().map(|word| (*word).to_owned()).collect()),
            slots,
            memory: None,
            nano_cpus: None,
            pids: None,
            init: None,
        };
        let definition = serde_json::to_string(&definition).expect("JSON");
        let pause = self.directory.path().join("pause");
        let labels = [
            format!("skep.namespace={namespace}"),
            "skep.sandbox=hello".to_owned(),
            format!("skep.definition={definition}"),
            "com.docker.swarm.task.name=skep-hello.1.abc".to_owned(),
            "com.docker.swarm.task.id=abc".to_owned(),
        ];
        let bind = format!("{}:/.skep-pause:ro", pause.display());
        let mut words = vec!["run", "-d", "-v", &bind, "--entrypoint", "/.skep-pause"];
        words.extend(labels.iter().flat_map(|label| ["--label", label.as_str()]));
        words.extend(docker);
        words.push(image);
        let container = self.docker.run(&words);
        self.until(&container, |_| true).await;
        container
    }

    /// What gateways say is deployed.
    pub(crate) fn deployed(&self, names: &[&str]) {
        for gateway in &self.gateways {
            gateway.deployed(names);
        }
    }

    /// One picture of the node.
    pub(crate) async fn picture(&self) -> NodePicture {
        let request = Request::get("http://agent.skep/v1/watch").body(body(Full::default()));
        let answer = self
            .line
            .send(request.expect("a request"))
            .await
            .expect("an answer");
        let mut pictures = answer.into_body();
        let frame = pictures.frame().await.expect("a picture").expect("whole");
        serde_json::from_slice(&frame.into_data().expect("a line")).expect("a picture")
    }

    /// A gateway says who waits there; gives the answer's status.
    pub(crate) async fn tell(&self, waiting: &str) -> StatusCode {
        let request = Request::post(format!("http://agent.skep{WAITING}"));
        let request = request.body(body(Full::from(waiting.to_owned())));
        let answer = self.line.send(request.expect("a request")).await;
        answer.expect("an answer").status()
    }

    /// Waits until the node says this of a sandbox.
    pub(crate) async fn until(&self, container: &str, is_so: impl Fn(&SandboxPicture) -> bool) {
        eventually("the node's picture shows it", async || {
            let picture = self.picture().await;
            let found = picture.sandboxes.iter().find(|sandbox| sandbox.id == container);
            found.is_some_and(&is_so)
        })
        .await;
    }

    /// Sends an invocation; gives the answer's head.
    pub(crate) async fn send(
        &self,
        container: &str,
        path: &str,
        content: &str,
        trigger: Trigger,
    ) -> Response<Incoming> {
        let request = request(container, path, content, trigger);
        self.line.send(request).await.expect("an answer")
    }

    /// Invokes and reads the whole answer.
    pub(crate) async fn invoke(&self, container: &str, path: &str, content: &str) -> Answer {
        whole(self.send(container, path, content, Trigger::Request).await).await
    }

    /// What an operator is told.
    pub(crate) async fn ask(&self, path: &str) -> serde_json::Value {
        let request = Request::get(format!("http://agent.skep{path}")).body(body(Full::default()));
        let answer = self
            .line
            .send(request.expect("a request"))
            .await
            .expect("an answer");
        serde_json::from_str(&whole(answer).await.text).expect("JSON")
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
        // Killed, it could not; the next agent of this namespace would, and there is none.
        let folder = format!("/dev/shm/skep-agent-{}", self.docker.namespace());
        drop(std::fs::remove_dir_all(folder));
        if std::thread::panicking() {
            eprintln!(
                "{}",
                self.said.lock().map(|said| said.clone()).unwrap_or_default()
            );
        }
    }
}

pub(crate) fn request(container: &str, path: &str, content: &str, trigger: Trigger) -> Request<Body> {
    let context = Context {
        parent: None,
        trigger,
        received: Timestamp::now(),
        attempts: 1,
        client: [192, 0, 2, 1].into(),
    };
    Request::post(format!("http://agent.skep{path}"))
        .header(SANDBOX, container)
        .header(INVOCATION, InvocationId::generate().to_string())
        .header(CONTEXT, context.header())
        .body(body(Full::new(Bytes::copy_from_slice(content.as_bytes()))))
        .expect("a request")
}

pub(crate) async fn whole(answer: Response<Incoming>) -> Answer {
    let (head, content) = answer.into_parts();
    let collected = content.collect().await.expect("a whole answer");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        trailers,
    }
}

/// Waits for something that others bring about.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    skep_testing::eventually(what, async || is_so().await.then_some(())).await;
}

fn spawn(docker: &Docker, directory: &TempDir, said: &Arc<Mutex<String>>) -> Child {
    let mut child = Command::new(binary())
        .args([
            "agent",
            "--listen",
            "127.0.0.1:0",
            "--relist",
            "1s",
            "--log",
            "debug",
        ])
        .args([
            "--namespace",
            docker.namespace(),
            "--node",
            "node-id",
            "--node-name",
            "here",
        ])
        .arg("--gateways")
        .arg(std::fs::read_to_string(directory.path().join("gateways")).expect("gateways' addresses"))
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .arg("--keys-file")
        .arg(directory.path().join("keys"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skep starts");
    let errors = BufReader::new(child.stderr.take().expect("its standard error"));
    let said = said.clone();
    std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            said.lock().expect("whole").push_str(&format!("{line}\n"));
        }
    });
    child
}

async fn listening(child: &mut Child, said: &Arc<Mutex<String>>) -> SocketAddr {
    let mut address = None;
    eventually("the agent listens", async || {
        let said = said.lock().expect("whole").clone();
        let ended = child.try_wait().expect("its own child");
        assert!(ended.is_none(), "the agent ended:\n{said}");
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("answering gateways on "));
        address = line.and_then(|text| text.parse().ok());
        address.is_some()
    })
    .await;
    address.expect("it was awaited")
}
