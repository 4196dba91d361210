//! Which invocation a call comes from.

use http::HeaderMap;
use skep_model::InvocationId;

/// Whether a call claims an invocation, by its id or by its trace, and this is the one.
pub(crate) fn claims(headers: &HeaderMap, id: InvocationId) -> bool {
    match headers.get(skep_invoke::INVOCATION) {
        Some(claim) => claim.to_str().is_ok_and(|claim| claim.parse() == Ok(id)),
        None => traced(headers).is_some_and(|span| bears(id, span)),
    }
}

/// The parent of a call from where `running` are the invocations: the one that the call claims, if it runs there;
/// without a claim the only one that does.
pub(crate) fn of(headers: &HeaderMap, running: &[InvocationId]) -> Option<InvocationId> {
    if let Some(claim) = headers.get(skep_invoke::INVOCATION) {
        let claim = claim.to_str().ok()?.parse().ok()?;
        return running.contains(&claim).then_some(claim);
    }
    if let Some(span) = traced(headers)
        && let Some(id) = running.iter().find(|id| bears(**id, span))
    {
        return Some(*id);
    }
    match running {
        [only] => Some(*only),
        _ => None,
    }
}

fn traced(headers: &HeaderMap) -> Option<&str> {
    span(headers.get("traceparent")?.to_str().ok()?)
}

fn bears(id: InvocationId, span: &str) -> bool {
    id.to_string().replace('-', "").ends_with(span)
}

/// The parent's span, which for an invocation is the second half of its id.
fn span(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(2).filter(|span| span.len() == 16)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(HeaderName::from_static(name), value.parse().unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_claim_is_believed_where_it_runs_and_nowhere_else() {
        let (here, elsewhere) = (InvocationId::generate(), InvocationId::generate());
        let claims = |id: InvocationId| headers("skep-invocation", &id.to_string());
        assert_eq!(of(&claims(here), &[here]), Some(here));
        assert_eq!(of(&claims(elsewhere), &[here]), None);
        assert_eq!(of(&headers("skep-invocation", "nonsense"), &[here]), None);
        assert!(super::claims(&claims(here), here) && !super::claims(&claims(here), elsewhere));
    }

    #[test]
    fn without_a_claim_it_must_be_the_only_one() {
        let (one, two) = (InvocationId::generate(), InvocationId::generate());
        assert_eq!(of(&HeaderMap::new(), &[one]), Some(one));
        assert_eq!(of(&HeaderMap::new(), &[one, two]), None);
        assert_eq!(of(&HeaderMap::new(), &[]), None);
    }

    #[test]
    fn a_trace_tells_which_of_several_it_is() {
        let (one, two) = (InvocationId::generate(), InvocationId::generate());
        let trace = skep_invoke::Trace::of(&HeaderMap::new(), two);
        assert_eq!(
            of(&headers("traceparent", trace.traceparent()), &[one, two]),
            Some(two)
        );
    }
}
