//! How an invocation ended, for the gateway that keeps its record: an asynchronous one's belongs to whoever accepted it.

use http::HeaderName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skep_model::{Ending, InstanceId, Phases};

use crate::field::Field;

/// The trailer with the [`Outcome`], behind the body of every answer to an invocation whose trigger is `async`.
pub const OUTCOME: HeaderName = HeaderName::from_static("skep-outcome");

/// What only the node that ran it knows. A field that a newer agent adds is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The revision that ran.
    pub revision: Option<String>,
    /// The instance that served it.
    pub instance: Option<InstanceId>,
    /// When an instance got it.
    pub started: Option<Timestamp>,
    /// Where the time went on the node.
    pub phases: Phases,
}

impl Field for Outcome {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use skep_model::EndingKind;

    use super::*;

    #[test]
    fn an_outcome_is_read_as_it_was_written() {
        let outcome = Outcome {
            ending: Ending {
                kind: EndingKind::ExitCode,
                problem: None,
                exit_code: Some(3),
                http_status: Some(500),
                detail: Some("The function exited with code 3.".to_owned()),
            },
            revision: Some("0123456789ab".to_owned()),
            instance: Some(InstanceId::generate()),
            started: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            phases: Phases {
                handler: Some(std::time::Duration::from_micros(1500)),
                ..Phases::default()
            },
        };
        assert_eq!(Outcome::read(&outcome.header()).unwrap(), outcome);
        assert!(Outcome::read(&HeaderValue::from_static("e30")).is_err());
    }
}
