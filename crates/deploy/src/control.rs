//! Asks Skep's control listener whether a new template is in force.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// Between two questions; the listener has no way to tell by itself.
const INTERVAL: Duration = Duration::from_millis(50);
/// A thousand functions take a few hundred kilobytes.
const LARGEST_ANSWER: usize = 32 << 20;

/// Where the listener is, and how to get in.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    authority: String,
    token: Option<String>,
}

/// What became of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Skep runs it.
    InForce,
    /// Skep cannot run it, for these reasons.
    Invalid(String),
    /// Nobody answers: there is nothing to wait for.
    NoAnswer,
    /// It did not come into force in time.
    TooLate,
}

impl Control {
    /// From `http://HOST:PORT` or `HOST:PORT`.
    pub(crate) fn new(url: &str, token: Option<String>) -> Self {
        let authority = url
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        Self { authority, token }
    }

    /// Waits until the template is in force or refused.
    pub(crate) async fn wait_for(&self, template: &str, patience: Duration) -> Verdict {
        let waiting = async {
            let mut answered = false;
            loop {
                match self.functions().await {
                    Some(functions) => {
                        answered = true;
                        if let Some(verdict) = verdict(&functions, template) {
                            return verdict;
                        }
                    }
                    None if answered => {}
                    None => return Verdict::NoAnswer,
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        tokio::time::timeout(patience, waiting)
            .await
            .unwrap_or(Verdict::TooLate)
    }

    /// Whether anybody answers there.
    pub(crate) async fn answers(&self) -> bool {
        self.functions().await.is_some()
    }

    async fn functions(&self) -> Option<Value> {
        let stream = TcpStream::connect(&self.authority).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        let mut request = Request::get("/v1/functions").header("host", &self.authority);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let exchange = async move {
            let response = sender.send_request(request).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), LARGEST_ANSWER);
            let bytes = body.collect().await.ok()?.to_bytes();
            serde_json::from_slice(&bytes).ok()
        };
        // The connection has to be driven; it ends when the exchange drops
        // the sender, and its own complaint says no more than no answer does.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }
}

/// What the list says about a template, which it names by the first twelve
/// characters of its id or more.
fn verdict(functions: &Value, template: &str) -> Option<Verdict> {
    let list = functions.get("functions").unwrap_or(functions).as_array()?;
    let entry = list.iter().find(|entry| {
        ["template", "template_id"].iter().any(|field| {
            entry[*field]
                .as_str()
                .is_some_and(|id| id.len() >= 12 && template.starts_with(id))
        })
    })?;
    if entry["state"] == "invalid" {
        let reasons: Vec<&str> = entry["reasons"]
            .as_array()
            .map(|reasons| reasons.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        return Some(Verdict::Invalid(reasons.join("; ")));
    }
    Some(Verdict::InForce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEMPLATE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_template_is_found_by_the_beginning_of_its_id() {
        let list = |state: &str| {
            json!({"functions": [
                {"name": "other", "template": "fedcba987654", "state": "invalid"},
                {"name": "hello", "template": "0123456789ab", "state": state, "reasons": ["one", "two"]},
            ]})
        };
        assert_eq!(verdict(&list("ready"), TEMPLATE), Some(Verdict::InForce));
        assert_eq!(
            verdict(&list("invalid"), TEMPLATE),
            Some(Verdict::Invalid(String::from("one; two")))
        );
    }

    #[test]
    fn what_does_not_name_the_template_decides_nothing() {
        for other in [
            json!({"functions": []}),
            json!({"functions": [{"template": ""}, {"template": "0123"}, {"name": "hello"}]}),
            json!({"problem": "another server"}),
            json!(["0123456789ab"]),
            json!(null),
        ] {
            assert_eq!(verdict(&other, TEMPLATE), None, "{other}");
        }
    }

    #[test]
    fn an_address_may_come_with_or_without_its_scheme() {
        for url in [
            "http://127.0.0.1:8081",
            "127.0.0.1:8081",
            "http://127.0.0.1:8081/v1",
        ] {
            assert_eq!(Control::new(url, None).authority, "127.0.0.1:8081");
        }
    }
}
