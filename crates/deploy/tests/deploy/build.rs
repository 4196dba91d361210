use crate::harness::{Sandbox, docker};
use skep_deploy::{DeployError, Event};

#[tokio::test]
async fn an_image_is_built_from_its_directory_and_dockerignore_is_honoured() {
    let sandbox = Sandbox::new("build").await;
    sandbox.write("app/Dockerfile", "FROM debian:bookworm-slim AS base\nARG COLOUR=none\nCOPY . /app\nRUN echo $COLOUR > /colour\nFROM base AS last\nRUN false\n");
    sandbox.write("app/.dockerignore", "*.log\n!keep.log\nnode_modules\n");
    sandbox.write("app/main.txt", "hello");
    sandbox.write("app/noise.log", "x");
    sandbox.write("app/keep.log", "x");
    sandbox.write("app/node_modules/deep/file", "x");
    std::os::unix::fs::symlink("/etc/shadow", sandbox.path().join("app/link")).expect("a link");
    let file = format!(
        "
services:
  app:
    build:
      context: app
      target: base
      args: {{COLOUR: red}}
      labels: {{made.by: {}}}
    command: sleep infinity
    init: true
",
        sandbox.name
    );
    let file = file.as_str();
    sandbox.up(file).await;
    let container = format!("{}-app-1", sandbox.name);
    let inside = docker(&[
        "exec",
        &container,
        "sh",
        "-c",
        "cd /app; ls -A; readlink link; cat /colour",
    ]);
    assert_eq!(
        inside,
        ".dockerignore\nDockerfile\nkeep.log\nlink\nmain.txt\n/etc/shadow\nred"
    );
    assert!(sandbox.progress.has(|event| matches!(event, Event::Step { .. })));
    let image = format!("{}-app", sandbox.name);
    assert_eq!(
        docker(&[
            "inspect",
            "--format",
            "{{index .Config.Labels \"made.by\"}}",
            &image
        ]),
        sandbox.name
    );
    // An image that is there is not built again; with --build and a changed
    // file it is, and its container replaced.
    let mut sandbox = sandbox;
    assert!(sandbox.up(file).await.changed.is_empty());
    sandbox.options.build = true;
    sandbox.write("app/main.txt", "changed");
    assert_eq!(sandbox.up(file).await.changed, ["app"]);
    assert_eq!(docker(&["exec", &container, "cat", "/app/main.txt"]), "changed");
}

#[tokio::test]
async fn a_dockerfile_may_stand_in_the_file_or_outside_the_context() {
    let sandbox = Sandbox::new("outside").await;
    sandbox.write("app/hello", "x");
    sandbox.write("Dockerfile.shared", "FROM debian:bookworm-slim\nCOPY . /app\n");
    sandbox
        .up("
services:
  inline:
    build:
      context: app
      dockerfile_inline: |
        FROM debian:bookworm-slim
        COPY . /app
    command: sleep infinity
    init: true
  outside:
    build: {context: app, dockerfile: ../Dockerfile.shared}
    command: sleep infinity
    init: true
")
        .await;
    for service in ["inline", "outside"] {
        let container = format!("{}-{service}-1", sandbox.name);
        assert_eq!(docker(&["exec", &container, "ls", "/app"]), "hello");
    }
}

#[tokio::test]
async fn a_failed_build_shows_the_builders_last_words() {
    let sandbox = Sandbox::new("failing").await;
    sandbox.write(
        "Dockerfile",
        "FROM debian:bookworm-slim\nRUN echo reason; exit 7\n",
    );
    let error = sandbox
        .try_up("services: {app: {build: .}}\n")
        .await
        .expect_err("it fails");
    assert!(matches!(error, DeployError::Build { .. }));
    assert!(error.to_string().contains("reason"), "{error}");
    assert!(error.to_string().contains("non-zero code: 7"), "{error}");
}

#[tokio::test]
async fn a_missing_dockerfile_or_image_is_named() {
    let sandbox = Sandbox::new("missing").await;
    let error = sandbox
        .try_up("services: {app: {build: .}}\n")
        .await
        .expect_err("no Dockerfile");
    assert!(
        error.report().contains("Dockerfile cannot be read"),
        "{}",
        error.report()
    );
    let error = sandbox
        .try_up("services: {app: {image: 'nobody/has-this', pull_policy: never}}\n")
        .await
        .expect_err("no image");
    assert!(error.to_string().contains("pull_policy is never"), "{error}");
}
