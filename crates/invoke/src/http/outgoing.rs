//! The request as it goes to an instance.

use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::uri::PathAndQuery;
use http::{Request, Uri, Version};
use skep_model::{InvocationId, Problem, ProblemCode};

use crate::body::Body;
use crate::headers::remove_hop_by_hop;
use crate::trace::Trace;
use crate::upload::Upload;

/// Makes a caller's request the instance's. `upgrade` is the protocol it asks for.
pub(super) fn prepare(
    request: Request<Body>,
    upgrade: Option<HeaderValue>,
    http1: bool,
    id: InvocationId,
    trace: &Trace,
) -> Result<Request<Upload>, Problem> {
    let (parts, body) = request.into_parts();
    let mut outgoing = Request::new(Upload::new(body));
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    let headers = outgoing.headers_mut();
    remove_hop_by_hop(headers);
    // The gateway says `100 Continue` itself, as soon as the body is asked for.
    headers.remove(EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    trace.apply(headers, id);
    let authority = parts.uri.authority();
    if !headers.contains_key(HOST)
        && let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        headers.insert(HOST, host);
    }
    let path = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    if http1 {
        // HTTP/1.1 wants the field even where nothing is known (RFC 9112, section 3.2), and servers refuse it empty.
        headers
            .entry(HOST)
            .or_insert(HeaderValue::from_static("localhost"));
        *outgoing.uri_mut() = Uri::from(path);
        *outgoing.version_mut() = Version::HTTP_11;
    } else {
        let host = headers.remove(HOST);
        let host = host
            .as_ref()
            .and_then(|host| host.to_str().ok())
            .filter(|host| !host.is_empty());
        let uri = Uri::builder()
            .scheme("http")
            .authority(host.unwrap_or("localhost"))
            .path_and_query(path);
        *outgoing.uri_mut() = uri.build().map_err(unusable)?;
        *outgoing.version_mut() = Version::HTTP_2;
    }
    Ok(outgoing)
}

fn unusable(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::BadRequest)
        .detail("The request's target can't be passed on.")
        .internal(error.to_string())
}
