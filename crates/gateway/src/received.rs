//! A request as it was received: refused where it says two things at once, so that no one behind reads it
//! otherwise than Skep did.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, Version};
use skep_model::{Problem, ProblemCode};

/// Checks the target and the header; `ambiguous` says that a length stood beside chunks, which is no longer to be
/// seen. Afterwards `Host` is the host that was asked for, where there is one.
pub(crate) fn check(parts: &mut Parts, ambiguous: bool) -> Result<(), Problem> {
    if parts.method == Method::CONNECT {
        let detail = "Skep is no forward proxy: CONNECT isn't allowed.";
        return Err(Problem::new(ProblemCode::MethodNotAllowed).detail(detail));
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        transfer_encoding(&parts.headers, ambiguous)?;
    }
    if parts
        .uri
        .scheme()
        .is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        return Err(refuse("The target's scheme is not http."));
    }
    let path = parts.uri.path();
    let whole_server = path == "*" && parts.method == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(refuse("The target is not a path."));
    }
    host(parts)
}

/// RFC 9112, section 6.1. What is passed on is framed anew, so another coding than chunks would be lost on the way.
fn transfer_encoding(headers: &HeaderMap, ambiguous: bool) -> Result<(), Problem> {
    if ambiguous || headers.contains_key(CONTENT_LENGTH) {
        return Err(two_ways(
            "Content-Length and Transfer-Encoding exclude each other.",
        ));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(refuse(
            "Of the transfer codings only chunked is known here, and only once.",
        )),
    }
}

/// RFC 9112, section 3.2, and RFC 9113, section 8.3.1.
fn host(parts: &mut Parts) -> Result<(), Problem> {
    let named = single_host(&parts.headers)?;
    let target = parts.uri.authority().map(Authority::as_str);
    match (named, target) {
        (Some(named), Some(target)) if !named.eq_ignore_ascii_case(target) => {
            Err(two_ways("The target names one host and the Host field another."))
        }
        (None, Some(target)) => {
            valid_host(target)?;
            let value =
                HeaderValue::from_str(target).map_err(|_| refuse("The target's host is not valid."))?;
            parts.headers.insert(HOST, value);
            Ok(())
        }
        (None, None) if parts.version == Version::HTTP_11 => Err(refuse("The Host field is missing.")),
        (Some(named), _) => valid_host(named),
        (None, None) => Ok(()),
    }
}

fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(two_ways("There is more than one Host field."));
    }
    first
        .map(|value| value.to_str().map_err(|_| refuse("The Host field is not text.")))
        .transpose()
}

/// Empty is allowed: a target without an authority has nothing to say here.
fn valid_host(host: &str) -> Result<(), Problem> {
    // Most are a name or an address, perhaps with a port, and need no parsing.
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let common = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    if !name.is_empty() && name.bytes().all(common) && digits && port.parse::<u16>().is_ok() {
        return Ok(());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+;=:[]".contains(&b);
    let port = host
        .rsplit_once(':')
        .filter(|_| !host.ends_with(']'))
        .map_or("", |(_, port)| port);
    let numeric = port.is_empty() || port.parse::<u16>().is_ok();
    if host.is_empty() || (numeric && host.bytes().all(plain) && host.parse::<Authority>().is_ok()) {
        Ok(())
    } else {
        Err(refuse("The Host field is not a host."))
    }
}

fn two_ways(detail: &str) -> Problem {
    Problem::new(ProblemCode::AmbiguousRequest).detail(detail)
}

fn refuse(detail: &str) -> Problem {
    Problem::new(ProblemCode::BadRequest).detail(detail)
}

/// Refuses a body that is announced larger than allowed before any of it is sent.
pub(crate) fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        let detail = format!("The body may have at most {limit} bytes.");
        return Err(Problem::new(ProblemCode::BodyTooLarge).detail(detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(request: http::request::Builder) -> Result<String, Problem> {
        let mut parts = request.body(()).unwrap().into_parts().0;
        check(&mut parts, false)?;
        Ok(parts
            .headers
            .get(HOST)
            .map(|host| host.to_str().unwrap().to_owned())
            .unwrap_or_default())
    }

    #[test]
    fn one_host_is_taken_from_where_it_stands() {
        assert_eq!(
            checked(Request::get("/").header(HOST, "example.com")),
            Ok("example.com".to_owned())
        );
        assert_eq!(
            checked(Request::get("http://example.com/")),
            Ok("example.com".to_owned())
        );
        assert_eq!(
            checked(Request::get("/").header(HOST, "[::1]:80")),
            Ok("[::1]:80".to_owned())
        );
        assert_eq!(checked(Request::get("/").header(HOST, "")), Ok(String::new()));
        assert_eq!(
            checked(Request::get("/").version(Version::HTTP_10)),
            Ok(String::new())
        );
    }

    #[test]
    fn what_says_two_things_is_refused() {
        let two = Request::get("/").header(HOST, "a").header(HOST, "a");
        let other = Request::get("http://a/").header(HOST, "b");
        let missing = Request::get("/");
        let lengths = Request::post("/")
            .header(HOST, "a")
            .header(CONTENT_LENGTH, "1")
            .header(TRANSFER_ENCODING, "chunked");
        let connect = Request::connect("a:80").header(HOST, "a:80");
        for bad in [two, other, missing, lengths, connect] {
            assert!(checked(bad).is_err());
        }
        for host in ["a b", "user@a", "a/b", "a:b", "a,b", "é"] {
            let value = HeaderValue::from_bytes(host.as_bytes()).unwrap();
            assert!(checked(Request::get("/").header(HOST, value)).is_err(), "{host}");
        }
    }
}
