//! The fields that only members of a cluster write: nobody else's are passed on.

use http::HeaderMap;

use crate::{CALLER, CONTEXT, NOT_STARTED, OUTCOME, PROBLEM, SANDBOX, VISIT};

/// Takes them off a request that comes from somebody who is no member.
pub fn disown_request(headers: &mut HeaderMap) {
    for name in [SANDBOX, CONTEXT, CALLER, VISIT] {
        headers.remove(name);
    }
}

/// Takes them off a function's answer, or the fields behind it.
pub fn disown_answer(headers: &mut HeaderMap) {
    for name in [NOT_STARTED, PROBLEM, OUTCOME] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_strangers_fields_go_and_all_others_stay() {
        let own = [SANDBOX, CONTEXT, CALLER, VISIT, NOT_STARTED, PROBLEM, OUTCOME];
        let mut headers = HeaderMap::new();
        for name in own {
            headers.append(&name, HeaderValue::from_static("one"));
            headers.append(&name, HeaderValue::from_static("two"));
        }
        headers.insert("skep-visitors", HeaderValue::from_static("3"));
        disown_request(&mut headers);
        disown_answer(&mut headers);
        let left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(left, ["skep-visitors"]);
    }
}
