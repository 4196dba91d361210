//! On a Swarm's manager: how many servers keep what gateways accept, and whether they run.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{Service, SystemInfo};
use bollard::query_parameters::ListServicesOptionsBuilder;

use crate::report::Report;

/// With fewer, the loss of one is the loss of all.
const SERVERS: usize = 3;
/// The label of what `skep install` made.
const PART: &str = "skep.part";

pub(crate) async fn examine(report: &mut Report, docker: &Docker, info: &SystemInfo) {
    let swarm = info.swarm.as_ref();
    if swarm.and_then(|swarm| swarm.control_available) != Some(true) {
        return;
    }
    let options = ListServicesOptionsBuilder::default()
        .filters(&HashMap::from([("label", vec![PART])]))
        .status(true)
        .build();
    let Ok(services) = docker.list_services(Some(options)).await else {
        return report.warn(
            "queue",
            "the Swarm's services can't be listed",
            "check `docker service ls`",
        );
    };
    say(report, &services);
}

fn say(report: &mut Report, services: &[Service]) {
    let of = |part: &str| -> Vec<&Service> {
        let is = |service: &&Service| {
            let labels = service.spec.as_ref().and_then(|spec| spec.labels.as_ref());
            labels
                .and_then(|labels| labels.get(PART))
                .is_some_and(|own| own == part)
        };
        services.iter().filter(is).collect()
    };
    if of("gateway").is_empty() {
        return;
    }
    let servers = of("nats");
    let runs = |service: &&&Service| {
        let status = service.service_status.as_ref();
        status.and_then(|status| status.running_tasks).unwrap_or_default() > 0
    };
    let (all, running) = (servers.len(), servers.iter().filter(runs).count());
    if all == 0 {
        report.warn(
            "queue",
            "skep install put no queue onto this Swarm: unless gateways were given one elsewhere, the loss of a \
             gateway's node loses what it accepted",
            "skep install --queue nats",
        );
    } else if running < all.div_ceil(2) {
        report.fail(
            "queue",
            format!("{running} of {all} servers of the queue run: nothing asynchronous is accepted"),
            "docker service ps skep-nats-1 says why",
        );
    } else if running < all {
        report.warn(
            "queue",
            format!("{running} of {all} servers of the queue run: it goes on, and can lose none"),
            "docker service ls shows which",
        );
    } else if all < SERVERS {
        report.warn(
            "queue",
            "the queue has one server: the loss of its node's disk loses what gateways accepted",
            "skep install on a Swarm of three nodes makes three (docs/swarm.md)",
        );
    } else {
        report.ok(
            "queue",
            format!("the Swarm's queue has {all} servers, and all run"),
        );
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ServiceServiceStatus, ServiceSpec};

    use super::*;
    use crate::report::Level;

    fn service(part: &str, running: u64) -> Service {
        Service {
            spec: Some(ServiceSpec {
                labels: Some(HashMap::from([(PART.to_owned(), part.to_owned())])),
                ..ServiceSpec::default()
            }),
            service_status: Some(ServiceServiceStatus {
                running_tasks: Some(running),
                ..ServiceServiceStatus::default()
            }),
            ..Service::default()
        }
    }

    fn level(servers: &[u64]) -> Option<Level> {
        let mut services = vec![service("gateway", 1)];
        services.extend(servers.iter().map(|running| service("nats", *running)));
        let mut report = Report::default();
        say(&mut report, &services);
        report.findings.first().map(|finding| finding.level)
    }

    #[test]
    fn fewer_than_three_servers_are_said_and_a_lost_majority_is_a_fault() {
        assert_eq!(level(&[1, 1, 1]), Some(Level::Ok));
        assert_eq!(level(&[1, 1, 0]), Some(Level::Warn));
        assert_eq!(level(&[1, 0, 0]), Some(Level::Fail));
        assert_eq!(level(&[1]), Some(Level::Warn));
        assert_eq!(level(&[0]), Some(Level::Fail));
        assert_eq!(level(&[]), Some(Level::Warn));
    }

    #[test]
    fn where_skep_is_not_installed_nothing_is_said() {
        let mut report = Report::default();
        say(&mut report, &[service("nats", 1)]);
        assert!(report.findings.is_empty());
    }
}
