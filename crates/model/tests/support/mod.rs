//! Templates for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use skep_model::{Function, Revision, Template, TemplateId};

/// A template with these labels, and `skep.function=hello`.
pub(crate) fn template(labels: &[(&str, &str)]) -> Template {
    let own = [("skep.function", "hello")];
    Template {
        id: TemplateId("0123456789abcdef".into()),
        name: "parked".into(),
        created: Timestamp::UNIX_EPOCH,
        labels: own
            .iter()
            .chain(labels)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        image_labels: BTreeMap::new(),
        image_id: "sha256:0".into(),
        image: "image:tag".into(),
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: None,
        fixed_address: false,
        network_mode: "bridge".into(),
        networks: Vec::new(),
        memory: None,
        copied: None,
        inspect: "{}".into(),
    }
}

/// Reads a template.
pub(crate) fn read(template: Template) -> Result<Function, Vec<String>> {
    Function::from_template(Arc::new(template), Revision::of(b"definition"))
}

/// The function with these labels; the test fails where they are not valid.
pub(crate) fn function(labels: &[(&str, &str)]) -> Function {
    read(template(labels)).unwrap_or_else(|reasons| panic!("{labels:?}: {reasons:?}"))
}

/// Why these labels are not valid.
pub(crate) fn reasons(labels: &[(&str, &str)]) -> Vec<String> {
    read(template(labels))
        .err()
        .unwrap_or_else(|| panic!("{labels:?} is valid"))
}
