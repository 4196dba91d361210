//! Asynchronous invocations: accepting, claiming, ending and looking at them. What has to follow a commit (counts,
//! files, signals) happens on the writer's thread, so that it does even where the caller went away.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use skep_model::{InvocationId, Record, Status};
use tokio::sync::watch;

use crate::body::BodyWriter;
use crate::counts::Counts;
use crate::error::StoreError;
use crate::invocation::{Accepted, NewInvocation, StoredResponse, Waiting};
use crate::key::Key;
use crate::queue::{self, Finished};
use crate::recover::remove_body;
use crate::spill::Files;
use crate::store::Store;
use crate::writer::Reply;

impl Store {
    /// Takes in the body of a request that is to be accepted; at most [`Config::max_request_body`] bytes.
    pub fn request_body(&self) -> BodyWriter {
        BodyWriter::new(self.files(), self.inner.config.max_request_body)
    }

    /// Takes in the body of a response that is to be stored; at most [`Config::max_response_body`] bytes.
    pub fn response_body(&self) -> BodyWriter {
        BodyWriter::new(self.files(), self.inner.config.max_response_body)
    }

    fn files(&self) -> Arc<Files> {
        Arc::new(Files(self.inner.bodies.clone()))
    }

    /// Accepts an invocation. When this returns `Ok` it is on the disk and will run at least once; on an error it
    /// is not stored. Where the future is dropped it may be either.
    ///
    /// # Errors
    /// `BacklogFull` where as many wait as `skep.backlog` allows; `Database` where the disk refuses.
    pub async fn accept(&self, mut new: NewInvocation) -> Result<(), StoreError> {
        new.record.status = Status::Queued;
        new.record.attempts = 0;
        let inner = &self.inner;
        inner.counts.reserve(&new.record.function, new.backlog)?;
        let reservation = Reservation {
            counts: inner.counts.clone(),
            function: new.record.function.clone(),
            stands: false,
        };
        let (work, news, accepted) = (
            inner.work.clone(),
            inner.news.clone(),
            inner.metrics.accepted.clone(),
        );
        let new = Arc::new(new);
        let row = new.clone();
        let conclude = move |_: &Connection, outcome: Result<(), StoreError>, reply: Reply<()>| {
            let mut reservation = reservation;
            if outcome.is_ok() {
                reservation.stands = true;
                new.request.body.keep();
                accepted.inc();
                work.send_replace(());
                news.send_replace(());
            }
            // Before the answer, so that whoever has it finds the place free and no file left.
            drop((reservation, new));
            reply.give(outcome);
        };
        inner
            .queue
            .run(
                "accept the invocation",
                move |connection| queue::accept(connection, &row),
                conclude,
            )
            .await
    }

    /// Changes whenever there is new work to claim: an accept, a release.
    pub fn work(&self) -> watch::Receiver<()> {
        self.inner.work.subscribe()
    }

