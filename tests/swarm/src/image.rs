//! The image of Skep, from the binary that the tests are about.

use std::path::PathBuf;
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
    let context = tempfile::tempdir().expect("a folder for the build");
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(context.path().join("skep"))
        .arg(binary())
        .status();
    assert!(stripped.expect("the strip of binutils").success());
    std::fs::copy(root().join("Dockerfile"), context.path().join("Dockerfile")).expect("the Dockerfile");
    let built = Command::new("docker")
        .args(["build", "-q", "-t", &image, "."])
        .env("DOCKER_BUILDKIT", "0")
        .current_dir(context.path())
        .output()
        .expect("the docker command");
    assert!(
        built.status.success(),
        "{image}: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    image
}
