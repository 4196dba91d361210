//! `skep deploy` and the accounts that the docker command keeps. The engine is played here, since what matters is
//! what it is told: no registry is asked anything.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use skep_tests::{binary, full};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

type Told = Arc<Mutex<BTreeMap<String, Value>>>;

/// An engine that has no image and gets none. Remembers with which account it was asked.
struct FakeEngine {
    directory: tempfile::TempDir,
    told: Told,
    _tasks: JoinSet<()>,
}

impl FakeEngine {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let told = Told::default();
        let mut tasks = JoinSet::new();
        let seen = told.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| {
                    let answer = answer(&request, &seen);
                    async move { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(async move {
                    // A client that hangs up has what it wanted.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            directory,
            told,
            _tasks: tasks,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A program that keeps the account of one registry.
    fn helper(&self, name: &str, script: &str) {
        let file = format!("bin/docker-credential-{name}");
        self.write(&file, &format!("#!/bin/sh\n{script}\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path().join(file), executable).unwrap();
    }

    async fn deploy(&self, service: &str) -> Output {
        self.write("compose.yaml", &format!("services:\n  app:\n    {service}\n"));
        let path = format!("{}/bin:{}", self.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(binary());
        command
            .args(["deploy", "--project", "registries", "-f"])
            .arg(self.path().join("compose.yaml"))
            .arg("--docker-host")
            .arg(format!("unix://{}/docker.sock", self.path().display()))
            .env("DOCKER_CONFIG", self.path().join("docker"))
            .env("PATH", path);
        // The engine answers from this thread's runtime.
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    fn told(&self, what: &str) -> Value {
        self.told.lock().unwrap().get(what).cloned().unwrap_or_default()
    }
}

fn answer(request: &Request<Incoming>, told: &Told) -> Response<skep_tests::Body> {
    let path = request.uri().path();
    let path = path.strip_prefix("/v1.41").unwrap_or(path);
    for header in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers().get(header) {
            let json = URL_SAFE.decode(value.as_bytes()).unwrap();
            let value = serde_json::from_slice(&json).unwrap();
            told.lock().unwrap().insert(header.to_owned(), value);
        }
    }
    let (status, body) = match (request.method(), path) {
        (&Method::GET, "/version") => (200, json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12"})),
        (&Method::GET, path) if path.starts_with("/images/") => (404, json!({"message": "No such image"})),
        (&Method::POST, "/images/create" | "/build") => {
            let refused = "unauthorized: authentication required";
            (
                200,
                json!({"errorDetail": {"message": refused}, "error": refused}),
            )
        }
        (&Method::GET, "/networks") => (200, json!([])),
        (&Method::GET, "/volumes") => (200, json!({"Volumes": []})),
        (&Method::GET, "/containers/json") => (200, json!([])),
        _ => (200, json!({"Id": "x", "Warnings": []})),
    };
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    response
}

#[tokio::test]
async fn an_image_is_pulled_with_the_account_of_its_registry() {
    let engine = FakeEngine::start();
    // "me:~secret?>", of which the base64 of e-mail and that of URLs differ.
    let auths = json!({"auths": {"registry.example": {"auth": "bWU6fnNlY3JldD8+"}, "other.example": {"auth": "YTpi"}}});
    engine.write("docker/config.json", &auths.to_string());
    let output = engine.deploy("image: registry.example/app:1").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("unauthorized") && said.contains("docker login registry.example"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(
        engine.told("x-registry-auth"),
        json!({"username": "me", "password": "~secret?>", "serveraddress": "registry.example"})
    );
    // Nobody else's image is asked for with it.
    engine.told.lock().unwrap().clear();
    engine.deploy("image: debian").await;
    assert_eq!(engine.told("x-registry-auth"), Value::Null);
}

#[tokio::test]
async fn credential_helpers_are_asked_as_the_docker_command_asks_them() {
    let engine = FakeEngine::start();
    let config = json!({"credsStore": "all", "credHelpers": {"token.example": "token"}, "auths": {"store.example": {}}});
    engine.write("docker/config.json", &config.to_string());
    engine.helper(
        "all",
        r#"read server; test "$1" = get || exit 1
        case $server in
        store.example|https://index.docker.io/v1/) echo "{\"ServerURL\":\"$server\",\"Username\":\"u\",\"Secret\":\"$server\"}";;
        *) echo "credentials not found in native keychain"; exit 1;;
        esac"#,
    );
    engine.helper("token", r#"echo '{"Username":"<token>","Secret":"t"}'"#);
    for (image, account) in [
        (
            "store.example/app",
            json!({"username": "u", "password": "store.example", "serveraddress": "store.example"}),
        ),
        (
            "token.example/app",
            json!({"identitytoken": "t", "serveraddress": "token.example"}),
        ),
        (
            "someone/app",
            json!({"username": "u", "password": "https://index.docker.io/v1/", "serveraddress": "https://index.docker.io/v1/"}),
        ),
        ("unknown.example/app", Value::Null),
    ] {
        engine.told.lock().unwrap().clear();
        let output = engine.deploy(&format!("image: {image}")).await;
        assert_eq!(engine.told("x-registry-auth"), account, "{image}: {output:?}");
    }
    // A build may need any of them.
    engine.write("Dockerfile", "FROM store.example/base\n");
    engine.deploy("build: .").await;
    let told = engine.told("x-registry-config");
    assert_eq!(told["store.example"]["password"], "store.example", "{told}");
    assert_eq!(told["token.example"]["identitytoken"], "t", "{told}");
}

#[tokio::test]
async fn accounts_that_can_not_be_had_are_told_and_the_image_is_asked_for_without() {
    let engine = FakeEngine::start();
    for (config, complaint) in [
        ("{", "config.json"),
        (r#"{"credsStore": "missing"}"#, "docker-credential-missing"),
        (r#"{"credsStore": "broken"}"#, "the keyring is locked"),
        (r#"{"credsStore": "silent"}"#, "its answer is no account"),
        (r#"{"auths": {"a.example": {"auth": "&"}}}"#, "a.example"),
    ] {
        engine.helper("broken", "echo the keyring is locked >&2; exit 2");
        engine.helper("silent", "exit 0");
        engine.write("docker/config.json", config);
        let output = engine.deploy("image: a.example/app").await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(complaint), "{config}: {said}");
        assert!(
            said.contains("unauthorized"),
            "the engine was asked all the same: {said}"
        );
        assert_eq!(engine.told("x-registry-auth"), Value::Null);
    }
    // No configuration is nothing to speak of.
    std::fs::remove_dir_all(engine.path().join("docker")).unwrap();
    let output = engine.deploy("image: a.example/app").await;
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("credentials"),
        "{output:?}"
    );
}
