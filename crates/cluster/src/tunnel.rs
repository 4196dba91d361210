//! Upgrades (WebSocket and others): a connection of their own to the agent, joined to the caller's until either ends.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skep_invoke::{Body, BodyError, empty, remove_hop_by_hop};
use skep_model::{Function, Problem, ProblemCode};
use skep_wire::NOT_STARTED;

use crate::answer::merge_timing;
use crate::course::Course;
use crate::run::{Outgoing, lost};
use crate::shared::{Shared, Ticket};

/// Sends the request on a connection of its own, and joins both sides where the function agrees to switch.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut course: Course,
    outgoing: Outgoing,
    ticket: Ticket,
    client: OnUpgrade,
    function: &Function,
) -> Response<Body> {
    let gone = |reason: String| Problem::new(ProblemCode::NodeLost).internal(reason);
    let Some((address, _)) = shared.line(ticket.placement.node) else {
        return course.fail(&gone("its node went before the request was sent".to_owned()));
    };
    let connection = match shared.dialer().upgradable(address).await {
        Ok(connection) => connection,
        Err(error) => return course.fail(&gone(error.to_string())),
    };
    let request = match outgoing.once(&ticket.placement.sandbox) {
        Ok(request) => request,
        Err(problem) => return course.fail(&problem),
    };
    course.sent(&ticket.placement);
    let (mut response, driver) = match connection.send(request).await {
        Ok(answered) => answered,
        Err(error) => return course.fail(&outgoing.fault().unwrap_or_else(|| lost(&error))),
    };
    if response.headers().contains_key(NOT_STARTED) {
        course.refused();
        let internal = format!("{}: the sandbox that had room took no more", function.name);
        return course.fail(
            &Problem::new(ProblemCode::NodeFull)
                .internal(internal)
                .retry_after(1),
        );
    }
    course.answered();
    let status = response.status();
    let switched = (status == StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(&mut response));
    let protocol = response.headers().get(UPGRADE).cloned();
    let (parts, incoming) = response.into_parts();
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    *answer.headers_mut() = parts.headers;
    let headers = answer.headers_mut();
    remove_hop_by_hop(headers);
    headers.remove(skep_wire::PROBLEM);
    merge_timing(headers, &mut course);
    let Some(switched) = switched else {
        // It answered as any server may that doesn't want to switch: the connection ends with the answer.
        let held = (course, ticket, driver);
        let body = incoming.map_err(|error| BodyError::Cut(error.to_string()));
        return answer.map(|_| {
            Held {
                body,
                held: Some(held),
                status,
            }
            .boxed_unsync()
        });
    };
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    shared.tasks.clone().spawn(async move {
        let joined = async {
            // A caller who is gone before the switch reached it: the course is dropped, and says so.
            let (client, agent) = (client.await?, switched.await?);
            let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
            Ok::<_, hyper::Error>(tokio::io::copy_bidirectional(&mut client, &mut agent).await)
        };
        match joined.await {
            Ok(ended) => {
                if let Err(error) = ended {
                    // A reset is how many clients end a WebSocket.
                    tracing::debug!(%error, invocation = %course.id(), "an upgraded connection broke");
                }
                course.complete(StatusCode::SWITCHING_PROTOCOLS, None, None);
            }
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
        drop((ticket, driver));
    });
    answer
}

type Connected = (Course, Ticket, tokio_util::task::AbortOnDropHandle<()>);

/// An ordinary answer on a connection of its own.
struct Held<B> {
    body: B,
    held: Option<Connected>,
    status: StatusCode,
}

impl<B> http_body::Body for Held<B>
where
    B: http_body::Body<Data = bytes::Bytes, Error = BodyError> + Unpin,
{
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx));
        if (frame.is_none() || self.body.is_end_stream())
            && let Some((course, ..)) = self.held.take()
        {
            course.complete(self.status, None, None);
        }
        std::task::Poll::Ready(frame)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
