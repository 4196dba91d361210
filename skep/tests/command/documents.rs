//! The documents: every link leads somewhere, and every test that the specification names exists.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace's folder")
        .to_owned()
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Every `[text](target)` of a document.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some(middle) = rest.find("](") {
        let (before, after) = (&rest[..middle], &rest[middle + 2..]);
        let Some(end) = after.find(')') else { break };
        let label = before.rfind('[').map_or("", |start| &before[start + 1..]);
        links.push((label, &after[..end]));
        rest = &after[end..];
    }
    links
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut files = Vec::new();
    documents(&root().join("docs"), &mut files);
    files.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (_, target) in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if path.contains("://") || path.is_empty() {
                continue;
            }
            if !file.parent().expect("a file is in a folder").join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_test_that_the_specification_names_exists() {
    let docs = root().join("docs");
    let text = std::fs::read_to_string(docs.join("SPECIFICATION.md")).unwrap();
    let mut count = 0;
    for (name, target) in links(&text)
        .into_iter()
        .filter(|(_, target)| target.ends_with(".rs"))
    {
        let source = std::fs::read_to_string(docs.join(target)).unwrap_or_default();
        let bench = target.starts_with("../bench/");
        assert!(
            bench || source.contains(&format!("fn {name}(")),
            "{target} has no test {name}"
        );
        count += 1;
    }
    assert!(count > 50, "the specification names its tests as links: {count}");
}
