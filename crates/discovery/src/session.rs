//! The bond with the engine: one session from connecting to losing it, and the loop that begins the next.

use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use futures::future::{BoxFuture, OptionFuture};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::events;
use crate::listing::list;
use crate::watcher::Watcher;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A session this long was a good one: the pause after it is short again.
const GOOD_SESSION: Duration = Duration::from_secs(30);
/// How often the engine is asked whether it is there; a stalled one accepts connections and says nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Watcher {
    /// Watches for ever.
    pub(crate) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let problem = self.session().await;
            if self.connection.borrow().connected {
                tracing::warn!(
                    problem,
                    "the connection to the Docker engine is lost; trying again"
                );
            }
            self.metrics.connected.set(0);
            self.metrics.reconnections.inc();
            self.connection.send_modify(|connection| connection.lost(problem));
            // What was missed meanwhile the events may no longer tell.
            self.distrust = true;
            if began.elapsed() > GOOD_SESSION {
                pause = FIRST_PAUSE;
            }
            let next = Instant::now() + pause;
            while Instant::now() < next {
                let due = self.removed.next_end().map_or(next, |end| end.min(next));
                sleep_until(due).await;
                if self.removed.end_graces(Instant::now()) {
                    self.changed = true;
                    self.publish_changes();
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One session; returns why it ended.
    async fn session(&mut self) -> String {
        let since = match self.last_event {
            Some(time) => time,
            None => match engine_time(&self.docker).await {
                // The next session begins here too, should this one see no event at all.
                Ok(time) => *self.last_event.insert(time),
                Err(problem) => return problem,
            },
        };
        let since = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        let docker = self.docker.clone();
        let mut stream = Box::pin(docker.events(Some(events::options(&since))));
        let mut relist = interval(self.config.relist);
        relist.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listing = OptionFuture::default();
        let mut asked = false;
        let mut beat: OptionFuture<BoxFuture<'static, _>> = OptionFuture::default();
        let mut beating = false;
        loop {
            self.advance();
            let due = self.next_due();
            tokio::select! {
                event = stream.next() => match event {
                    Some(Ok(message)) => self.message(message),
                    Some(Err(error)) => return format!("the events broke off: {error}"),
                    None => return "the engine ended the events".to_owned(),
                },
                Some(answer) = self.answers.next() => self.answered(answer),
                Some(done) = self.restoring.done.next() => self.was_put_back(done),
                Some(answer) = self.image_answers.next() => {
                    if let Some((id, image)) = answer {
                        self.image_answered(&id, &image);
                    }
                }
                // What was asked is waited for: asking anew would never find out that no answer comes.
                _ = relist.tick(), if !asked => {
                    asked = true;
                    let asking = list(self.docker.clone(), self.config.namespace.clone());
                    listing = Some(timeout(PATIENCE.max(self.config.relist), asking).boxed()).into();
                }
                Some(answer) = &mut listing => {
                    listing = OptionFuture::default();
                    asked = false;
                    match answer {
                        Ok(Ok(found)) => {
                            self.metrics.relist.observe(found.asked.elapsed().as_secs_f64());
                            self.metrics.connected.set(1);
                            self.connection.send_modify(crate::Connection::gained);
                            self.listed(found);
                        }
                        Ok(Err(error)) => return format!("the containers can't be listed: {error}"),
                        Err(_) => return "no answer to a list of the containers".to_owned(),
                    }
                }
                _ = heartbeat.tick(), if !beating => {
                    beating = true;
                    let docker = self.docker.clone();
                    beat = Some(async move { timeout(PATIENCE, docker.ping()).await }.boxed()).into();
                }
                Some(answer) = &mut beat => {
                    beat = OptionFuture::default();
                    beating = false;
                    match answer {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return format!("the engine does not answer: {error}"),
                        Err(_) => return format!("no answer within {} s", PATIENCE.as_secs()),
                    }
                }
                () = async { match due { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    fn message(&mut self, message: EventMessage) {
        let time = message.time_nano.unwrap_or_default();
        self.last_event = Some(self.last_event.unwrap_or(time).max(time));
        self.metrics.events.inc();
        self.metrics.last_event.set(time as f64 / 1e9);
        if let Some(event) = events::read(message) {
            self.happened(event, time);
        }
    }
}

/// The engine's clock, from which on events are asked for: it may be another machine's.
async fn engine_time(docker: &Docker) -> Result<i64, String> {
    let info = match timeout(PATIENCE, docker.info()).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => return Err(format!("the engine does not answer: {error}")),
        Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let time = info.system_time.and_then(|time| time.parse::<Timestamp>().ok());
    i64::try_from(time.unwrap_or_else(Timestamp::now).as_nanosecond()).map_err(|error| error.to_string())
}
