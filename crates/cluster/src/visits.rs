//! A call about children on its way from one node's agent to another's.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skep_grant::Image;
use skep_invoke::{Body, BodyError, empty, full, remove_hop_by_hop, upgrade_of};
use skep_model::{PortRange, Spawn};
use skep_tls::Line;
use skep_wire::{AGENT_NAME, Field as _, NOT_STARTED, NotStarted, PROBLEM, VISIT, Visit};

use crate::pool::NodeKey;
use crate::shared::Shared;

/// How often it is looked whether a node still answers that has a connection of its own.
const LOOK: Duration = Duration::from_millis(500);

/// Whether a grant gives nothing that another does not.
pub(crate) fn is_within(grant: &Spawn, whole: &Spawn) -> bool {
    let started = |entry: &String| {
        whole.may_start.contains(entry)
            || Image::parse(entry).is_ok_and(|image| image.is_granted(&whole.may_start))
    };
    let published = |range: &PortRange| {
        let mut ranges = whole.ports.iter();
        ranges.any(|other| other.first <= range.first && range.last <= other.last)
    };
    grant.may_start.iter().all(started)
        && grant.networks.iter().all(|name| whole.networks.contains(name))
        && grant.volumes.iter().all(|name| whole.volumes.contains(name))
        && grant.ports.iter().all(published)
        && grant.depth <= whole.depth
        && grant.max <= whole.max
        && grant.total <= whole.total
        && grant.memory <= whole.memory
        && grant.nano_cpus <= whole.nano_cpus
        && grant.life <= whole.life
}

/// Sends it on, and its answer back.
pub(crate) async fn hand_on(
    shared: Arc<Shared>,
    visit: &Visit,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let nodes = shared.pool().nodes();
    let of_node = nodes.into_iter().find(|(_, picture)| picture.node == visit.node);
    let Some((key, picture)) = of_node else {
        return unsent("no agent of this node is connected");
    };
    let hostname = picture.hostname;
    let protocol = upgrade_of(request.headers());
    let theirs = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    headers.insert(VISIT, visit.header());
    let mut request = request.map(|body| {
        let body = body.map_err(|error| BodyError::Broken(error.to_string()));
        skep_tls::body(body)
    });
    let Some((address, line)) = shared.line(key) else {
        return unsent(&format!("{hostname} is lost"));
    };
    if let (Some(protocol), Some(theirs)) = (protocol, theirs) {
        let connection = match shared.dialer().upgradable(address).await {
            Ok(connection) => connection,
            Err(error) => return unsent(&format!("{hostname}: {error}")),
        };
        skep_tls::address_upgrade(&mut request, AGENT_NAME, protocol);
        return match connection.send(request).await {
            Ok((response, driver)) => {
                // It ends with the connection that its answer is, or became.
                driver.detach();
                switched(&shared, (key, line), response, theirs)
            }
            Err(error) => lost(&format!("{hostname}: {error}")),
        };
    }
    if let Err(error) = skep_tls::address(&mut request, AGENT_NAME) {
        return unsent(&error.to_string());
    }
    match line.send(request).await {
        Ok(response) => passed_on(response),
        Err(error) if skep_tls::was_not_sent(&error) => unsent(&format!("{hostname}: {error}")),
        Err(error) => lost(&format!("{hostname}: {error}")),
    }
}

fn passed_on(response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(|body| {
        let body = body.map_err(|error| BodyError::Cut(error.to_string()));
        body.boxed_unsync()
    });
    remove_hop_by_hop(response.headers_mut());
    response
}

/// Joins both connections where the agent agreed to switch, until either ends or the node is lost.
fn switched(
    shared: &Arc<Shared>,
    (key, line): (NodeKey, Line),
    mut response: Response<Incoming>,
    theirs: OnUpgrade,
) -> Response<Body> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return passed_on(response);
    }
    let ours = hyper::upgrade::on(&mut response);
    let protocol = response.headers().get(UPGRADE).cloned();
    let mut answer = passed_on(response).map(|_| empty());
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    let watched = shared.clone();
    shared.tasks.spawn(async move {
        let joined = async {
            let (theirs, ours) = (theirs.await?, ours.await?);
            let (mut theirs, mut ours) = (TokioIo::new(theirs), TokioIo::new(ours));
            Ok::<_, hyper::Error>(tokio::io::copy_bidirectional(&mut theirs, &mut ours).await)
        };
        // A node without power says nothing: its pictures stop, and its line is given up.
        let gone = async {
            while !line.is_closed() && watched.line(key).is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = joined => {}
            () = gone => {}
        }
    });
    answer
}

/// Nothing of it has begun.
fn unsent(why: &str) -> Response<Body> {
    let mut response = Response::new(full(why.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let unknown = NotStarted::Unknown.header();
    response.headers_mut().insert(NOT_STARTED, unknown);
    response
}

fn lost(why: &str) -> Response<Body> {
    let mut response = Response::new(full(why.to_owned()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    let code = skep_model::ProblemCode::NodeLost.as_str();
    response
        .headers_mut()
        .insert(PROBLEM, HeaderValue::from_static(code));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_within_another_where_each_part_of_it_is() {
        let range = |first, last| PortRange { first, last };
        let whole = Spawn {
            may_start: vec!["tool".to_owned(), "debian:*".to_owned()],
            networks: vec!["back".to_owned()],
            ports: vec![range(8000, 8100)],
            depth: 2,
            ..Spawn::default()
        };
        let part = Spawn {
            may_start: vec!["debian:12".to_owned(), "tool".to_owned()],
            ports: vec![range(8000, 8010)],
            networks: Vec::new(),
            depth: 1,
            ..whole.clone()
        };
        assert!(is_within(&part, &whole) && is_within(&whole, &whole));
        assert!(!is_within(&whole, &part));
        for more in [
            Spawn {
                may_start: vec!["alpine".to_owned()],
                ..part.clone()
            },
            Spawn {
                networks: vec!["front".to_owned()],
                ..part.clone()
            },
            Spawn {
                ports: vec![range(8000, 8101)],
                ..part.clone()
            },
            Spawn {
                memory: part.memory + 1,
                ..part.clone()
            },
        ] {
            assert!(!is_within(&more, &whole), "{more:?}");
        }
    }
}
