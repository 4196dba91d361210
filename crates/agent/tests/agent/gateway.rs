//! A gateway that the test plays: it says back what agents bring.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use skep_tls::{Body, Identity, Listener, Reply, body};
use skep_wire::{AGENT_NAME, CALLER, CLAIMS, Caller, Claim, Field as _, HOLDERS, NAMES};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What was brought: the path, and who vouched for whom.
pub(crate) type Brought = Arc<Mutex<Vec<(String, Caller)>>>;

/// Such a gateway; dropped, it is gone.
pub(crate) struct FakeGateway {
    pub(crate) address: SocketAddr,
    brought: Brought,
    heard: Arc<Mutex<Vec<HeaderMap>>>,
    names: Arc<Mutex<Names>>,
    _stop: DropGuard,
}

/// What is deployed, and how often that was asked.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    asked: usize,
}

#[derive(Clone)]
struct Back {
    names: Arc<Mutex<Names>>,
    brought: Brought,
    heard: Arc<Mutex<Vec<HeaderMap>>>,
    name: &'static str,
}

impl Reply for Back {
    type Body = Body;

    async fn reply(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() == NAMES {
            let mut names = self.names.lock().expect("whole");
            names.asked += 1;
            let names = serde_json::json!(names.names).to_string();
            return Response::new(body(http_body_util::Full::from(names)));
        }
        if request.uri().path().starts_with(HOLDERS) {
            return Response::new(body(http_body_util::Full::from("[]")));
        }
        if request.uri().path() == CLAIMS {
            let claim = request.into_body().collect().await.expect("a claim").to_bytes();
            let claim: Claim = serde_json::from_slice(&claim).expect("a claim");
            // Another node has three.
            let refused = claim
                .limits
                .is_some_and(|limits| claim.usage.children + 3 > limits.children);
            let said = if refused { "too many on all nodes" } else { "" };
            let mut answer = Response::new(body(http_body_util::Full::from(said)));
            *answer.status_mut() = match refused {
                true => StatusCode::TOO_MANY_REQUESTS,
                false => StatusCode::NO_CONTENT,
            };
            return answer;
        }
        self.heard.lock().expect("whole").push(request.headers().clone());
        let caller = Caller::read(&request.headers()[CALLER]).expect("a caller");
        let path = request.uri().path().to_owned();
        let own = path == format!("/_skep/{}", self.name);
        let status = match path.starts_with("/_skep/") && !own {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::OK,
        };
        self.brought.lock().expect("whole").push((path, caller));
        let mut answer = Response::new(body(http_body_util::Full::from(self.name)));
        *answer.status_mut() = status;
        answer
    }
}

impl FakeGateway {
    /// What it says is deployed.
    pub(crate) fn deployed(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.names.lock().expect("whole").names = names;
    }

    /// How often it was asked that.
    pub(crate) fn asked(&self) -> usize {
        self.names.lock().expect("whole").asked
    }

    /// What was brought since it was last asked.
    pub(crate) fn take(&self) -> Vec<(String, Caller)> {
        std::mem::take(&mut *self.brought.lock().expect("whole"))
    }

    /// The fields of all calls that were brought.
    pub(crate) fn heard(&self) -> Vec<HeaderMap> {
        self.heard.lock().expect("whole").clone()
    }

    pub(crate) async fn start(identity: &Identity, name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let listener = Listener::new(listener, identity, AGENT_NAME).expect("a listener");
        let address = listener.address().expect("its address");
        let (brought, stop) = (Brought::default(), CancellationToken::new());
        let names = Arc::<Mutex<Names>>::default();
        let heard = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let back = Back {
            brought: brought.clone(),
            heard: heard.clone(),
            names: names.clone(),
            name,
        };
        tokio::spawn(listener.serve(back, stop.clone()));
        Self {
            address,
            brought,
            heard,
            names,
            _stop: stop.drop_guard(),
        }
    }
}
