//! The request as meta-variables (RFC 3875, section 4.1).

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, PROXY_AUTHORIZATION};
use http::{Request, Version};
use percent_encoding::percent_decode_str;
use skep_model::{Problem, ProblemCode};

use crate::body::Body;

const SOFTWARE: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));

/// The variables of one request. Its path is without the prefix, which stands in `X-Forwarded-Prefix`.
pub(crate) fn variables(request: &Request<Body>, client: IpAddr) -> Result<Vec<(String, String)>, Problem> {
    let headers = request.headers();
    let path = percent_decode_str(request.uri().path())
        .decode_utf8_lossy()
        .into_owned();
    if path.contains('\0') {
        return Err(Problem::new(ProblemCode::BadRequest).detail("The path has a NUL character in it."));
    }
    let query = request.uri().query().unwrap_or_default();
    let host = text(headers, HOST.as_str()).or_else(|| request.uri().authority().map(ToString::to_string));
    let (name, port) = split_host(host.as_deref().unwrap_or_default());
    let secure = text(headers, "x-forwarded-proto").as_deref() == Some("https");
    let port = text(headers, "x-forwarded-port")
        .or_else(|| port.map(str::to_owned))
        .unwrap_or_else(|| if secure { "443" } else { "80" }.to_owned());
    let mut all: BTreeMap<String, String> = fields(headers);
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    set("GATEWAY_INTERFACE", "CGI/1.1".to_owned());
    set("SERVER_SOFTWARE", SOFTWARE.to_owned());
    set("SERVER_PROTOCOL", protocol(request.version()).to_owned());
    set(
        "SERVER_NAME",
        if name.is_empty() {
            "localhost".to_owned()
        } else {
            name.to_owned()
        },
    );
    set("SERVER_PORT", port);
    set("REQUEST_METHOD", request.method().to_string());
    set(
        "SCRIPT_NAME",
        text(headers, "x-forwarded-prefix").unwrap_or_default(),
    );
    set("PATH_INFO", path);
    set("QUERY_STRING", query.to_owned());
    set("REMOTE_ADDR", client.to_string());
    set("REMOTE_HOST", client.to_string());
    if secure {
        // No part of the RFC, and what every CGI program asks for.
        set("HTTPS", "on".to_owned());
    }
    for (name, variable) in [
        (&CONTENT_LENGTH, "CONTENT_LENGTH"),
        (&CONTENT_TYPE, "CONTENT_TYPE"),
    ] {
        if let Some(value) = text(headers, name.as_str()) {
            set(variable, value);
        }
    }
    Ok(all.into_iter().collect())
}

/// The request's fields as `HTTP_*`. `Proxy` is never among them (CVE-2016-5385), nor a name with an underscore:
/// it would be read as another field's. Credentials go to the script as they came: it is the one that checks them.
fn fields(headers: &HeaderMap) -> BTreeMap<String, String> {
    let left_out = |name: &http::HeaderName| {
        let text = name.as_str();
        *name == CONTENT_LENGTH
            || *name == CONTENT_TYPE
            || *name == PROXY_AUTHORIZATION
            || text == "proxy"
            || text.contains('_')
    };
    let mut fields = BTreeMap::new();
    for name in headers.keys().filter(|name| !left_out(name)) {
        let separator = if name.as_str() == "cookie" { "; " } else { ", " };
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let variable = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        fields.insert(variable, values.join(separator));
    }
    if let Some(scheme) = text(headers, AUTHORIZATION.as_str()) {
        let scheme = scheme.split(' ').next().unwrap_or_default().to_owned();
        fields.insert("AUTH_TYPE".to_owned(), scheme);
    }
    fields
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The host and, where it is there, the port; an IPv6 address keeps its brackets.
fn split_host(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, Some(port))
        }
        Some((name, "")) => (name, None),
        _ => (host, None),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::empty;

    fn of(request: http::request::Builder) -> BTreeMap<String, String> {
        let request = request.body(empty()).unwrap();
        variables(&request, IpAddr::from([192, 0, 2, 7]))
            .unwrap()
            .into_iter()
            .collect()
    }

    #[test]
    fn the_request_is_in_the_environment() {
        let all = of(Request::post("/a%20b/c?x=%20y&z")
            .header("host", "example.com:8080")
            .header("content-type", "text/plain")
            .header("content-length", "5")
            .header("x-forwarded-prefix", "/hello")
            .header("x-forwarded-port", "8080")
            .header("user-agent", "test"));
        let expected = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "POST"),
            ("SCRIPT_NAME", "/hello"),
            ("PATH_INFO", "/a b/c"),
            ("QUERY_STRING", "x=%20y&z"),
            ("CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", "text/plain"),
            ("SERVER_NAME", "example.com"),
            ("SERVER_PORT", "8080"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("HTTP_USER_AGENT", "test"),
            ("HTTP_HOST", "example.com:8080"),
        ];
        for (name, value) in expected {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!all.contains_key("HTTP_CONTENT_LENGTH") && !all.contains_key("HTTPS"));
    }

    #[test]
    fn neither_proxy_nor_an_underscore_gets_in() {
        let all = of(Request::get("/")
            .header("proxy", "evil:1")
            .header("x_forwarded_for", "evil"));
        assert!(all.keys().all(|name| !name.starts_with("HTTP_")), "{all:?}");
    }

    #[test]
    fn repeated_fields_are_joined() {
        let all = of(Request::get("/")
            .header("accept", "a")
            .header("accept", "b")
            .header("cookie", "c=1")
            .header("cookie", "d=2"));
        assert_eq!(
            (all["HTTP_ACCEPT"].as_str(), all["HTTP_COOKIE"].as_str()),
            ("a, b", "c=1; d=2")
        );
    }

    #[test]
    fn an_address_in_brackets_keeps_them() {
        assert_eq!(split_host("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_host("[::1]"), ("[::1]", None));
        assert_eq!(split_host("a"), ("a", None));
    }

    #[test]
    fn a_nul_in_the_path_is_refused() {
        let request = Request::get("/a%00b").body(empty()).unwrap();
        assert!(variables(&request, IpAddr::from([127, 0, 0, 1])).is_err());
    }
}
