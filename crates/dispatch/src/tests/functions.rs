//! Functions for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use skep_model::{Function, Handler, Recycle, Revision, Template, TemplateId};

/// An `http` function with every default, and what the test changes about it.
pub(crate) fn function(name: &str, change: impl FnOnce(&mut Function)) -> Arc<Function> {
    let labels = BTreeMap::from([("skep.function".to_owned(), name.to_owned())]);
    let template = Template {
        id: TemplateId("0123456789abcdef".into()),
        name: format!("{name}-template"),
        created: Timestamp::UNIX_EPOCH,
        labels,
        image_labels: BTreeMap::new(),
        image_id: "sha256:0".into(),
        image: "image".into(),
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: None,
        fixed_address: false,
        network_mode: "bridge".into(),
        networks: Vec::new(),
        memory: Some(1),
        copied: None,
        inspect: "{}".into(),
    };
    let mut function =
        Function::from_template(Arc::new(template), Revision::of(b"1")).expect("the defaults are valid");
    change(&mut function);
    Arc::new(function)
}

/// Sets the memory limit of a function.
pub(crate) fn memory(function: &mut Function, bytes: Option<u64>) {
    Arc::make_mut(&mut function.template).memory = bytes;
}

/// Makes a function an `exec` one.
pub(crate) fn exec(function: &mut Function) {
    function.settings.handler = Handler::Exec;
}

/// Makes a function's instances reused until idle.
pub(crate) fn reused(function: &mut Function) {
    function.settings.recycle = Recycle::Idle;
    function.settings.idle = Duration::from_secs(60);
}
