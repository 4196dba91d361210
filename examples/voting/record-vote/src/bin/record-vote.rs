//! The function: one vote on standard input, written down, done.

use std::time::Duration;

use anyhow::Context;
use record_vote::{Vote, connect, record};

fn main() -> anyhow::Result<()> {
    let vote: Vote = serde_json::from_reader(std::io::stdin()).context("standard input is not a vote")?;
    let mut database = connect(Duration::from_secs(45))?;
    record(&mut database, &vote).with_context(|| format!("could not record {vote:?}"))
}
