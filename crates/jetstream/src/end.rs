//! Storing how invocations ended.

use bytes::Bytes;
use jiff::Timestamp;
use skep_model::{Ending, Record};
use skep_store::{StoreError, StoredResponse};

use crate::claim::Given;
use crate::message::{ABSENT, Kept};
use crate::queue::Inner;
use crate::streams::Written;

const END: &str = "store the end";

impl Inner {
    /// Stores an end, and takes the invocation out of the queue. In this order: one that is still in the queue though
    /// it has ended is found out when it is given out again.
    pub(crate) async fn finish(
        &self,
        record: Record,
        response: Option<StoredResponse>,
    ) -> Result<(), StoreError> {
        let record = record.closed(Timestamp::now());
        let id = record.id;
        let held = self.held.get(id);
        let (before, sequence) = match &held {
            Some(held) => (held.kept.clone(), held.sequence),
            None => match self.find(id).await? {
                Some(found) if found.kept.record.status.is_end() => return Ok(()),
                Some(found) => (found.kept, found.sequence),
                None => return Err(StoreError::Unknown(id)),
            },
        };
        let ended = self
            .write_end(before, sequence, &record, response.as_ref())
            .await?;
        if let Some(held) = &held {
            if let Err(error) = held.acker.double_ack().await {
                tracing::debug!(invocation = %id, %error, "an invocation that has ended is in the queue for now");
            }
            self.held.take(id);
            self.live().here(&record.function, -1);
        }
        self.over(&ended);
        Ok(())
    }

    /// Writes the end; gives what stands there now, be it an end that was written before.
    async fn write_end(
        &self,
        mut before: Kept,
        mut sequence: u64,
        end: &Record,
        response: Option<&StoredResponse>,
    ) -> Result<(Kept, u64), StoreError> {
        let name = uuid::Uuid::now_v7().to_string();
        loop {
            let mut kept = Kept {
                record: ended(&before.record, end),
                ..before
            };
            let payload = kept.answered(response);
            if let Written::At(sequence) = self.rewrite(END, &name, &kept, payload, sequence).await? {
                if let Some(response) = response {
                    response.body.keep();
                }
                self.metrics.ended.inc();
                return Ok((kept, sequence));
            }
            match self.find(end.id).await? {
                Some(found) if found.kept.record.status.is_end() => {
                    return Ok((found.kept, found.sequence));
                }
                Some(found) => (before, sequence) = (found.kept, found.sequence),
                // It made room for newer ones.
                None => {
                    kept.response = None;
                    (before, sequence) = (kept, 0);
                }
            }
        }
    }

    /// It has ended, and its request is no longer needed.
    fn over(&self, (kept, sequence): &(Kept, u64)) {
        self.note(kept, *sequence);
        if let Some(body) = &kept.request_body {
            self.requests.throw(&body.name);
        }
    }

    /// Ends up to so many of those that wait for a function that is gone.
    pub(crate) async fn fail_removed(
        &self,
        function: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let given = self.fetch(function, limit).await?;
        let mut count = 0;
        for Given { message, work, .. } in given {
            let id = work.record.id;
            let (before, sequence) = match self.find(id).await? {
                Some(found) => (found.kept, found.sequence),
                None => (Kept::of(&work, work.record.clone()), 0),
            };
            if !before.record.status.is_end() {
                let mut end = before.record.clone();
                end.ending = Some(Ending::function_removed());
                let end = end.closed(now);
                let ended = self.write_end(before, sequence, &end, None).await?;
                self.over(&ended);
            }
            let _ = message.double_ack().await;
            count += 1;
        }
        self.live().probed(function, limit as u64, count, count);
        Ok(count)
    }

    /// Notes since when a function is gone; of two gateways that say so at once the first counts.
    pub(crate) async fn set_absent(
        &self,
        function: &str,
        since: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (known, sequence) = self.live().absent_at(function);
        if known.is_some() == since.is_some() {
            return Ok(());
        }
        let text = since.map_or_else(|| "-".to_owned(), |since| since.to_string());
        let message = async_nats::jetstream::message::PublishMessage::build()
            .payload(Bytes::new())
            .header(ABSENT, text)
            .expected_last_subject_sequence(sequence);
        let name = uuid::Uuid::now_v7().to_string();
        let subject = self.streams.names.absent(function);
        let action = "note whether the function is there";
        match self
            .streams
            .write(action, &name, subject.clone(), message)
            .await?
        {
            Written::At(sequence) => self.live().absent(function, since, sequence),
            Written::Overtaken => {
                let Some(found) = self.streams.last_record(&subject).await? else {
                    // It became too old. The next look notes it anew.
                    self.live().absent_forgotten(function);
                    return Ok(());
                };
                let said = found
                    .headers
                    .get(ABSENT)
                    .and_then(|text| text.as_str().parse().ok());
                self.live().absent(function, said, found.sequence);
            }
        }
        Ok(())
    }
}

/// Of the record everything is taken but what was known when it was accepted, and how often it was begun.
fn ended(before: &Record, end: &Record) -> Record {
    Record {
        id: before.id,
        function: before.function.clone(),
        parent: before.parent,
        trigger: before.trigger,
        method: before.method.clone(),
        path: before.path.clone(),
        received: before.received,
        attempts: before.attempts,
        ..end.clone()
    }
}
