//! Writes a vote into PostgreSQL: what the two programs of this example share.
//! `record-vote` is the serverless one: one vote from standard input, then it
//! ends. `worker` is the classic one: it waits at a queue for ever. This crate
//! owns the one statement that changes a vote; it never reads the tally.

use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::{Client, NoTls};
use serde::Deserialize;

/// One browser's choice, as the page that took it wrote it down.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Vote {
    /// The browser, from its cookie.
    pub voter: String,
    /// `tea` or `coffee`; the database refuses anything else.
    pub choice: String,
    /// When the page took it, in microseconds since 1970.
    pub cast_at: i64,
}

/// Connects to the database named by `DATABASE_URL`, and keeps trying for as
/// long as `patience` allows: a vote was acknowledged already, so a database
/// that is just starting must not lose it.
pub fn connect(patience: Duration) -> anyhow::Result<Client> {
    let url = std::env::var("DATABASE_URL")
        .context("DATABASE_URL is not set: it names the database, as postgres://USER:PASSWORD@HOST/NAME")?;
    let give_up = Instant::now() + patience;
    loop {
        match Client::connect(&url, NoTls) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() >= give_up => {
                return Err(error).context("the database does not answer");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Makes the vote its browser's vote, unless a later one is there already: so
/// votes may arrive in any order, and more than once.
pub fn record(client: &mut Client, vote: &Vote) -> Result<(), postgres::Error> {
    client.execute(
        "INSERT INTO votes (voter, choice, cast_at) VALUES ($1, $2, $3)
         ON CONFLICT (voter) DO UPDATE SET choice = excluded.choice, cast_at = excluded.cast_at
         WHERE votes.cast_at < excluded.cast_at",
        &[&vote.voter, &vote.choice, &vote.cast_at],
    )?;
    Ok(())
}
