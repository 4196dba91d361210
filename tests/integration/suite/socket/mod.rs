//! The Docker socket of a function: the ordinary clients on one side, an attacker, and what Docker then has.
//!
//! Both kinds of children go through all of it: where a test names no engine they are lean's in the first pass of
//! `make test` and Docker's in the second (`SKEP_TEST_ENGINE=docker`). One that names `engine=docker` is about what
//! only Docker's have: a life across a crash of Skep, files on the disk, a container that Docker itself shows.

mod archives;
mod attacks;
mod bombs;
mod budgets;
mod clients;
mod disk;
mod examples;
mod holes;
mod isolation;
mod kinds;
mod lineage;
mod neighbours;
mod networks;
mod others;
mod prepared;
mod restart;
mod sdks;
mod templates;
mod words;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use skep_tests::{DEBIAN, Skep, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The docker command of this machine, which is one static file.
fn docker_command() -> String {
    let path = std::env::var_os("PATH").expect("a PATH");
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|file| file.is_file());
    found.expect("the docker command").display().to_string()
}

/// A volume with the docker command in it, for children, who can have nothing of the host.
fn docker_volume(skep: &Skep) -> String {
    let volume = format!("{}-cli", skep.docker.namespace());
    let label = format!("skep.namespace={}", skep.docker.namespace());
    skep.docker.run(&["volume", "create", "--label", &label, &volume]);
    let mount = format!("{volume}:/cli");
    let own = format!("{}:/docker:ro", docker_command());
    let copy = ["cp", "/docker", "/cli/docker"];
    let run = ["run", "--rm", "-v", &mount, "-v", &own, DEBIAN];
    skep.docker.run(&[&run[..], &copy].concat());
    volume
}

/// Deploys a function that runs the script that it is given, with the docker command at hand.
async fn shell(skep: &Skep, name: &str, labels: &[&str], flags: &[&str]) -> String {
    let labels = [&["handler=exec", "timeout=250s", "max=4"], labels].concat();
    let mount = format!("{}:/usr/local/bin/docker:ro", docker_command());
    let flags = [&["-v", mount.as_str(), "-e", "HOME=/tmp"], flags].concat();
    skep.deploy(name, &labels, &flags, &[DEBIAN, "bash", "-s"]).await
}

/// Runs a script in such a function; what it writes to both of its streams.
async fn run(skep: &Skep, name: &str, script: &str) -> String {
    let script = format!("exec 2>&1\n{script}\ntrue\n");
    let answer = skep.public.post(&format!("/{name}"), script).await;
    assert_eq!(answer.status, http::StatusCode::OK, "{answer:?}");
    answer.text().to_owned()
}

/// Starts an invocation that does nothing for long, and finds its socket on the host.
async fn open(skep: &Skep, name: &str) -> (PathBuf, tokio::task::JoinHandle<()>) {
    let (client, path) = (skep.public, format!("/{name}"));
    let folder = skep.data().join("sockets");
    let list = || -> Vec<PathBuf> {
        let found = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        found.map(|entry| entry.path()).collect()
    };
    let before = list();
    let running = tokio::spawn(async move { drop(client.post(&path, "sleep 240").await) });
    let socket = eventually("the socket", async || {
        let new = list().into_iter().find(|path| !before.contains(path))?;
        Some(new.join("docker.sock")).filter(|socket| socket.exists())
    })
    .await;
    (socket, running)
}

/// Waits until no socket is left.
async fn no_sockets(skep: &Skep) {
    eventually("the last socket to be removed", async || {
        let left = std::fs::read_dir(skep.data().join("sockets"))
            .expect("the folder")
            .count();
        (left == 0).then_some(())
    })
    .await;
}

/// Sends bytes to a socket as they are and reads everything that comes back.
async fn raw(socket: &PathBuf, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("the socket");
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let talk = async {
        // It may answer and close before it has read everything.
        let sending = async { drop(write.write_all(bytes).await) };
        let reading = async { drop(read.read_to_end(&mut answer).await) };
        tokio::join!(sending, reading);
    };
    // What was answered without an end to the connection is an answer too.
    drop(tokio::time::timeout(Duration::from_secs(2), talk).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A call with a JSON body: the status, and what was answered.
async fn call(socket: &PathBuf, method: &str, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = UnixStream::connect(socket).await.expect("the socket");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (status.expect("a status"), body.to_owned())
}

/// Runs the docker command on a socket from the host.
async fn docker(socket: &std::path::Path, arguments: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new("docker")
        .arg("-H")
        .arg(format!("unix://{}", socket.display()))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("docker runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}
