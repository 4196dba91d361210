//! The OpenAPI document in the repository is the one that the code makes.

use std::path::Path;

/// Set it to anything to write the document anew.
const REGENERATE: &str = "SKEP_REGENERATE";

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = format!(
        "{}\n",
        serde_json::to_string_pretty(&skep_control::document()).unwrap()
    );
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openapi.json is not what the code says: run the tests once with {REGENERATE}=1"
    );
}
