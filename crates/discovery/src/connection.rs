//! How things stand with the engine, for `readyz`, `doctor` and the metrics.

use jiff::Timestamp;

/// The bond with the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Whether events arrive and the engine answers.
    pub connected: bool,
    /// Since when `connected` is what it is.
    pub since: Timestamp,
    /// Whether the templates were read at least once: before that the catalogue says nothing.
    pub listed: bool,
    /// Why there is no connection, or what went wrong last; for an operator.
    pub problem: Option<String>,
}

impl Connection {
    /// There was none yet.
    pub fn never() -> Self {
        Self {
            connected: false,
            since: Timestamp::now(),
            listed: false,
            problem: None,
        }
    }

    /// It answers.
    pub fn gained(&mut self) {
        if !self.connected {
            self.since = Timestamp::now();
        }
        self.connected = true;
        self.problem = None;
    }

    /// It broke; `problem` says why.
    pub fn lost(&mut self, problem: String) {
        if self.connected {
            self.since = Timestamp::now();
        }
        self.connected = false;
        self.problem = Some(problem);
    }
}
