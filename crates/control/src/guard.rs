//! Who may speak to the control listener. It holds against three callers that a loopback address alone lets in: a
//! web page in the operator's own browser (another `Origin`), a name that was pointed at this address (another
//! `Host`), and, beyond loopback, everybody without the token.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use skep_model::ProblemCode;

use crate::reply::Failure;

/// A secret that a caller has to know; only its digest is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text; surrounding white space does not belong to it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Sha256::digest(text).into()))
    }

    /// Compares digests, every byte of them: the time it takes tells nothing of the token.
    fn matches(&self, text: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(text).into();
        self.0
            .iter()
            .zip(other)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why a listener is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessError(SocketAddr);

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the control listener's address {} can be reached from elsewhere, and no token is set",
            self.0
        )
    }
}

impl std::error::Error for AccessError {}

/// Who may speak.
#[derive(Debug, Clone)]
pub struct Access {
    token: Option<Token>,
    names: Arc<BTreeSet<String>>,
}

impl Access {
    /// Rules for a listener on `address`. `names` are the host names, besides `localhost`, under which it is known.
    ///
    /// # Errors
    /// The address is beyond loopback and there is no token.
    pub fn new(
        address: SocketAddr,
        token: Option<Token>,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Self, AccessError> {
        if !address.ip().to_canonical().is_loopback() && token.is_none() {
            return Err(AccessError(address));
        }
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self {
            token,
            names: Arc::new(names),
        })
    }

    /// Whether a token is asked for.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn check(&self, headers: &HeaderMap, path: &str, local: Option<IpAddr>) -> Result<(), Failure> {
        let host = self.check_host(headers, local)?;
        check_origin(headers, &host)?;
        // Whoever watches over processes (a load balancer, Docker's HEALTHCHECK) carries no secrets.
        if matches!(path, "/healthz" | "/readyz") {
            return Ok(());
        }
        self.check_token(headers)
    }

    /// The authority in `Host`, if it is this listener's.
    fn check_host(&self, headers: &HeaderMap, local: Option<IpAddr>) -> Result<Authority, Failure> {
        let refuse = |detail: &str| Err(Failure::new(ProblemCode::ForbiddenOrigin, detail));
        let Some(value) = headers.get(header::HOST) else {
            return refuse("the request has no Host");
        };
        let Some(authority) = value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<Authority>().ok())
        else {
            return refuse("the request's Host can't be read");
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        let own = match host.parse::<IpAddr>() {
            Ok(ip) => {
                let ip = ip.to_canonical();
                ip.is_loopback()
                    || local.is_some_and(|local| local.to_canonical() == ip)
                    || self.names.contains(&host)
            }
            Err(_) => host == "localhost" || self.names.contains(&host),
        };
        // User information has no place in a Host, and would only hide what follows it.
        if own && !authority.as_str().contains('@') {
            Ok(authority)
        } else {
            refuse(
                "the request's Host is not this listener's; --control-names adds names to those it answers to",
            )
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = given.and_then(|text| {
            let (scheme, rest) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
        });
        match bearer {
            Some(text) if token.matches(text) => Ok(()),
            Some(_) => Err(Failure::new(ProblemCode::Unauthorized, "this is not the token")),
            None => Err(Failure::new(
                ProblemCode::Unauthorized,
                "send the token: Authorization: Bearer TOKEN",
            )),
        }
    }
}

/// Refuses what a browser sends on behalf of any page that did not come from this very listener. A page on another
/// port of the same host is such a page too: functions' own pages are.
fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Failure> {
    let refuse = |detail: &str| Err(Failure::new(ProblemCode::ForbiddenOrigin, detail));
    if let Some(site) = headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return refuse("a browser sent this for a page of another site");
    }
    for origin in headers.get_all(header::ORIGIN) {
        let own = origin
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("http://"))
            .and_then(|text| {
                let authority = text.parse::<Authority>().ok()?;
                Some(authority.as_str().eq_ignore_ascii_case(host.as_str()))
            });
        if own != Some(true) {
            return refuse("the request's Origin is another site");
        }
    }
    Ok(())
}

/// The address on which a connection was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalAddress(pub(crate) SocketAddr);

/// The middleware in front of everything.
pub(crate) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let local = request
        .extensions()
        .get::<LocalAddress>()
        .map(|local| local.0.ip());
    if let Err(failure) = access.check(request.headers(), request.uri().path(), local) {
        return failure.into_response();
    }
    if access.token.is_some() {
        // It was for this listener, and is no business of the function that is invoked through it.
        request.headers_mut().remove(header::AUTHORIZATION);
    }
    next.run(request).await
}
