//! The request as it goes to an instance.

use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::{Request, Uri, Version};
use skep_model::{InvocationId, Problem, ProblemCode};

use crate::body::Body;
use crate::headers::{INVOCATION, remove_hop_by_hop};
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
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(INVOCATION, value);
    }
    trace.apply(headers);
    let host = match (headers.get(HOST), parts.uri.authority()) {
        (Some(host), _) => Some(host.clone()),
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).ok(),
        (None, None) => None,
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if http1 {
        // HTTP/1.1 wants the field even where nothing is known (RFC 9112, section 3.2).
        headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
        *outgoing.uri_mut() = path.parse().map_err(unusable)?;
        *outgoing.version_mut() = Version::HTTP_11;
    } else {
        headers.remove(HOST);
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
