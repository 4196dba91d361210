//! Claiming work, and putting it back.

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use skep_model::{InvocationId, Status};
use skep_store::{Accepted, Request, StoreError};
use tokio::time::{Instant, sleep, timeout};

use crate::error::{away, cannot, said};
use crate::held::Held;
use crate::message::{Kept, Work};
use crate::queue::Inner;
use crate::streams::{ANSWER, PAUSE, Written};

const CLAIM: &str = "claim invocations";

/// One that was given out, with what it is.
pub(crate) struct Given {
    pub(crate) message: Message,
    pub(crate) work: Work,
    pub(crate) request: Request,
}

impl Inner {
    /// Claims up to so many. Where the future is dropped, what was given out for it is given out again after
    /// [`crate::Config::ack_wait`], since nobody says that it is in work.
    pub(crate) async fn claim(&self, function: &str, limit: usize) -> Result<Vec<Accepted>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let given = self.fetch(function, limit).await?;
        let began = join_all(given.into_iter().map(|given| self.begin(given))).await;
        let (mut claimed, mut lost, mut failed) = (Vec::new(), 0, None);
        for began in began {
            match began {
                Ok(Some((held, request, was))) => {
                    // One that was begun before and is given out again: whoever had it is gone.
                    lost += u64::from(was == Some(Status::Running));
                    self.note(&held.kept, held.sequence);
                    claimed.push(Accepted {
                        record: held.kept.record.clone(),
                        request,
                    });
                    self.live().here(function, 1);
                    self.held.put(held);
                }
                Ok(None) => lost += 1,
                Err(error) => failed = Some(error),
            }
        }
        self.live()
            .probed(function, limit as u64, claimed.len() as u64, lost);
        if lost > 0 {
            self.work.send_replace(());
        }
        match failed {
            Some(error) if claimed.is_empty() => Err(error),
            _ => Ok(claimed),
        }
    }

    /// What the queue gives out at once, the oldest first. A consumer that was made just now, or whose leader was
    /// lost, takes a moment to answer.
    pub(crate) async fn fetch(&self, function: &str, limit: usize) -> Result<Vec<Given>, StoreError> {
        let began = Instant::now();
        let messages = loop {
            if !self.streams.is_connected() {
                return Err(away(CLAIM));
            }
            let error = match self.ask_for(function, limit).await {
                Ok(messages) => break messages,
                Err(error) => error,
            };
            self.forget_consumer(function);
            if began.elapsed() > ANSWER {
                return Err(error);
            }
            sleep(PAUSE).await;
        };
        let mut given = Vec::new();
        for message in messages {
            match Work::read(&message.payload, |large| self.requests.stored(large)) {
                Some((work, request)) => given.push(Given {
                    message,
                    work,
                    request,
                }),
                None => {
                    tracing::error!(
                        function,
                        "a message in the queue is no invocation, and is removed"
                    );
                    let _ = message.ack_with(AckKind::Term).await;
                }
            }
        }
        Ok(given)
    }

    async fn ask_for(&self, function: &str, limit: usize) -> Result<Vec<Message>, StoreError> {
        let consumer = self.consumer(function).await?;
        let asked = consumer.fetch().max_messages(limit).messages();
        let asked = timeout(ANSWER, asked).await.map_err(|_| away(CLAIM))?;
        let mut batch = asked.map_err(cannot(CLAIM))?;
        let mut messages = Vec::new();
        loop {
            match timeout(ANSWER, batch.next()).await {
                Ok(Some(Ok(message))) => messages.push(message),
                Ok(None) => return Ok(messages),
                // What was given out is claimed, whatever became of the rest.
                _ if !messages.is_empty() => return Ok(messages),
                Ok(Some(Err(error))) => return Err(said(CLAIM, error.to_string())),
                Err(_) => return Err(away(CLAIM)),
            }
        }
    }

    /// Writes that one runs. `None` where it has ended already.
    async fn begin(&self, given: Given) -> Result<Option<(Held, Request, Option<Status>)>, StoreError> {
        let Given {
            message,
            work,
            request,
        } = given;
        match self.mark(&work).await {
            Ok(Some((kept, sequence, was))) => {
                let (_, acker) = message.split();
                let held = Held {
                    acker,
                    kept,
                    sequence,
                };
                Ok(Some((held, request, was)))
            }
            Ok(None) => {
                let _ = message.double_ack().await;
                Ok(None)
            }
            Err(error) => {
                let _ = message.ack_with(AckKind::Nak(None)).await;
                Err(error)
            }
        }
    }

    async fn mark(&self, work: &Work) -> Result<Option<(Kept, u64, Option<Status>)>, StoreError> {
        let id = work.record.id;
        let name = uuid::Uuid::now_v7().to_string();
        loop {
            let found = self.find(id).await?;
            let (mut record, sequence) = match &found {
                Some(found) => (found.kept.record.clone(), found.sequence),
                None => (work.record.clone(), 0),
            };
            if record.status.is_end() {
                if let Some(found) = found {
                    self.note(&found.kept, found.sequence);
                }
                return Ok(None);
            }
            let was = found.is_some().then_some(record.status);
            record.status = Status::Running;
            record.attempts += 1;
            let kept = Kept::of(work, record);
            match self.rewrite(CLAIM, &name, &kept, Bytes::new(), sequence).await? {
                Written::At(sequence) => return Ok(Some((kept, sequence, was))),
                Written::Overtaken => {}
            }
        }
    }

    /// Writes what is known of an invocation in place of what stands at `sequence`.
    pub(crate) async fn rewrite(
        &self,
        action: &'static str,
        name: &str,
        kept: &Kept,
        payload: Bytes,
        sequence: u64,
    ) -> Result<Written, StoreError> {
        let message = kept.write(payload).expected_last_subject_sequence(sequence);
        // What follows another word is another write.
        let name = format!("{name}.{sequence}");
        let subject = self.streams.names.record(kept.record.id);
        self.streams.write(action, &name, subject, message).await
    }

    /// Puts a claimed one back, whether its attempt counts or not; what was not claimed here is left alone.
    pub(crate) async fn put_back(&self, id: InvocationId, counts: bool) -> Result<(), StoreError> {
        let Some(held) = self.held.get(id) else {
            return Ok(());
        };
        let mut kept = held.kept.clone();
        kept.record.status = Status::Queued;
        kept.record.attempts = kept.record.attempts.saturating_sub(u32::from(!counts));
        let name = uuid::Uuid::now_v7().to_string();
        let written = self
            .rewrite(
                "release the invocation",
                &name,
                &kept,
                Bytes::new(),
                held.sequence,
            )
            .await?;
        self.held.take(id);
        self.live().here(&kept.record.function, -1);
        // The answer is waited for: whoever claims next gets this one first.
        let given_back = held.acker.double_ack_with(AckKind::Nak(None)).await;
        if let Err(error) = given_back {
            tracing::debug!(invocation = %id, %error, "the queue finds out by itself that an invocation waits");
        }
        if let Written::At(sequence) = written {
            self.note(&kept, sequence);
        }
        Ok(())
    }

    async fn consumer(&self, function: &str) -> Result<PullConsumer, StoreError> {
        let known = self.consumers().get(function).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let made = self.streams.consumer(function, self.config.ack_wait).await?;
        self.consumers().insert(function.to_owned(), made.clone());
        Ok(made)
    }

    fn forget_consumer(&self, function: &str) {
        self.consumers().remove(function);
    }

    fn consumers(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, PullConsumer>> {
        self.consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
