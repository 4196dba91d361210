use skep_compose::{LoadOptions, Loaded, Project, Service, load};
use std::path::Path;
use tempfile::TempDir;

/// A directory with files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    directory
}

pub(crate) fn options(directory: &Path) -> LoadOptions {
    LoadOptions {
        project_name: Some(String::from("test")),
        working_directory: directory.to_owned(),
        ..LoadOptions::default()
    }
}

/// Loads one file from a directory of its own.
pub(crate) fn loaded(text: &str) -> Loaded {
    let directory = directory(&[("compose.yaml", text)]);
    load(options(directory.path())).unwrap_or_else(|errors| panic!("{errors}\n---\n{text}"))
}

pub(crate) fn project(text: &str) -> Project {
    loaded(text).project
}

/// The service `web` with these lines, and top-level lines after them.
pub(crate) fn web(lines: &str) -> Service {
    project(&file(lines))
        .services
        .remove("web")
        .expect("the service web")
}

/// A file whose service `web` has these lines.
pub(crate) fn file(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n    image: nginx\n{indented}")
}

/// What is said about a file that cannot be loaded.
pub(crate) fn refusal(text: &str) -> String {
    let directory = directory(&[("compose.yaml", text)]);
    match load(options(directory.path())) {
        Ok(loaded) => panic!("loaded: {:#?}", loaded.project),
        Err(errors) => errors
            .to_string()
            .replace(&directory.path().display().to_string(), "DIR"),
    }
}

pub(crate) fn notes(text: &str) -> Vec<String> {
    loaded(text).notes.iter().map(ToString::to_string).collect()
}
