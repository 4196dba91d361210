//! The classic worker: waits at the queue around the clock. It moves a vote to
//! a second list before it writes it down, so that a crash between the two
//! loses nothing, and starts over whenever the queue or the database goes away.

use std::time::Duration;

use anyhow::Context;
use postgres::error::SqlState;
use record_vote::{Vote, connect, record};
use redis::Commands;

const WAITING: &str = "votes";
const IN_HAND: &str = "votes-in-hand";

fn main() {
    loop {
        if let Err(error) = work() {
            eprintln!("{error:#}; trying again in a second");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Takes votes from the queue until something breaks.
fn work() -> anyhow::Result<()> {
    let url = std::env::var("QUEUE_URL").unwrap_or_else(|_| "redis://queue/".to_owned());
    let mut queue = redis::Client::open(url)?
        .get_connection()
        .context("the queue does not answer")?;
    let mut database = connect(Duration::from_secs(45))?;

    // What a worker before this one had in hand comes first.
    while let Some(text) = queue.lindex::<_, Option<String>>(IN_HAND, -1)? {
        finish(&mut queue, &mut database, &text)?;
    }
    loop {
        let text: String = queue.brpoplpush(WAITING, IN_HAND, 0.0)?;
        finish(&mut queue, &mut database, &text)?;
    }
}

/// Writes one vote down, then forgets it. What is no vote, or one that the
/// database will never take, is said and dropped: it would stop the queue.
fn finish(queue: &mut redis::Connection, database: &mut postgres::Client, text: &str) -> anyhow::Result<()> {
    match serde_json::from_str::<Vote>(text) {
        Ok(vote) => match record(database, &vote) {
            Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {
                eprintln!("refused {vote:?}: {error}");
            }
            other => other.context("could not record a vote")?,
        },
        Err(error) => eprintln!("not a vote: {text:?}: {error}"),
    }
    queue.lrem::<_, _, ()>(IN_HAND, 1, text)?;
    Ok(())
}
