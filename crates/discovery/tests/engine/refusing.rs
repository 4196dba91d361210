//! What is no template, and what is an invalid one, on the real engine.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{IMAGE, Watch};
use skep_testing::Docker;

/// An image with nothing but labels, removed with the value.
struct Image {
    name: String,
    id: String,
}

impl Image {
    fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut import = Command::new("docker");
        import.arg("import");
        for (key, value) in labels {
            import.args(["-c", &format!("LABEL {key}={value}")]);
        }
        import
            .args(["-", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut import = import.spawn().unwrap();
        // The end of an archive (two empty blocks): an image without files.
        import.stdin.take().unwrap().write_all(&[0; 1024]).unwrap();
        let output = import.wait_with_output().unwrap();
        assert!(output.status.success());
        Self {
            name: name.to_owned(),
            id: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for name in [&self.name, &self.id] {
            let _ = Command::new("docker").args(["rmi", "-f", name]).output();
        }
    }
}

#[tokio::test]
async fn malformed_and_contradictory_labels_are_listed_with_every_reason() {
    let docker = Docker::new("labels");
    let mut watch = Watch::start(docker.namespace()).await;
    let id = docker.create(&[
        "--label",
        "skep.function=f",
        "--label",
        "skep.handlr=exec",
        "--label",
        "skep.max=many",
        "--label",
        "skep.concurrency=4",
        IMAGE,
        "true",
    ]);
    let reasons = watch.reasons(&id).await;
    for part in [
        "did you mean skep.handler?",
        "skep.max=many",
        "skep.concurrency is for reused",
    ] {
        assert!(reasons.contains(part), "{part:?} is not in {reasons:?}");
    }
    assert!(watch.now().function("f").is_none());
}

#[tokio::test]
async fn published_ports_and_a_bad_name_are_refused() {
    let docker = Docker::new("ports");
    let mut watch = Watch::start(docker.namespace()).await;
    let id = docker.create(&["--label", "skep.function=Not_A_Name", "-P", IMAGE, "true"]);
    let reasons = watch.reasons(&id).await;
    assert!(
        reasons.contains("publishes ports") && reasons.contains("skep.function=Not_A_Name"),
        "{reasons}"
    );
}

#[tokio::test]
async fn other_namespaces_and_what_skep_made_are_not_templates() {
    let docker = Docker::new("others");
    let mut watch = Watch::start(docker.namespace()).await;
    docker.create(&[
        "--label",
        "skep.function=made",
        "--label",
        "skep.owner=me",
        IMAGE,
        "true",
    ]);
    let elsewhere = Docker::new("elsewhere");
    elsewhere.create(&["--label", "skep.function=elsewhere", IMAGE, "true"]);
    docker.create(&["--label", "skep.function=last", IMAGE, "true"]);
    let (catalogue, _) = watch.until(|now| now.function("last").is_some()).await;
    assert_eq!(catalogue.functions().count(), 1);
    assert!(catalogue.invalid().is_empty());
}

#[tokio::test]
async fn an_image_can_not_deploy_itself_nor_choose_its_route() {
    let docker = Docker::new("image");
    let name = format!("{}-labels", docker.namespace());
    let image = Image::new(
        &name,
        &[
            ("skep.function", "self"),
            ("skep.route", "/"),
            ("skep.timeout", "7s"),
        ],
    );
    let mut watch = Watch::start(docker.namespace()).await;
    docker.create(&[&image.name, "true"]);
    docker.create(&["--label", "skep.function=mine", &image.name, "true"]);
    let (catalogue, _) = watch.until(|now| now.function("mine").is_some()).await;
    assert!(catalogue.function("self").is_none());
    assert!(catalogue.invalid().is_empty());
    let settings = &catalogue.function("mine").unwrap().settings;
    assert_eq!(
        settings.routes[0].to_string(),
        "/mine",
        "the image's route does not count"
    );
    assert_eq!(settings.timeout.as_secs(), 7, "other labels of the image do");
}

#[tokio::test]
async fn an_image_that_vanished_makes_its_functions_invalid_until_it_is_back() {
    let docker = Docker::new("vanished");
    let name = format!("{}-image", docker.namespace());
    let image = Image::new(&name, &[("some", "label")]);
    let id = docker.create(&["--label", "skep.function=f", &image.name, "true"]);
    let mut watch = Watch::start(docker.namespace()).await;
    assert!(watch.now().function("f").is_some());

    let archive = std::env::temp_dir().join(format!("{name}.tar"));
    docker.run(&["save", "-o", archive.to_str().unwrap(), &image.name]);
    docker.run(&["rmi", "-f", &image.name]);
    let reasons = watch.reasons(&id).await;
    assert!(reasons.contains("no longer on the engine"), "{reasons}");

    let loaded = docker.try_run(&["load", "-i", archive.to_str().unwrap()]);
    std::fs::remove_file(&archive).unwrap();
    loaded.unwrap();
    watch.until(|now| now.function("f").is_some()).await;
}
