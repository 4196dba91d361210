//! Builds the probe's image: one static program in an otherwise empty image.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

const SOURCES: [(&str, &str); 3] = [
    ("main.rs", include_str!("../probe/main.rs")),
    ("http.rs", include_str!("../probe/http.rs")),
    ("websocket.rs", include_str!("../probe/websocket.rs")),
];
const DOCKERFILE: &str = "FROM scratch\nCOPY probe /probe\nCOPY tmp /tmp\nENTRYPOINT [\"/probe\"]\n";

/// The image of the probe, built on first use and kept by the digest of its source. Its entrypoint is the probe, so
/// that what follows the image in `docker create` is the mode and its arguments.
///
/// # Panics
/// When it can't be built, with what the compiler or Docker said.
pub fn probe_image() -> String {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(build).clone()
}

fn build() -> String {
    let whole: String = SOURCES.iter().map(|(_, source)| *source).collect();
    let digest: String = Sha256::digest(whole)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let image = format!("skep-test/probe:{digest}");
    // Tests run in processes of their own: the first builds, the others wait.
    let lock = File::create(std::env::temp_dir().join(format!("skep-test-probe-{digest}.lock")))
        .expect("a lock file");
    lock.lock().expect("the lock of the probe's image");
    let known = Command::new("docker")
        .args(["image", "inspect", &image])
        .output()
        .expect("the docker command");
    if !known.status.success() {
        let directory = tempfile::tempdir().expect("a directory for the build");
        compile(directory.path());
        std::fs::write(directory.path().join("Dockerfile"), DOCKERFILE).expect("the Dockerfile");
        std::fs::create_dir(directory.path().join("tmp")).expect("an empty directory");
        run(Command::new("docker")
            .args(["build", "-q", "-t", &image, "."])
            .current_dir(directory.path()));
    }
    image
}

fn compile(directory: &Path) {
    for (name, source) in SOURCES {
        std::fs::write(directory.join(name), source).expect("the probe's source");
    }
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let flags = [
        "--edition=2024",
        "-O",
        "-Cpanic=abort",
        "-Cstrip=symbols",
        "-Ctarget-feature=+crt-static",
    ];
    run(Command::new(compiler)
        .args(flags)
        .arg("-o")
        .arg(directory.join("probe"))
        .arg(directory.join("main.rs")));
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
