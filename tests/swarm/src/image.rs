//! The image of Skep, from the binary that the tests are about.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The binary beside this test's own, or the one that `SKEP_BIN` names.
pub(crate) fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SKEP_BIN") {
        return named.into();
    }
    let own = std::env::current_exe().expect("the test's own path");
    let target = own.ancestors().nth(2).expect("a folder of the target's");
    let skep = target.join("skep");
    assert!(skep.exists(), "build it first: cargo build -p skep");
    skep
}

/// The image of Skep as this machine's engine has it, built once for each binary.
///
/// # Panics
/// When it can't be built, with what Docker said.
pub fn skep_image() -> String {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(build).clone()
}

fn build() -> String {
    let bytes = std::fs::read(binary()).expect("the binary");
    let digest: String = Sha256::digest(bytes)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let image = format!("skep-test/skep:{digest}");
    let known = Command::new("docker").args(["image", "inspect", &image]).output();
    if known.expect("the docker command").status.success() {
        return image;
    }
    let folder = tempfile::tempdir().expect("a folder for the binary");
    let stripped = folder.path().join("skep");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(binary())
        .status();
    assert!(status.expect("the strip of binutils").success());
    let file = std::fs::read_to_string(root().join("Dockerfile")).expect("the Dockerfile");
    built(&image, &file, &[&stripped])
}

/// An image of this machine's engine, built from a Dockerfile and these files beside it; gives its name.
///
/// # Panics
/// When it can't be built, with what Docker said.
pub fn built(image: &str, dockerfile: &str, files: &[&Path]) -> String {
    let context = tempfile::tempdir().expect("a folder for the build");
    std::fs::write(context.path().join("Dockerfile"), dockerfile).expect("the Dockerfile");
    for file in files {
        let name = file.file_name().expect("a file");
        std::fs::copy(file, context.path().join(name)).expect("a copy of it");
    }
    let built = Command::new("docker")
        .args(["build", "-q", "-t", image, "."])
        .env("DOCKER_BUILDKIT", "0")
        .current_dir(context.path())
        .output()
        .expect("the docker command");
    assert!(
        built.status.success(),
        "{image}: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    image.to_owned()
}
