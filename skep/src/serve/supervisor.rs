//! Background tasks, each with a name: none of them may end unnoticed.

use std::time::Duration;

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// How long parts may take to end that were told to and have no work any more: an engine that is busy takes its time
/// to remove what they kept there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Owns the tasks that make up a running Skep.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    tasks: JoinSet<&'static str>,
    running: Vec<&'static str>,
}

impl Supervisor {
    /// Runs a part of Skep. `name` is what the operator reads if it ends before its time.
    pub(super) fn watch(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.running.push(name);
        self.tasks.spawn(async move {
            part.await;
            name
        })
    }

    /// The next part that has ended, which is none of those that run any more.
    async fn next(&mut self) -> Option<Result<&'static str, JoinError>> {
        let ended = self.tasks.join_next().await?;
        if let Ok(name) = ended {
            self.running.retain(|running| *running != name);
        }
        Some(ended)
    }

    /// Returns when any part has ended, which none does by itself; the text says which, and why if that is known.
    pub(super) async fn failed(&mut self) -> String {
        match self.next().await {
            Some(Ok(name)) => format!("the {name} ended by itself, which it never should"),
            Some(Err(error)) => describe(error),
            // Nothing is watched, so nothing can fail.
            None => std::future::pending().await,
        }
    }

    /// Waits for one part to end, which was told to. Another that fails meanwhile is spoken of, and no more: the
    /// end is under way.
    pub(super) async fn until_ended(&mut self, part: &str) {
        while let Some(ended) = self.next().await {
            match ended {
                Ok(name) if name == part => return,
                Ok(name) => tracing::error!("the {name} ended before its time"),
                Err(error) => tracing::error!("{}", describe(error)),
            }
        }
    }

    /// Waits for every part to end, as all were told to, but no longer than [`PATIENCE`]; then what is left is cut
    /// short. That is safe at any moment, as a crash is.
    pub(super) async fn ended(mut self) {
        let ending = async {
            while let Some(ended) = self.next().await {
                if let Err(error) = ended
                    && !error.is_cancelled()
                {
                    tracing::error!("{}", describe(error));
                }
            }
        };
        if tokio::time::timeout(PATIENCE, ending).await.is_err() {
            tracing::warn!(
                "cut short, as it takes too long to end: {}",
                self.running.join(", ")
            );
            self.tasks.shutdown().await;
        }
    }
}

fn describe(error: JoinError) -> String {
    if !error.is_panic() {
        return "a part of Skep was cancelled, which none ever should be".to_owned();
    }
    let panic = error.into_panic();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "a part of Skep failed: {}",
        text.unwrap_or_else(|| "no reason was given".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_is_named() {
        let mut supervisor = Supervisor::default();
        supervisor.watch("patient part", std::future::pending());
        supervisor.watch("hasty part", async {});
        assert_eq!(
            supervisor.failed().await,
            "the hasty part ended by itself, which it never should"
        );
    }

    #[tokio::test]
    async fn a_part_that_panics_says_why() {
        let mut supervisor = Supervisor::default();
        supervisor.watch("part", async { panic!("out of luck") });
        assert_eq!(supervisor.failed().await, "a part of Skep failed: out of luck");
    }
}
