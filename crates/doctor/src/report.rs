//! What the checks found.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Skep works, and something is worth knowing.
    Warn,
    /// Skep, or a part of it, does not work.
    Fail,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, a stable word or two.
    pub check: &'static str,
    /// How it came out.
    pub level: Level,
    /// What was found, and what it means for the user.
    pub finding: String,
    /// What to do, where there is something.
    pub advice: Option<String>,
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The lines.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst that was found.
    pub fn worst(&self) -> Level {
        self.findings
            .iter()
            .map(|finding| finding.level)
            .max()
            .unwrap_or(Level::Ok)
    }

    pub(crate) fn ok(&mut self, check: &'static str, finding: impl Into<String>) {
        self.findings.push(Finding {
            check,
            level: Level::Ok,
            finding: finding.into(),
            advice: None,
        });
    }

    pub(crate) fn warn(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (finding, advice) = (finding.into(), Some(advice.into()));
        self.findings.push(Finding {
            check,
            level: Level::Warn,
            finding,
            advice,
        });
    }

    pub(crate) fn fail(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (finding, advice) = (finding.into(), Some(advice.into()));
        self.findings.push(Finding {
            check,
            level: Level::Fail,
            finding,
            advice,
        });
    }
}
