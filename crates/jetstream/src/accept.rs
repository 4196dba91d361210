//! Accepting an invocation, and looking at one.

use skep_model::{InvocationId, Record, Status};
use skep_store::{Key, KeyHash, NewInvocation, StoreError, StoredResponse};

use crate::error::away;
use crate::message::{Kept, Work};
use crate::queue::Inner;
use crate::streams::Written;

/// What stands in the stream of an invocation.
pub(crate) struct Found {
    pub(crate) kept: Kept,
    pub(crate) sequence: u64,
    payload: bytes::Bytes,
}

impl Inner {
    /// What is to be run and what is known of it are written at the same time; the caller has its 202 when both are
    /// safe. Where only one of them came to be, the caller was told that nothing was accepted; `sweep` finds it.
    pub(crate) async fn accept(&self, mut new: NewInvocation) -> Result<(), StoreError> {
        new.record.status = Status::Queued;
        new.record.attempts = 0;
        if !self.is_ready() {
            return Err(away("accept an invocation"));
        }
        let function = new.record.function.clone();
        self.live().reserve(&function, new.backlog)?;
        let _place = Place(self, &function);
        let payload = Work::write(&new);
        let Some((head, _)) = Work::read(&payload, |_| skep_store::Body::empty()) else {
            return Err(crate::error::said(
                "accept an invocation",
                "it can't be written as a message",
            ));
        };
        let id = new.record.id;
        let kept = Kept::of(&head, new.record.clone());
        let (names, streams) = (&self.streams.names, &self.streams);
        let (name, known) = (id.to_string(), format!("{id}.accepted"));
        let work = async_nats::jetstream::message::PublishMessage::build().payload(payload);
        let first = kept.write(bytes::Bytes::new()).expected_last_subject_sequence(0);
        let (work, record) = tokio::try_join!(
            streams.write("accept an invocation", &name, names.work(&function), work),
            streams.write("accept an invocation", &known, names.record(id), first),
        )?;
        let (Written::At(_), Written::At(sequence)) = (work, record) else {
            return Err(crate::error::said("accept an invocation", "its id is another's"));
        };
        new.request.body.keep();
        self.metrics.accepted.inc();
        self.note(&kept, sequence);
        Ok(())
    }

    /// Takes note of what was written.
    pub(crate) fn note(&self, kept: &Kept, sequence: u64) {
        let record = &kept.record;
        let body = kept.request_body.as_ref().map(|body| body.name.as_str());
        let more = self
            .live()
            .note(record.id, &record.function, record.status, sequence, body);
        if more {
            self.work.send_replace(());
        }
    }

    /// What is known of an invocation.
    pub(crate) async fn find(&self, id: InvocationId) -> Result<Option<Found>, StoreError> {
        let Some(message) = self.streams.last_record(&self.streams.names.record(id)).await? else {
            return Ok(None);
        };
        Ok(Kept::read(&message.headers).map(|kept| Found {
            kept,
            sequence: message.sequence,
            payload: message.payload,
        }))
    }

    /// What is known of an invocation, and its response, for whoever has the key.
    pub(crate) async fn result(
        &self,
        id: InvocationId,
        key: &Key,
    ) -> Result<Option<(Record, Option<StoredResponse>)>, StoreError> {
        let Some(found) = self.find(id).await? else {
            return Ok(None);
        };
        let hash: KeyHash = key.hash();
        if !hash.matches(&found.kept.key_hash()) {
            return Ok(None);
        }
        let stored = found
            .kept
            .stored(&found.payload, |large| self.results.stored(large));
        Ok(Some((found.kept.record, stored)))
    }
}

/// A place in a function's backlog while it is written.
struct Place<'a>(&'a Inner, &'a str);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.live().unreserve(self.1);
    }
}
