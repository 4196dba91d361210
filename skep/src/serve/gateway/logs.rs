//! The logs of all nodes as one: what is kept in the order of its times, what is still to come as it comes.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream, SelectAll};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use skep_cluster::{Cluster, NodeView};
use skep_control::{LogFilter, api};
use skep_model::Problem;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::commands::encoded;

type Lines = BoxStream<'static, Result<api::LogLine, Problem>>;

/// So long nothing comes when all that was kept has come.
const QUIET: Duration = Duration::from_millis(300);
/// How often it is looked whether there are nodes more.
const LOOK: Duration = Duration::from_secs(2);
/// The longest line; what is longer is none.
const LONGEST: usize = 4 << 20;

/// What every node keeps. It ends.
pub(super) async fn kept(cluster: &Cluster, filter: LogFilter) -> Lines {
    let nodes = cluster.nodes();
    let opening = nodes.iter().map(|node| open(cluster, node, &filter));
    let mut readers = Vec::new();
    for mut reader in join_all(opening).await.into_iter().flatten() {
        let next = reader.next().await;
        readers.push((next, reader));
    }
    let merged = stream::unfold(readers, |mut readers| async move {
        let heads = readers.iter().enumerate();
        let heads = heads.filter_map(|(index, (head, _))| Some((head.as_ref()?.time, index)));
        let (_, first) = heads.min()?;
        let (head, reader) = &mut readers[first];
        let line = head.take()?;
        *head = reader.next().await;
        Some((line, readers))
    });
    match filter.tail {
        None => merged.map(Ok).boxed(),
        Some(tail) => {
            // Each node told of so many of its own.
            let mut last = VecDeque::new();
            let mut merged = std::pin::pin!(merged);
            while let Some(line) = merged.next().await {
                last.push_back(line);
                if last.len() > tail as usize {
                    last.pop_front();
                }
            }
            stream::iter(last.into_iter().map(Ok)).boxed()
        }
    }
}

/// The same, and what comes, of nodes that come as well, until `ended`.
pub(super) fn followed(cluster: Cluster, filter: LogFilter, ended: BoxFuture<'static, ()>) -> Lines {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follow = Follow {
        cluster,
        filter,
        readers: SelectAll::new(),
        known: BTreeSet::new(),
        looks,
        waiting: VecDeque::new(),
        is_new: true,
        ended: Some(ended),
    };
    let lines = stream::unfold(follow, |mut follow| async move {
        let line = follow.next().await?;
        Some((Ok(line), follow))
    });
    lines.boxed()
}

struct Follow {
    cluster: Cluster,
    filter: LogFilter,
    readers: SelectAll<BoxStream<'static, Said>>,
    /// The nodes that are listened to.
    known: BTreeSet<String>,
    looks: Interval,
    waiting: VecDeque<api::LogLine>,
    is_new: bool,
    /// `None` after the end.
    ended: Option<BoxFuture<'static, ()>>,
}

/// What a node says.
enum Said {
    Line(Box<api::LogLine>),
    Over(String),
}

impl Follow {
    async fn next(&mut self) -> Option<api::LogLine> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            let ended = self.ended.as_mut()?;
            tokio::select! {
                biased;
                _ = self.looks.tick() => self.look().await,
                Some(said) = self.readers.next(), if !self.readers.is_empty() => self.hear(said),
                () = ended => {
                    self.ended = None;
                    self.gather().await;
                }
            }
        }
    }

    /// Listens to nodes that it did not listen to.
    async fn look(&mut self) {
        let nodes = self.cluster.nodes();
        let fresh: Vec<&NodeView> = nodes
            .iter()
            .filter(|node| !self.known.contains(&node.picture.hostname))
            .collect();
        let opening = fresh.iter().map(|node| open(&self.cluster, node, &self.filter));
        let opened: Vec<Reader> = join_all(opening).await.into_iter().flatten().collect();
        for reader in opened {
            self.known.insert(reader.node.clone());
            self.readers.push(reader.told().boxed());
        }
        if std::mem::take(&mut self.is_new) {
            self.gather().await;
            let tail = self.filter.tail.take().map_or(usize::MAX, |tail| tail as usize);
            let beyond = self.waiting.len().saturating_sub(tail);
            self.waiting.drain(..beyond);
            // Of those who come later what is new.
            self.filter.since = self.filter.since.max(Some(Timestamp::now()));
        }
    }

    /// All that comes until nothing does, in the order of its times.
    async fn gather(&mut self) {
        while let Ok(Some(said)) = timeout(QUIET, self.readers.next()).await {
            self.hear(said);
        }
        self.waiting.make_contiguous().sort_by_key(|line| line.time);
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Line(line) => self.waiting.push_back(*line),
            // Heard again once its agent is back; of one invocation there is no more to hear.
            Said::Over(node) if self.filter.invocation.is_none() => drop(self.known.remove(&node)),
            Said::Over(_) => {}
        }
    }
}

/// One node's lines.
struct Reader {
    node: String,
    body: Incoming,
    read: BytesMut,
}

async fn open(cluster: &Cluster, node: &NodeView, filter: &LogFilter) -> Option<Reader> {
    let name = &node.picture.hostname;
    match cluster.open(node, &path(filter)).await {
        Ok(body) => Some(Reader {
            node: name.clone(),
            body,
            read: BytesMut::new(),
        }),
        Err(error) => {
            tracing::warn!(node = name, error, "an agent's log can't be read");
            None
        }
    }
}

impl Reader {
    async fn next(&mut self) -> Option<api::LogLine> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                if let Ok(line) = serde_json::from_slice::<api::LogLine>(&line) {
                    return Some(api::LogLine {
                        node: Some(self.node.clone()),
                        ..line
                    });
                }
            }
            if self.read.len() > LONGEST {
                return None;
            }
            // An agent that is lost has no more to say.
            let frame = self.body.frame().await?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }

    fn told(self) -> impl futures::Stream<Item = Said> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            Some(match reader.next().await {
                Some(line) => (Said::Line(Box::new(line)), Some(reader)),
                None => (Said::Over(reader.node), None),
            })
        })
    }
}

/// The filter, as it is asked of agents.
fn path(filter: &LogFilter) -> String {
    let mut parts = vec![format!("follow={}", filter.follow)];
    let mut put = |name: &str, value: Option<String>| {
        parts.extend(value.map(|value| format!("{name}={}", encoded(&value))));
    };
    put("function", filter.function.clone());
    put("invocation", filter.invocation.map(|id| id.to_string()));
    put("since", filter.since.map(|time| time.to_string()));
    put("tail", filter.tail.map(|tail| tail.to_string()));
    format!("/v1/logs?{}", parts.join("&"))
}
