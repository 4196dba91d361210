//! What a function learns of where its request came from: `Forwarded` (RFC 7239) and the `X-Forwarded-*` that the
//! world uses. From outside the trusted proxies nothing of the kind is believed, and it is dropped.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};

use crate::trusted::TrustedProxies;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a request gets here, from whomever it comes.
const WRITTEN: [HeaderName; 6] = [FORWARDED, FOR, PROTO, FORWARDED_HOST, PORT, PREFIX];
/// So many fields are written after these, so that the map grows once.
const MORE: usize = 3;

/// One connection's two ends, and whether its other end may speak for others.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    peer: IpAddr,
    local_port: u16,
    trusted: bool,
    peer_text: String,
    /// What the first request said, and what follows from it: a connection's others mostly say the same.
    first: OnceLock<First>,
}

/// A request from outside the trusted proxies, whose fields all follow from its host and its prefix.
#[derive(Debug, Clone)]
struct First {
    host: HeaderValue,
    prefix: String,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Origin {
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, proxies: &TrustedProxies) -> Self {
        let peer = peer.ip().to_canonical();
        Self {
            peer,
            local_port: local.port(),
            trusted: proxies.contains(peer),
            peer_text: peer.to_string(),
            first: OnceLock::new(),
        }
    }

    /// The address at the other end of the connection.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The port at this end.
    pub(crate) fn local_port(&self) -> u16 {
        self.local_port
    }

    /// Rewrites a request's fields. `prefix` is what was taken off its path. Returns who sent the request: the last
    /// in the chain whom no trusted proxy is.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, prefix: &str, proxies: &TrustedProxies) -> IpAddr {
        drop_claims(headers, self.trusted);
        if self.trusted {
            return self.rewrite(headers, prefix, proxies);
        }
        let Some(first) = self.first.get() else {
            let host = headers.get(HOST).cloned();
            let client = self.rewrite(headers, prefix, proxies);
            if let Some(host) = host {
                let set = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
                let fields = WRITTEN.iter().filter_map(set).collect();
                // Of two at once either may stay.
                let _ = self.first.set(First {
                    host,
                    prefix: prefix.to_owned(),
                    fields,
                });
            }
            return client;
        };
        if first.prefix != prefix || headers.get(HOST) != Some(&first.host) {
            return self.rewrite(headers, prefix, proxies);
        }
        headers.reserve(first.fields.len() + MORE);
        for (name, value) in &first.fields {
            headers.insert(name, value.clone());
        }
        self.peer
    }

    fn rewrite(&self, headers: &mut HeaderMap, prefix: &str, proxies: &TrustedProxies) -> IpAddr {
        let host = headers.get(HOST).cloned();
        let chain = joined(headers, &FOR);
        self.forwarded(headers, &chain, host.as_ref());
        let client = self.client(&chain, proxies);
        let chain = if chain.is_empty() {
            self.peer_text.clone()
        } else {
            format!("{chain}, {}", self.peer_text)
        };
        set(headers, FOR, &chain);
        if !headers.contains_key(PROTO) {
            headers.insert(PROTO, HeaderValue::from_static("http"));
        }
        if let Some(host) = host {
            if !headers.contains_key(PORT) {
                headers.insert(PORT, self.port(&host).into());
            }
            headers.entry(FORWARDED_HOST).or_insert(host);
        }
        if !prefix.is_empty() {
            let outer = headers
                .get(PREFIX)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let whole = format!("{}{prefix}", outer.trim_end_matches('/'));
            set(headers, PREFIX, &whole);
        }
        client
    }

    /// Adds this hop to `Forwarded`; earlier hops that only `X-Forwarded-For` knows are written there as well, so
    /// that both say the same.
    fn forwarded(&self, headers: &mut HeaderMap, chain: &str, host: Option<&HeaderValue>) {
        let mut all = joined(headers, &FORWARDED);
        if all.is_empty() {
            for earlier in addresses(chain) {
                let separator = if all.is_empty() { "" } else { ", " };
                // Writing into a String can't fail, here and below.
                let _ = write!(all, "{separator}for={}", node(earlier));
            }
        }
        let separator = if all.is_empty() { "" } else { ", " };
        let _ = write!(all, "{separator}for={}", node(self.peer));
        if let Some(host) = host.and_then(|host| host.to_str().ok()) {
            // A host with a port, or in brackets, is no token.
            let _ = if host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
            {
                write!(all, ";host={host}")
            } else {
                write!(all, ";host=\"{host}\"")
            };
        }
        all.push_str(";proto=http");
        set(headers, FORWARDED, &all);
    }

    fn client(&self, chain: &str, proxies: &TrustedProxies) -> IpAddr {
        if !self.trusted {
            return self.peer;
        }
        let chain: Vec<IpAddr> = addresses(chain).collect();
        let untrusted = chain.iter().rev().find(|address| !proxies.contains(**address));
        untrusted.or(chain.first()).copied().unwrap_or(self.peer)
    }

    fn port(&self, host: &HeaderValue) -> u16 {
        let text = host.to_str().unwrap_or_default();
        text.rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(self.local_port)
    }
}

