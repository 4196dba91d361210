//! Waiting for what others bring about and tell nobody of.

use std::time::{Duration, Instant};

/// Far more than anything takes, also in an emulated machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long it is until what is quick to tell is asked again.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        // The state is another's: it can only be asked for.
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same where there is no runtime, every `pause` and for no longer than `patience`; `None` where there was no answer
/// in time.
pub fn within<T>(patience: Duration, pause: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if begin.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(pause);
    }
}
