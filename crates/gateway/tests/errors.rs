//! The pages about errors are held against the codes.

use std::collections::BTreeSet;
use std::path::Path;

use skep_model::ProblemCode;

fn pages() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors")
}

#[test]
fn every_code_has_its_page_which_says_the_same() {
    for code in ProblemCode::ALL {
        let path = pages().join(format!("{}.md", code.as_str()));
        let page =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let heading = format!(
            "# {}\n\nStatus {}: *{}*\n",
            code.as_str(),
            code.status().as_u16(),
            code.title()
        );
        assert!(
            page.starts_with(&heading),
            "{} does not begin with\n{heading}",
            path.display()
        );
    }
}

#[test]
fn no_page_is_left_of_a_code_that_is_gone() {
    let known: BTreeSet<String> = ProblemCode::ALL
        .iter()
        .map(|code| format!("{}.md", code.as_str()))
        .chain(["README.md".to_owned()])
        .collect();
    for entry in std::fs::read_dir(pages()).expect("the pages") {
        let name = entry.expect("a page").file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name), "docs/errors/{name} belongs to no code");
    }
}

#[test]
fn the_list_names_every_code_with_its_status() {
    let list = std::fs::read_to_string(pages().join("README.md")).expect("the list");
    for code in ProblemCode::ALL {
        let (text, status) = (code.as_str(), code.status().as_u16());
        let line = format!("| [{text}]({text}.md) | {status} | {} |", code.title());
        assert!(list.contains(&line), "docs/errors/README.md lacks\n{line}");
    }
}