    /// Every function with accepted invocations that wait or run, by name. In memory; costs nothing to ask.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.inner.counts.all()
    }

    /// How many accepted invocations wait for a function.
    pub fn queued(&self, function: &str) -> u64 {
        self.inner.counts.get(function).queued
    }

    /// Claims up to `limit` of the invocations that wait for a function, the oldest first: they are running from
    /// now on, until [`Store::finish`] or [`Store::release`]; after a crash they wait again.
    ///
    /// # Errors
    /// `Database` where the disk refuses; nothing is claimed then.
    pub async fn claim(&self, function: &str, limit: usize) -> Result<Vec<Accepted>, StoreError> {
        let (bodies, counts) = (self.inner.bodies.clone(), self.inner.counts.clone());
        let (name, work) = (function.to_owned(), self.inner.work.clone());
        let own = name.clone();
        let apply = move |connection: &Connection| queue::claim(connection, &bodies, &own, limit);
        let conclude =
            move |connection: &Connection, outcome: Result<Vec<Accepted>, StoreError>, reply: Reply<_>| {
                let claimed = match outcome {
                    Ok(claimed) => claimed,
                    Err(error) => return reply.give(Err(error)),
                };
                let count = claimed.len() as u64;
                counts.change(&name, |c| {
                    (c.queued, c.running) = (c.queued.saturating_sub(count), c.running + count)
                });
                // Nobody waits for them any longer: back to their places.
                for accepted in reply.offer(claimed).into_iter().flatten() {
                    if let Ok(Some(_)) = queue::put_back(connection, accepted.record.id, false) {
                        counts.change(&name, |c| {
                            (c.queued, c.running) = (c.queued + 1, c.running.saturating_sub(1))
                        });
                        work.send_replace(());
                    }
                }
            };
        self.inner.queue.run("claim invocations", apply, conclude).await
    }

    /// Puts a claimed invocation back in its place, since it could not be begun; the attempt does not count.
    ///
    /// # Errors
    /// `Database` where the disk refuses: it is still running then.
    pub async fn release(&self, id: InvocationId) -> Result<(), StoreError> {
        self.put_back(id, false).await
    }

    /// Puts a claimed invocation back that was begun and has no end; the attempt counts.
    ///
    /// # Errors
    /// `Database` where the disk refuses: it is still running then.
    pub async fn repeat(&self, id: InvocationId) -> Result<(), StoreError> {
        self.put_back(id, true).await
    }

    async fn put_back(&self, id: InvocationId, attempt_counts: bool) -> Result<(), StoreError> {
        let (counts, work) = (self.inner.counts.clone(), self.inner.work.clone());
        let apply = move |connection: &Connection| queue::put_back(connection, id, attempt_counts);
        let conclude =
            move |_: &Connection, outcome: Result<Option<String>, StoreError>, reply: Reply<()>| {
                if let Ok(Some(function)) = &outcome {
                    counts.change(function, |c| {
                        (c.queued, c.running) = (c.queued + 1, c.running.saturating_sub(1))
                    });
                    work.send_replace(());
                }
                reply.give(outcome.map(|_| ()));
            };
        self.inner
            .queue
            .run("release the invocation", apply, conclude)
            .await
    }

    /// Stores how a claimed invocation ended, together with the response. Durable when this returns `Ok`; may be
    /// tried again after an error. An end that was stored before stands. `record.status` follows from
    /// `record.ending`, `record.ended` is now where it is not set.
    ///
    /// # Errors
    /// `Unknown` where there is no such invocation; `Database` where the disk refuses: it is still running then.
    pub async fn finish(&self, record: Record, response: Option<StoredResponse>) -> Result<(), StoreError> {
        let record = record.closed(Timestamp::now());
        let (id, function) = (record.id, record.function.clone());
        let (counts, bodies) = (self.inner.counts.clone(), self.inner.bodies.clone());
        let (news, ended) = (self.inner.news.clone(), self.inner.metrics.ended.clone());
        let response = Arc::new(response);
        let stored = response.clone();
        let apply =
            move |connection: &Connection| queue::finish(connection, &record, stored.as_ref().as_ref());
        let conclude = move |_: &Connection, outcome: Result<Finished, StoreError>, reply: Reply<()>| {
            reply.give(match outcome {
                Err(error) => Err(error),
                Ok(Finished::Unknown) => Err(StoreError::Unknown(id)),
                Ok(Finished::Before) => Ok(()),
                Ok(Finished::Now(request_file)) => {
                    if let Some(response) = response.as_ref() {
                        response.body.keep();
                    }
                    remove_body(&bodies, request_file);
                    counts.change(&function, |count| count.running = count.running.saturating_sub(1));
                    ended.inc();
                    news.send_replace(());
                    Ok(())
                }
            });
        };
        self.inner.queue.run("store the end", apply, conclude).await
    }

    /// Notes since when a function is gone (the first time stands), or with `None` that it is back.
    ///
    /// # Errors
    /// `Database` where the disk refuses.
    pub async fn set_absent(&self, function: &str, since: Option<Timestamp>) -> Result<(), StoreError> {
        let known = self.inner.counts.get(function).absent_since;
        if known.is_some() == since.is_some() {
            return Ok(());
        }
        let (counts, name) = (self.inner.counts.clone(), function.to_owned());
        let own = name.clone();
        let apply = move |connection: &Connection| queue::set_absent(connection, &own, since);
        let conclude = move |_: &Connection, outcome: Result<(), StoreError>, reply: Reply<()>| {
            if outcome.is_ok() {
                counts.change(&name, |count| count.absent_since = since);
            }
            reply.give(outcome);
        };
        self.inner
            .queue
            .run("note whether the function is there", apply, conclude)
            .await
    }

    /// Ends up to `limit` of the invocations that wait for a function as `function-removed`; gives back how many.
    ///
    /// # Errors
    /// `Database` where the disk refuses; none is ended then.
    pub async fn fail_removed(
        &self,
        function: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let (counts, name) = (self.inner.counts.clone(), function.to_owned());
        let (bodies, own) = (self.inner.bodies.clone(), name.clone());
        let (news, ended) = (self.inner.news.clone(), self.inner.metrics.ended.clone());
        let apply = move |connection: &Connection| queue::fail_removed(connection, &own, now, limit);
        let conclude =
            move |_: &Connection, outcome: Result<(u64, Vec<String>), StoreError>, reply: Reply<u64>| {
                reply.give(outcome.map(|(count, files)| {
                    files
                        .into_iter()
                        .for_each(|file| remove_body(&bodies, Some(file)));
                    counts.change(&name, |c| c.queued = c.queued.saturating_sub(count));
                    ended.inc_by(count);
                    news.send_replace(());
                    count
                }));
            };
        self.inner
            .queue
            .run("end the invocations of a removed function", apply, conclude)
            .await
    }

    /// What is known of an asynchronous invocation, for whoever has its key; `None` where there is none or the key
    /// is another (which of the two is not told).
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn look(&self, id: InvocationId, key: &Key) -> Result<Option<Record>, StoreError> {
        let hash = key.hash();
        let found = self
            .inner
            .readers
            .query(move |connection, _| queue::find(connection, "main", id))
            .await?;
        Ok(found.and_then(|(record, stored)| hash.matches(&stored).then_some(record)))
    }

    /// The record and the stored response for whoever has the key. Without a response it is not finished, or ended
    /// without one (the record's ending says why), or the response was larger than may be stored.
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn result(
        &self,
        id: InvocationId,
        key: &Key,
    ) -> Result<Option<(Record, Option<StoredResponse>)>, StoreError> {
        let Some(record) = self.look(id, key).await? else {
            return Ok(None);
        };
        if !record.status.is_end() {
            return Ok(Some((record, None)));
        }
        let read = move |connection: &Connection, bodies: &Path| queue::response(connection, bodies, id);
        Ok(Some((record, self.inner.readers.query(read).await?)))
    }
}

/// A place in a function's backlog, given back unless its row was committed.
struct Reservation {
    counts: Arc<Counts>,
    function: String,
    stands: bool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.stands {
            self.counts.change(&self.function, |count| {
                count.queued = count.queued.saturating_sub(1)
            });
        }
    }
}
