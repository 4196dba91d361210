//! Header fields that are between two neighbours only (RFC 9110, section 7.6.1), and the one that is Skep's own.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

/// On every answer, and on requests to instances: the invocation's id.
pub const INVOCATION: HeaderName = HeaderName::from_static("skep-invocation");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The protocol that a request or a `101` response upgrades to, where it does.
pub fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .any(|value| names(value).any(|name| name == "upgrade"));
    asked.then(|| protocol.clone())
}

/// Removes what concerns only the connection it came by, including what `Connection` names. `TE: trailers` is
/// kept, since trailers are passed on.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(names)
            .filter(|name| !matches!(name.as_str(), "close" | "keep-alive" | "upgrade" | "te"))
            .filter(|name| !is_for_the_end(name))
            .filter_map(|name| name.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    let trailers = headers
        .get_all(TE)
        .iter()
        .any(|value| names(value).any(|name| name == "trailers"));
    for name in [
        &CONNECTION,
        &KEEP_ALIVE,
        &PROXY_CONNECTION,
        &TE,
        &TRANSFER_ENCODING,
        &UPGRADE,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// What a caller can't have taken away by calling it its connection's own: where the request goes, how long it is,
/// and what Skep and the proxies before it say of it.
fn is_for_the_end(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(name, "host" | "content-length" | "forwarded" | "traceparent")
        || *name == INVOCATION
}

/// The members of a list of tokens, in lower case and without parameters.
fn names(value: &HeaderValue) -> impl Iterator<Item = String> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(|item| {
        item.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut map = headers(&[
            ("connection", "X-Private, close"),
            ("x-private", "1"),
            ("x-public", "2"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("x-public", "2")]));
    }

    #[test]
    fn connection_can_not_name_what_is_for_the_end() {
        let fields = [
            ("host", "a"),
            ("content-length", "5"),
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("skep-invocation", "id"),
        ];
        for (name, _) in fields {
            let mut map = headers(&fields);
            map.append(CONNECTION, HeaderValue::from_static(name));
            remove_hop_by_hop(&mut map);
            assert_eq!(map, headers(&fields), "{name}");
        }
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        let mut map = headers(&[("te", "gzip;q=0.5, trailers")]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("te", "trailers")]));
        let mut map = headers(&[("te", "gzip")]);
        remove_hop_by_hop(&mut map);
        assert!(map.is_empty());
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        assert!(upgrade_of(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade_of(&headers(&[("connection", "upgrade")])).is_none());
        let both = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(
            upgrade_of(&both).as_ref().map(HeaderValue::as_bytes),
            Some(&b"websocket"[..])
        );
    }
}
