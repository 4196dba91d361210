//! Records of invocations that never ran, for tests of what keeps them.

use std::time::Duration;

use jiff::Timestamp;
use skep_model::{Ending, EndingKind, InstanceId, InvocationId, Phases, Record, Status, Trigger};

/// The record of an invocation that waits, with a parent and a revision.
pub fn record(function: &str, trigger: Trigger) -> Record {
    Record {
        id: InvocationId::generate(),
        function: function.to_owned(),
        revision: Some("0123456789ab".to_owned()),
        parent: Some(InvocationId::generate()),
        trigger,
        status: Status::Queued,
        method: "POST".to_owned(),
        path: "/work?n=1".to_owned(),
        received: now(),
        started: None,
        ended: None,
        instance: None,
        phases: Phases::default(),
        attempts: 0,
        ending: None,
    }
}

/// The same when it has ended, with everything that a record may have by then.
pub fn ended(record: Record, kind: EndingKind) -> Record {
    Record {
        started: Some(now()),
        instance: Some(InstanceId::generate()),
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
