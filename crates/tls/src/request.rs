//! What is common to every request on its way to a member.

use std::error::Error as _;

use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::uri::PathAndQuery;
use http::{Request, Uri, Version};

/// Addresses a request to the members of a name, over a multiplexed connection. What it is about (its path, and the host
/// in its field) stays.
///
/// # Errors
/// Its path can't be passed on.
pub fn address<B>(request: &mut Request<B>, name: &str) -> Result<(), http::Error> {
    let uri = Uri::builder()
        .scheme("https")
        .authority(name)
        .path_and_query(path(request))
        .build()?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// The same over a connection of its own, which is to become one of this protocol.
pub fn address_upgrade<B>(request: &mut Request<B>, name: &'static str, protocol: HeaderValue) {
    *request.uri_mut() = Uri::from(path(request));
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
    headers.entry(HOST).or_insert(HeaderValue::from_static(name));
}

/// Takes the members' address off a request that was received, so that it says what it said before it was sent.
pub fn unaddress<B>(request: &mut Request<B>) {
    *request.uri_mut() = Uri::from(path(request));
}

/// Whether the member can't have seen a request that failed: it never left, or the member said that it did not look at
/// it (RFC 9113, sections 6.8 and 8.7).
pub fn was_not_sent(error: &hyper::Error) -> bool {
    let refused = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM) && error.is_remote());
    error.is_canceled() || refused
}

fn path<B>(request: &Request<B>) -> PathAndQuery {
    let path = request.uri().path_and_query();
    path.cloned().unwrap_or(PathAndQuery::from_static("/"))
}
