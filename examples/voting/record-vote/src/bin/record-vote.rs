//! The function: one vote, written down, done. It comes as JSON on standard
//! input, or, where another container starts this one, as two arguments:
//! `record-vote VOTER CHOICE`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use record_vote::{Vote, connect, record};

fn main() -> anyhow::Result<()> {
    let vote = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [voter, choice] => Vote {
            voter: voter.clone(),
            choice: choice.clone(),
            cast_at: i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?,
        },
        _ => serde_json::from_reader(std::io::stdin()).context("standard input is not a vote")?,
    };
    let mut database = connect(Duration::from_secs(45))?;
    record(&mut database, &vote).with_context(|| format!("could not record {vote:?}"))
}
