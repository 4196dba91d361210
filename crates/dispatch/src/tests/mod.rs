//! The driver against an engine that does what the test says, on a paused clock.

mod ending;
mod engine;
pub(crate) mod functions;
mod knowing;
mod logs;
mod serving;
mod starting;

use std::sync::Arc;
use std::time::Duration;

use skep_model::{Function, InvocationId, ProblemCode};

use self::engine::FakeEngine;
use crate::{Config, Dispatcher, Refusal, Work};

const SECOND: Duration = Duration::from_secs(1);

fn dispatcher(config: Config) -> (Dispatcher, Arc<FakeEngine>) {
    let engine = Arc::new(FakeEngine::default());
    let journal = Arc::clone(&engine);
    (Dispatcher::new(config, Arc::clone(&engine) as _, journal), engine)
}

fn work(function: &Function) -> Work {
    Work {
        invocation: InvocationId::generate(),
        environment: vec![("A".into(), "b".into())],
        stdio: crate::pool::stdio(function),
        background: false,
    }
}

fn code(refusal: Result<crate::Lease, Refusal>) -> ProblemCode {
    refusal.expect_err("there is nothing to have").problem.code
}
