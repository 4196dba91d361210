//! Functions that no engine knows, for tests of what is decided about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use skep_model::{Function, Revision, Template, TemplateId};

/// A template as Docker might have it, with these labels beside `skep.function`.
pub fn template(name: &str, labels: &[(&str, &str)]) -> Template {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut labels: BTreeMap<String, String> = labels.iter().map(text).collect();
    labels.insert("skep.function".to_owned(), name.to_owned());
    Template {
        id: TemplateId(format!("{name}-template").into()),
        name: name.to_owned(),
        created: Timestamp::UNIX_EPOCH,
        labels,
        image_labels: BTreeMap::new(),
        image_id: "sha256:0".to_owned(),
        image: "image".to_owned(),
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: None,
        fixed_address: false,
        network_mode: "bridge".to_owned(),
        networks: Vec::new(),
        memory: None,
        copied: None,
        inspect: "{}".into(),
    }
}

/// The function of such a template.
///
/// # Panics
/// When the labels are not valid.
pub fn function(name: &str, labels: &[(&str, &str)]) -> Function {
    let template = Arc::new(template(name, labels));
    Function::from_template(template, Revision::of(name.as_bytes())).expect("a valid function")
}
