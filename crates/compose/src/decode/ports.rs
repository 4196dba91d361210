//! `ports` and `expose`.

use super::fields::{Context, Fields};
use crate::problem::Problem;
use crate::project::Port;
use crate::yaml::{Node, Value};
use std::net::IpAddr;

const FORMS: &str = "write \"8080:80\", \"127.0.0.1:8080:80/udp\", \"3000-3005:3000-3005\", \
                     or target and published as a mapping";

impl Fields<'_> {
    pub(super) fn ports(&self) -> Vec<Port> {
        let Some((node, path)) = self.take("ports") else {
            return Vec::new();
        };
        let Value::Sequence(items) = &node.value else {
            self.context.refuse_at(
                &node.position,
                &path,
                format!("expected a list, found {}", node.kind()),
            );
            return Vec::new();
        };
        let mut ports = Vec::new();
        for (index, item) in items.iter().enumerate() {
            ports.extend(port(self.context, item, &format!("{path}[{index}]")));
        }
        ports
    }

    /// Ports as `80/tcp`, ranges spread.
    pub(super) fn expose(&self) -> Vec<String> {
        let Some((node, path)) = self.take("expose") else {
            return Vec::new();
        };
        let mut exposed = Vec::new();
        for text in self.context.texts(node, &path) {
            let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            match range(ports).filter(|_| is_protocol(protocol)) {
                Some((first, last)) => {
                    exposed.extend((first..=last).map(|port| format!("{port}/{protocol}")));
                }
                None => self.context.refuse_at(
                    &node.position,
                    &path,
                    format!("\"{text}\" is not a port such as 80 or 53/udp"),
                ),
            }
        }
        exposed
    }
}

fn port(context: &Context<'_>, node: &Node, path: &str) -> Vec<Port> {
    match &node.value {
        Value::Scalar(text) => short(text).unwrap_or_else(|message| {
            context.refuse(
                Problem::new(format!("\"{text}\" is not a port: {message}"))
                    .at(&node.position, path)
                    .hint(FORMS),
            );
            Vec::new()
        }),
        _ => long(context, node, path).into_iter().collect(),
    }
}

fn long(context: &Context<'_>, node: &Node, path: &str) -> Option<Port> {
    let fields = Fields::open(context, node, path)?;
    let target = fields.number("target");
    let published = fields.text("published");
    let protocol = fields.word("protocol", &["tcp", "udp", "sctp"]);
    let host_ip = fields
        .take("host_ip")
        .and_then(|(node, path)| context.parsed(node, &path, "an IP address", |text| text.parse().ok()));
    fields.noted(&["name", "app_protocol"], "only described, nothing acts on it");
    fields.noted(
        &["mode"],
        "Swarm only: on one engine every port is published on the host",
    );
    fields.finish();
    if let Some(published) = &published
        && range(published).is_none()
    {
        context.refuse_at(
            &node.position,
            path,
            format!("published: \"{published}\" is neither a port nor a range"),
        );
    }
    let Some(target) = target else {
        context.refuse_at(&node.position, path, "target is missing");
        return None;
    };
    Some(Port {
        target,
        published,
        host_ip,
        protocol: protocol.unwrap_or_else(|| String::from("tcp")),
    })
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, host and container ports as ranges.
fn short(text: &str) -> Result<Vec<Port>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !is_protocol(protocol) {
        return Err(format!("{protocol} is not tcp, udp or sctp"));
    }
    let (rest, container) = match ports.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, ports),
    };
    let (address, host) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            Some((address, host)) => (Some(address), Some(host)),
            None => (None, Some(rest)),
        },
    };
    let host_ip: Option<IpAddr> = match address {
        None | Some("") => None,
        Some(address) => Some(
            address
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .map_err(|_| format!("{address} is not an IP address"))?,
        ),
    };
    let (first, last) =
        range(container).ok_or_else(|| format!("{container} is neither a port nor a range"))?;
    let published = match host {
        None | Some("") => None,
        Some(host) => Some(range(host).ok_or_else(|| format!("{host} is neither a port nor a range"))?),
    };
    let count = u32::from(last - first);
    if let Some((low, high)) = published {
        // Several host ports for one container port: the engine takes a free one.
        let any_of = first == last && low != high;
        if !any_of && u32::from(high - low) != count {
            return Err(String::from("the two ranges differ in length"));
        }
    }
    Ok((first..=last)
        .map(|target| Port {
            target,
            published: published.map(|(low, high)| {
                if first == last && low != high {
                    format!("{low}-{high}")
                } else {
                    (u32::from(low) + u32::from(target - first)).to_string()
                }
            }),
            host_ip,
            protocol: protocol.to_owned(),
        })
        .collect())
}

fn is_protocol(text: &str) -> bool {
    matches!(text, "tcp" | "udp" | "sctp")
}

/// One port or `low-high`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high && high > 0).then_some((low, high))
}