/// Drops what is claimed by who isn't trusted, and from whomever what looks like a claim, or like a frame, to a server
/// that takes an underscore for a hyphen (as CGI and WSGI do): no proxy writes such names, so a stranger did.
fn drop_claims(headers: &mut HeaderMap, trusted: bool) {
    let dropped = |name: &&HeaderName| {
        let text = name.as_str();
        // Hardly any field of the others gets further than this.
        if !text.starts_with(['x', 'f', 's', 'c', 't']) {
            return false;
        }
        if !text.contains('_') {
            return !trusted && is_claim(text);
        }
        let meant = text.replace('_', "-");
        is_claim(&meant)
            || meant.starts_with("skep-")
            || *meant == CONTENT_LENGTH
            || *meant == TRANSFER_ENCODING
    };
    let claims: Vec<HeaderName> = headers.keys().filter(dropped).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == FORWARDED || name == REAL_IP
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values.join(", ")
}

fn addresses(chain: &str) -> impl Iterator<Item = IpAddr> {
    chain
        .split(',')
        .filter_map(|item| item.trim().trim_matches(['[', ']']).parse().ok())
}

/// An address as RFC 7239, section 6, writes it.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(proxies: &str, peer: &str, fields: &[(&'static str, &'static str)]) -> (HeaderMap, IpAddr) {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let origin = Origin::new(peer.parse().unwrap(), "127.0.0.1:8080".parse().unwrap(), &proxies);
        let client = origin.apply(&mut headers, "/hello", &proxies);
        (headers, client)
    }

    const CLAIMS: [(&str, &str); 6] = [
        ("host", "example.com"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-prefix", "/outer/"),
        ("x-forwarded-user", "admin"),
    ];

    #[test]
    fn a_claim_in_disguise_is_dropped_whoever_brings_it() {
        let fields = [
            ("x_forwarded_for", "203.0.113.9"),
            ("x-forwarded_for", "203.0.113.9"),
            ("x_real_ip", "203.0.113.9"),
            ("skep_invocation", "x"),
            ("content_length", "5"),
            ("transfer_encoding", "chunked"),
            ("api_key", "its own affair"),
        ];
        for proxies in ["", "10.0.0.1"] {
            let (headers, _) = apply(proxies, "10.0.0.1:5000", &fields);
            let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            let underscored: Vec<&&str> = names.iter().filter(|name| name.contains('_')).collect();
            assert_eq!(underscored, [&"api_key"], "{names:?}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        let (headers, client) = apply("", "192.0.2.1:5000", &CLAIMS);
        assert_eq!(client.to_string(), "192.0.2.1");
        assert_eq!(headers[FOR], "192.0.2.1");
        assert_eq!(headers[PROTO], "http");
        assert_eq!(headers[FORWARDED_HOST], "example.com");
        assert_eq!(headers[PORT], "8080");
        assert_eq!(headers[PREFIX], "/hello");
        assert_eq!(headers[FORWARDED], "for=192.0.2.1;host=example.com;proto=http");
        assert!(!headers.contains_key("x-forwarded-user"));
    }

    #[test]
    fn trusted_proxies_are_believed_and_added_to() {
        let (headers, client) = apply("192.0.2.0/24,198.51.100.0/24", "192.0.2.1:5000", &CLAIMS);
        assert_eq!(client.to_string(), "203.0.113.9");
        assert_eq!(headers[FOR], "203.0.113.9, 198.51.100.4, 192.0.2.1");
        assert_eq!(
            (&headers[PROTO], &headers[FORWARDED_HOST]),
            (&"https".parse().unwrap(), &"shop.example".parse().unwrap())
        );
        assert_eq!(headers[PREFIX], "/outer/hello");
        let all = "for=203.0.113.9, for=198.51.100.4, for=192.0.2.1;host=example.com;proto=http";
        assert_eq!(headers[FORWARDED], all);
    }

    #[test]
    fn what_a_connection_said_first_says_nothing_of_its_other_requests() {
        let proxies = TrustedProxies::default();
        let ends = ["192.0.2.1:5000", "127.0.0.1:8080"].map(|end| end.parse().unwrap());
        let origin = Origin::new(ends[0], ends[1], &proxies);
        let asked = |host: &'static str, prefix: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            headers.insert(FOR, HeaderValue::from_static("203.0.113.9"));
            let client = origin.apply(&mut headers, prefix, &proxies);
            assert_eq!(
                (client, headers[FOR].to_str().unwrap()),
                (ends[0].ip(), "192.0.2.1")
            );
            let fields = [&FORWARDED, &FORWARDED_HOST, &PORT, &PREFIX];
            let text = |name| {
                headers
                    .get(name)
                    .map_or("", |value: &HeaderValue| value.to_str().unwrap())
            };
            fields.map(text).join(" ")
        };
        let one = "for=192.0.2.1;host=\"one.example:90\";proto=http one.example:90 90 /a";
        assert_eq!(asked("one.example:90", "/a"), one);
        let two = "for=192.0.2.1;host=two.example;proto=http two.example 8080 /b";
        assert_eq!(asked("two.example", "/b"), two);
        assert_eq!(asked("one.example:90", "/a"), one);
        assert_eq!(asked("one.example:90", ""), one.strip_suffix("/a").unwrap());
    }

    #[test]
    fn an_address_with_colons_is_quoted() {
        let (headers, _) = apply("", "[2001:db8::1]:5000", &[("host", "example.com:8443")]);
        assert_eq!(headers[FOR], "2001:db8::1");
        assert_eq!(headers[PORT], "8443");
        assert_eq!(
            headers[FORWARDED],
            "for=\"[2001:db8::1]\";host=\"example.com:8443\";proto=http"
        );
    }
}
