//! Which step brings a node from what is there to what should be. No I/O.

/// An agent's container on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The digest of how it was to be run.
    pub(crate) digest: String,
    pub(crate) state: State,
}

/// As far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Made and never started, or ended.
    Still,
    /// The engine removes it already.
    Going,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything is as it should be: this one is kept.
    Keep(String),
    /// This one is told to end, and is waited for.
    End(String),
    /// This one, which doesn't run, is removed.
    Remove(String),
    /// One is on its way out, and its name with it.
    Wait,
    /// One is made and started.
    Start,
}

/// The next step towards exactly one agent that is run as `wanted`.
pub(crate) fn step(wanted: &str, found: &[Found]) -> Step {
    let running = || found.iter().filter(|agent| agent.state == State::Running);
    let kept = running().find(|agent| agent.digest == wanted);
    if let Some(other) = running().find(|agent| kept.is_none_or(|kept| kept.id != agent.id)) {
        return Step::End(other.id.clone());
    }
    if let Some(still) = found.iter().find(|agent| agent.state == State::Still) {
        return Step::Remove(still.id.clone());
    }
    match kept {
        Some(kept) => Step::Keep(kept.id.clone()),
        None if found.is_empty() => Step::Start,
        None => Step::Wait,
    }
}

/// A task of the launcher's service on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) task: String,
    /// When its container was created, in seconds since 1970.
    pub(crate) created: i64,
}

/// Whether the task is the one that acts: the newest. Of two of one second it is the one with the greater id.
pub(crate) fn acts(task: &str, running: &[Task]) -> bool {
    running
        .iter()
        .max_by_key(|candidate| (candidate.created, &candidate.task))
        .is_none_or(|newest| newest.task == task)
}

#[cfg(test)]
mod tests {
    use super::{Found, State, Step, Task, acts, step};

    fn found(id: &str, digest: &str, state: State) -> Found {
        Found {
            id: id.to_owned(),
            digest: digest.to_owned(),
            state,
        }
    }

    #[test]
    fn an_agent_is_started_where_there_is_none() {
        assert_eq!(step("new", &[]), Step::Start);
    }

    #[test]
    fn one_that_is_as_it_should_be_is_adopted() {
        assert_eq!(
            step("same", &[found("a", "same", State::Running)]),
            Step::Keep("a".into())
        );
    }

    #[test]
    fn one_that_is_run_differently_ends_before_its_successor_starts() {
        assert_eq!(
            step("new", &[found("a", "old", State::Running)]),
            Step::End("a".into())
        );
    }

    #[test]
    fn what_does_not_run_is_removed_first_as_it_has_the_name() {
        assert_eq!(
            step("new", &[found("a", "new", State::Still)]),
            Step::Remove("a".into())
        );
        assert_eq!(step("new", &[found("a", "new", State::Going)]), Step::Wait);
    }

    #[test]
    fn of_two_that_are_right_one_stays() {
        let both = [
            found("a", "same", State::Running),
            found("b", "same", State::Running),
        ];
        assert_eq!(step("same", &both), Step::End("b".into()));
    }

    #[test]
    fn of_two_launchers_the_newer_acts() {
        let task = |task: &str, created| Task {
            task: task.to_owned(),
            created,
        };
        let both = [task("old", 10), task("new", 11)];
        assert!(acts("new", &both));
        assert!(!acts("old", &both));
        assert!(acts("b", &[task("a", 10), task("b", 10)]));
        assert!(acts("alone", &[]));
    }
}
