//! Unmodified libraries through a function's socket, with both kinds of children. `scripts/setup test` installs them;
//! what they run is in `tests/integration/clients`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptions};
use futures::StreamExt;
use skep_tests::{DEBIAN, Skep};

use super::{open, shell};

/// A file that set-up installed.
fn tool(path: &str) -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let path = tools.join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/setup test",
        path.display()
    );
    path.display().to_string()
}

/// Runs a client on the socket of a function with children of this kind; what it prints.
async fn client(skep: &Skep, name: &str, program: &str, arguments: &[&str]) -> String {
    let engine = format!("engine={name}");
    shell(skep, name, &["spawn=debian:bookworm-slim", &engine], &[]).await;
    let (socket, running) = open(skep, name).await;
    let socket = socket.display().to_string();
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("SOCKET", &socket));
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
        .env("DOCKER_HOST", format!("unix://{socket}"))
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the client runs");
    running.abort();
    let (said, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{name}: {said}{wrong}");
    said.into_owned()
}

/// The same with lean children and with Docker's.
async fn with_both(topic: &str, program: &str, arguments: &[&str]) -> String {
    let skep = Skep::start(topic).await;
    let lean = client(&skep, "lean", program, arguments).await;
    let docker = client(&skep, "docker", program, arguments).await;
    assert_eq!(lean, docker, "lean on the left, Docker on the right");
    skep.finish().await;
    lean
}

#[tokio::test]
async fn docker_py_does_through_the_socket_what_it_does_with_docker() {
    let python = tool("clients/bin/python3");
    let said = with_both("sdk-python", &python, &["docker_py.py"]).await;
    let wanted = "run b'hi\\n'\n\
                  detached running py ['py']\n\
                  exec ExecResult(exit_code=3, output=b'b\\n')\n\
                  framed b'tty\\r\\n'\n\
                  archive file b'text'\n\
                  changes [{'Path': '/root', 'Kind': 0}, {'Path': '/root/file', 'Kind': 1}]\n\
                  ended 137 default\n\
                  failed 7 b'no\\n'\n\
                  refused 403\n\
                  left []\n";
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn testcontainers_run_through_the_socket() {
    let python = tool("clients/bin/python3");
    let said = with_both("sdk-testcontainers", &python, &["containers.py"]).await;
    assert_eq!(said, "exec 0 b'b\\n'\n");
}

#[tokio::test]
async fn dockerode_does_through_the_socket_what_it_does_with_docker() {
    let modules = tool("node/node_modules");
    let said = with_both("sdk-node", "node", &["dockerode.js", &modules, "SOCKET"]).await;
    let wanted =
        "ping OK\nrun 0 \"hi\\r\\n\"\nlisted /js running\nexec \"b\\n\" 0\nended 137\nrefused 403\nleft 0\n";
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn bollard_does_through_the_socket_what_it_does_with_docker() {
    let skep = Skep::start("sdk-bollard").await;
    for engine in ["lean", "docker"] {
        let label = format!("engine={engine}");
        shell(&skep, engine, &["spawn=debian:bookworm-slim", &label], &[]).await;
        let (socket, running) = open(&skep, engine).await;
        let path = socket.display().to_string();
        let docker = Docker::connect_with_unix(&path, 60, bollard::API_DEFAULT_VERSION).unwrap();
        let docker = docker.negotiate_version().await.unwrap();
        let options = CreateContainerOptionsBuilder::default().name("rs").build();
        let body = ContainerCreateBody {
            image: Some(DEBIAN.to_owned()),
            cmd: Some(
                ["sh", "-c", "echo out; echo err >&2; exit 4"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            labels: Some(HashMap::from([("x".to_owned(), "y".to_owned())])),
            ..ContainerCreateBody::default()
        };
        let made = docker.create_container(Some(options), body).await.unwrap();
        docker
            .start_container("rs", None::<bollard::query_parameters::StartContainerOptions>)
            .await
            .unwrap();
        let ended = docker
            .wait_container(&made.id, None::<WaitContainerOptions>)
            .next()
            .await
            .unwrap();
        assert!(
            matches!(
                ended,
                Err(bollard::errors::Error::DockerContainerWaitError { code: 4, .. })
            ),
            "{ended:?}"
        );
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let logs = docker
            .logs("rs", Some(options))
            .map(|line| line.unwrap().to_string());
        let mut logs: Vec<String> = logs.collect().await;
        logs.sort();
        assert_eq!(logs, ["err\n", "out\n"]);
        let shown = docker
            .inspect_container("rs", None::<bollard::query_parameters::InspectContainerOptions>)
            .await;
        let shown = shown.unwrap();
        assert_eq!(shown.name.as_deref(), Some("/rs"));
        assert_eq!(shown.config.and_then(|config| config.labels).unwrap()["x"], "y");
        docker
            .remove_container("rs", None::<bollard::query_parameters::RemoveContainerOptions>)
            .await
            .unwrap();
        running.abort();
    }
    skep.finish().await;
}
