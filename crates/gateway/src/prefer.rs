//! `Prefer` (RFC 7240): the one preference that Skep knows.

use http::HeaderMap;
use http::header::HeaderName;

/// The field.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The field of the answer.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Whether the caller prefers not to wait for the result. Other preferences, `wait` among them, are ignored.
pub(crate) fn respond_async(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| preferences(value).any(|name| name.eq_ignore_ascii_case("respond-async")))
}

/// The names in a list of preferences, whatever their values and parameters.
fn preferences(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let items = list.split(move |c: char| {
        let end = c == ',' && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        end
    });
    items.map(|item| item.split([';', '=']).next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asks(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        respond_async(&headers)
    }

    #[test]
    fn it_is_found_among_other_preferences() {
        assert!(asks(&["respond-async"]));
        assert!(asks(&["return=minimal, Respond-Async; foo=\"a,b\", wait=10"]));
        assert!(asks(&["handling=lenient", "wait=5,respond-async"]));
        assert!(asks(&["foo=\"a, \\\" b\",respond-async"]));
    }

    #[test]
    fn it_is_not_found_where_it_is_not_the_name() {
        assert!(!asks(&[]));
        assert!(!asks(&["respond-asynchronously"]));
        assert!(!asks(&["foo=\"x, respond-async, y\""]));
        assert!(!asks(&["foo; respond-async"]));
        assert!(!asks(&["wait=10"]));
    }
}
