//! Records of invocations that never ran, for tests of what keeps them.

use std::time::Duration;

use jiff::Timestamp;
use skep_model::{Ending, EndingKind, InstanceId, InvocationId, Phases, Record, Trigger};

/// The record of an invocation that waits, with a parent and a revision.
pub fn record(function: &str, trigger: Trigger) -> Record {
    let id = InvocationId::generate();
    let (method, path) = ("POST".to_owned(), "/work?n=1".to_owned());
    Record {
        revision: Some("0123456789ab".to_owned()),
        parent: Some(InvocationId::generate()),
        ..Record::queued(id, function.to_owned(), trigger, method, path, now())
    }
}

/// The same when it has ended, with everything that a record may have by then.
pub fn ended(record: Record, kind: EndingKind) -> Record {
    Record {
        started: Some(now()),
        instance: Some(InstanceId::generate()),
        node: Some("node-2".to_owned()),
        phases: Phases {
            handler: Some(Duration::from_micros(1_234)),
            ..record.phases
        },
        ending: Some(Ending {
            exit_code: Some(0),
            http_status: Some(200),
            detail: Some("what an operator should know: größer als erwartet".to_owned()),
            ..Ending::of(kind)
        }),
        ..record
    }
    .closed(now())
}

/// The time, as exactly as it is stored.
///
/// # Panics
/// In the year 10000.
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("a time of now")
}
