//! What the tests of this crate share: an engine in a namespace of its own, and short ways to launch the probe.

use std::sync::Arc;

use skep_docker::{CallReceiver, Config, DockerEngine};
use skep_engine::{Engine, Exit, Launch, LaunchError, Launched, OutputReceiver, Stdio};
use skep_model::{Function, Handler, InstanceId};
use skep_testing::{Docker, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An engine and its corner of Docker.
pub(crate) struct Bench {
    pub(crate) docker: Docker,
    pub(crate) engine: DockerEngine,
    pub(crate) calls: CallReceiver,
}

impl Bench {
    pub(crate) async fn new(topic: &str) -> Self {
        let docker = Docker::new(topic);
        let (engine, calls) = connect(&docker).await;
        Self {
            docker,
            engine,
            calls,
        }
    }

    /// A function of the probe: `options` for `docker create`, `command` for the probe.
    pub(crate) fn function(&self, options: &[&str], command: &[&str]) -> Arc<Function> {
        self.function_of(&skep_testing::probe_image(), options, command)
    }

    pub(crate) fn function_of(&self, image: &str, options: &[&str], command: &[&str]) -> Arc<Function> {
        let mut arguments = vec!["--label", "skep.function=probe"];
        arguments.extend(options);
        arguments.push(image);
        arguments.extend(command);
        Arc::new(self.docker.function(&self.docker.create(&arguments)))
    }

    pub(crate) async fn launch(&self, function: &Arc<Function>) -> Result<Launched, LaunchError> {
        self.engine.launch(request(function)).await
    }

    pub(crate) async fn exec(&self, command: &[&str]) -> Launched {
        self.exec_with(&["--network", "none"], command).await
    }

    pub(crate) async fn exec_with(&self, options: &[&str], command: &[&str]) -> Launched {
        let options = [&["--label", "skep.handler=exec"], options].concat();
        self.launch(&self.function(&options, command))
            .await
            .expect("the probe starts")
    }

    pub(crate) async fn http(&self, options: &[&str], command: &[&str]) -> Launched {
        self.launch(&self.function(options, command))
            .await
            .expect("the probe starts")
    }
}

pub(crate) async fn connect(docker: &Docker) -> (DockerEngine, CallReceiver) {
    let namespace = docker.namespace().parse().expect("a namespace");
    let config = Config {
        docker_host: None,
        namespace,
        call_port: 0,
    };
    DockerEngine::connect(config).await.expect("Docker runs here")
}

pub(crate) fn request(function: &Arc<Function>) -> Launch {
    let stdio = if function.settings.handler == Handler::Http {
        Stdio::Log
    } else {
        Stdio::Pipe
    };
    Launch {
        instance: InstanceId::generate(),
        function: function.clone(),
        environment: Vec::new(),
        stdio,
        socket: None,
    }
}

/// Reads everything to its end, waits for the exit, removes the instance: standard output, the log's lines, the exit.
pub(crate) async fn finish(mut launched: Launched) -> (Vec<u8>, Vec<String>, Exit) {
    let log = async {
        let mut lines = Vec::new();
        while let Some(line) = launched.output.recv().await {
            lines.push(String::from_utf8_lossy(&line.text).into_owned());
        }
        lines
    };
    let output = async {
        let mut stdout = Vec::new();
        if let Some(mut pipes) = launched.pipes.take() {
            drop(pipes.stdin);
            pipes
                .stdout
                .read_to_end(&mut stdout)
                .await
                .expect("standard output");
        }
        stdout
    };
    let (lines, stdout) = tokio::join!(log, output);
    let exit = launched.instance.exited().await;
    launched.instance.remove().await;
    (stdout, lines, exit)
}

/// Waits until something listens on the instance's port.
pub(crate) async fn ready(launched: &Launched) {
    eventually("the instance to listen", async || {
        launched.instance.connect().await.ok().map(drop)
    })
    .await;
}

/// A whole answer of the instance's server, head and body.
pub(crate) async fn get(launched: &Launched, path: &str) -> std::io::Result<String> {
    let mut stream = launched.instance.connect().await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Reads a log until it has this line.
pub(crate) async fn logged(mut output: OutputReceiver, expected: &str) {
    while let Some(line) = output.recv().await {
        if line.text == expected.as_bytes() {
            return;
        }
    }
    panic!("the log ended without {expected:?}");
}
