//! Functions for tests.

use std::sync::Arc;
use std::time::Duration;

use skep_model::{Function, Handler, Recycle, Revision, Template};

/// An `http` function with every default, and what the test changes about it.
pub(crate) fn function(name: &str, change: impl FnOnce(&mut Function)) -> Arc<Function> {
    let template = Template {
        memory: Some(1),
        ..skep_testing::template(name, &[])
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
