//! What labels mean, which are refused, and with which reason.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use skep_model::label::{self, SETTINGS};
use skep_model::{EngineChoice, Handler, PortChoice, Protocol, Ready, Recycle, Route, SandboxChoice};
use support::{function, read, reasons, template};

#[test]
fn without_labels_every_setting_has_its_documented_default() {
    let settings = function(&[]).settings;
    assert_eq!(settings.handler, Handler::Http);
    assert_eq!(
        settings.routes,
        [Route {
            host: None,
            prefix: "/hello".into()
        }]
    );
    assert!(settings.strip && settings.asynchronous);
    assert_eq!(settings.port, PortChoice::Assigned);
    assert_eq!(
        (settings.protocol, settings.ready),
        (Protocol::Http1, Ready::Connect)
    );
    assert_eq!(
        (settings.recycle, settings.concurrency, settings.spares),
        (Recycle::Request, 1, 0)
    );
    assert_eq!(
        (settings.max, settings.queue, settings.backlog),
        (64, 256, 100_000)
    );
    assert_eq!(
        (settings.idle, settings.timeout),
        (Duration::from_secs(60), Duration::from_secs(30))
    );
    assert_eq!(
        (settings.engine, settings.sandbox),
        (EngineChoice::Auto, SandboxChoice::Shared)
    );
    assert_eq!(
        (settings.sandboxes, settings.slots, settings.disk),
        (0, 16, 256 << 20)
    );
}

#[test]
fn each_label_sets_its_field() {
    let labels = [
        ("skep.handler", "http"),
        ("skep.route", "/a/, Shop.example.com/b"),
        ("skep.strip", "false"),
        ("skep.port", "8080"),
        ("skep.protocol", "h2c"),
        ("skep.ready", "/healthz?full=1"),
        ("skep.recycle", "5"),
        ("skep.concurrency", "7"),
        ("skep.spares", "2"),
        ("skep.max", "3"),
        ("skep.queue", "0"),
        ("skep.async", "false"),
        ("skep.backlog", "10"),
        ("skep.idle", "1m30s"),
        ("skep.timeout", "500ms"),
        ("skep.engine", "docker"),
        ("skep.sandbox", "private"),
        ("skep.sandboxes", "1"),
        ("skep.slots", "4"),
        ("skep.disk", "1g"),
    ];
    let function = function(&labels);
    let settings = function.settings;
    assert_eq!(function.name.as_str(), "hello");
    let shop = Route {
        host: Some("shop.example.com".into()),
        prefix: "/b".into(),
    };
    assert_eq!(
        settings.routes,
        [
            Route {
                host: None,
                prefix: "/a".into()
            },
            shop
        ]
    );
    assert!(!settings.strip && !settings.asynchronous);
    assert_eq!(
        (settings.port, settings.protocol),
        (PortChoice::Fixed(8080), Protocol::H2c)
    );
    assert_eq!(settings.ready, Ready::Path("/healthz?full=1".into()));
    assert_eq!(
        (settings.recycle, settings.concurrency, settings.spares),
        (Recycle::After(5), 7, 2)
    );
    assert_eq!((settings.max, settings.queue, settings.backlog), (3, 0, 10));
    assert_eq!(
        (settings.idle, settings.timeout),
        (Duration::from_secs(90), Duration::from_millis(500))
    );
    assert_eq!(
        (settings.engine, settings.sandbox),
        (EngineChoice::Docker, SandboxChoice::Private)
    );
    assert_eq!(
        (settings.sandboxes, settings.slots, settings.disk),
        (1, 4, 1 << 30)
    );
}

#[test]
fn a_recycle_of_one_is_a_fresh_instance_for_each_request() {
    assert_eq!(
        function(&[("skep.recycle", "1")]).settings.recycle,
        Recycle::Request
    );
    assert_eq!(
        function(&[("skep.recycle", "idle")]).settings.recycle,
        Recycle::Idle
    );
}

#[test]
fn route_none_is_no_route() {
    assert!(function(&[("skep.route", "none")]).settings.routes.is_empty());
}

#[test]
fn malformed_values_are_refused_with_label_value_and_what_is_allowed() {
    let cases = [
        ("skep.handler", "HTTP", "http, cgi, exec"),
        ("skep.handler", "", "http, cgi, exec"),
        ("skep.strip", "yes", "true, false"),
        ("skep.port", "0", "1 to 65535"),
        ("skep.port", "65536", "1 to 65535"),
        ("skep.port", "+80", "1 to 65535"),
        ("skep.protocol", "h2", "http1, h2c"),
        ("skep.ready", "healthz", "a path such as"),
        ("skep.ready", "/a b", "a path such as"),
        ("skep.recycle", "0", "request, idle, or a number"),
        ("skep.recycle", "never", "request, idle, or a number"),
        ("skep.max", "0", "1 to"),
        ("skep.max", "-1", "1 to"),
        ("skep.max", " 1", "1 to"),
        ("skep.max", "99999999999999999999", "1 to"),
        ("skep.queue", "1.5", "0 to"),
        ("skep.async", "1", "true, false"),
        ("skep.idle", "0s", "length of time"),
        ("skep.timeout", "30", "length of time"),
        ("skep.timeout", "-1s", "length of time"),
        ("skep.engine", "podman", "auto, lean, docker"),
        ("skep.sandbox", "none", "shared, private"),
        ("skep.disk", "0", "amount of bytes"),
        ("skep.disk", "1.5g", "amount of bytes"),
        ("skep.route", "", "is empty"),
        ("skep.route", "/a,", "is empty"),
        ("skep.route", "/a,/a/", "there twice"),
        ("skep.route", "/a,none", "stands alone"),
        ("skep.route", "/_skep/x", "Skep's own"),
        ("skep.namespace", "A", "only a-z"),
    ];
    for (key, value, allowed) in cases {
        let reasons = reasons(&[(key, value)]);
        assert_eq!(reasons.len(), 1, "{key}={value}: {reasons:?}");
        assert!(reasons[0].starts_with(&format!("{key}={value}: ")), "{reasons:?}");
        assert!(
            reasons[0].contains(allowed),
            "{reasons:?} does not say {allowed:?}"
        );
    }
}

#[test]
fn every_reason_is_told_at_once() {
    let reasons = reasons(&[
        ("skep.max", "no"),
        ("skep.timeot", "1s"),
        ("skep.function", "Not a name"),
    ]);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
fn an_unknown_label_is_refused_and_a_near_one_suggested() {
    let reasons = reasons(&[("skep.rout", "/x"), ("skep.frobnicate", "1")]);
    assert!(
        reasons.contains(&"skep.rout: no such label; did you mean skep.route?".to_owned()),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&"skep.frobnicate: no such label".to_owned()),
        "{reasons:?}"
    );
    assert!(
        read(template(&[("com.example.skep", "x"), ("skeptical", "y")])).is_ok(),
        "others' labels are theirs"
    );
}

#[test]
fn contradictory_labels_are_refused() {
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("skep.handler", "exec"), ("skep.spares", "1")], "skep.spares"),
        (
            &[("skep.handler", "cgi"), ("skep.recycle", "idle")],
            "skep.recycle",
        ),
        (&[("skep.handler", "exec"), ("skep.port", "80")], "skep.port"),
        (
            &[("skep.handler", "exec"), ("skep.protocol", "h2c")],
            "skep.protocol",
        ),
        (&[("skep.handler", "cgi"), ("skep.ready", "/x")], "skep.ready"),
        (&[("skep.handler", "cgi"), ("skep.idle", "5s")], "skep.idle"),
        (
            &[("skep.handler", "exec"), ("skep.concurrency", "1")],
            "skep.concurrency",
        ),
        (&[("skep.concurrency", "2")], "skep.recycle=idle"),
        (&[("skep.spares", "3"), ("skep.max", "2")], "skep.max=2"),
    ];
    for (labels, mentioned) in cases {
        let reasons = reasons(labels);
        assert!(
            reasons.iter().any(|reason| reason.contains(mentioned)),
            "{labels:?}: {reasons:?}"
        );
    }
}

#[test]
fn the_object_itself_must_be_a_template() {
    let mut started = template(&[]);
    started.ever_started = true;
    let mut publishes = template(&[]);
    publishes.publishes_ports = true;
    let mut imageless = template(&[]);
    imageless.image_present = false;
    let mut terminal = template(&[("skep.handler", "exec")]);
    terminal.tty = true;
    let mut addressed = template(&[]);
    addressed.fixed_address = true;
    for (template, mentioned) in [
        (started, "started"),
        (publishes, "publishes ports"),
        (imageless, "image:tag"),
        (terminal, "TTY"),
        (addressed, "fixed IP"),
    ] {
        let reasons = read(template).expect_err("it is no template");
        assert!(
            reasons.len() == 1 && reasons[0].contains(mentioned),
            "{reasons:?}"
        );
    }
    let mut terminal = template(&[]);
    terminal.tty = true;
    assert!(read(terminal).is_ok(), "http does not mind a TTY");
    let mut addressed = template(&[("skep.max", "1")]);
    addressed.fixed_address = true;
    assert!(read(addressed).is_ok(), "one at a time can have the address");
}

#[test]
fn the_port_is_what_the_image_says_where_that_is_clear() {
    let port = |exposed: &[u16], variable: Option<&str>| {
        let mut template = template(&[]);
        template.exposed_tcp = exposed.to_vec();
        template.port_variable = variable.map(str::to_owned);
        read(template).expect("it is valid").settings.port
    };
    assert_eq!(port(&[80], None), PortChoice::Fixed(80));
    assert_eq!(port(&[], None), PortChoice::Assigned);
    assert_eq!(port(&[80, 443], None), PortChoice::Assigned);
}

#[test]
fn an_image_cannot_deploy_itself_or_grant_itself_anything() {
    let granting = [
        ("skep.function", "hello"),
        ("skep.namespace", "other"),
        ("skep.route", "/admin"),
        ("skep.engine", "docker"),
    ];
    for (key, value) in granting {
        let mut template = template(&[(key, value)]);
        template.image_labels.insert(key.to_owned(), value.to_owned());
        assert!(
            !label::effective(&template.labels, &template.image_labels).contains_key(key),
            "{key}"
        );
        // The deployer's own word counts, where it differs.
        template
            .image_labels
            .insert(key.to_owned(), "other-value".to_owned());
        assert!(
            label::effective(&template.labels, &template.image_labels).contains_key(key),
            "{key}"
        );
    }
    let mut template = template(&[("skep.timeout", "5s")]);
    template
        .image_labels
        .insert("skep.timeout".to_owned(), "5s".to_owned());
    assert!(label::effective(&template.labels, &template.image_labels).contains_key("skep.timeout"));
}

#[test]
fn what_skep_makes_is_no_template() {
    assert_eq!(label::function_name(&template(&[])), Some("hello".to_owned()));
    assert_eq!(label::function_name(&template(&[(label::OWNER, "a-skep")])), None);
    assert_eq!(label::namespace(&template(&[])), "default");
    assert_eq!(label::namespace(&template(&[("skep.namespace", "shop")])), "shop");
}

#[test]
fn a_grant_is_read_with_every_default() {
    let spawn = function(&[("skep.spawn", "record-vote, debian:bookworm-slim")])
        .settings
        .spawn;
    let expected = skep_model::Spawn {
        may_start: vec!["record-vote".to_owned(), "debian:bookworm-slim".to_owned()],
        ..skep_model::Spawn::default()
    };
    assert_eq!(spawn, Some(expected));
    let spawn = function(&[
        ("skep.spawn", "a"),
        ("skep.spawn.cpus", "0.5"),
        ("skep.spawn.ports", "8000-8010,0"),
        ("skep.spawn.networks", "backend"),
    ]);
    let spawn = spawn.settings.spawn.unwrap();
    assert_eq!(spawn.nano_cpus, 500_000_000);
    assert!(spawn.ports.iter().any(|ports| ports.contains(8010)));
    assert_eq!(spawn.networks, ["backend"]);
}

#[test]
fn a_grant_that_says_nothing_clear_is_refused() {
    for (key, value) in [
        ("skep.spawn", ""),
        ("skep.spawn", "a,,b"),
        ("skep.spawn", "a,a"),
        ("skep.spawn", "../etc"),
        ("skep.spawn.max", "3"),
    ] {
        assert_eq!(reasons(&[(key, value)]).len(), 1, "{key}={value}");
    }
    for (key, value) in [
        ("skep.spawn.max", "0"),
        ("skep.spawn.networks", "host"),
        ("skep.spawn.volumes", "/etc"),
        ("skep.spawn.ports", "10-1"),
        ("skep.spawn.ports", "0-10"),
        ("skep.spawn.cpus", "-1"),
        ("skep.spawn.cpus", "NaN"),
        ("skep.spawn.life", "forever"),
        ("skep.spawn.maximum", "1"),
    ] {
        assert_eq!(
            reasons(&[("skep.spawn", "a"), (key, value)]).len(),
            1,
            "{key}={value}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_label_text_can_break_the_reader(
        key in prop::sample::select(SETTINGS.to_vec()), value in ".*",
        other in prop::sample::select(SETTINGS.to_vec()), other_value in "[a-z0-9./,%-]{0,12}",
    ) {
        let result = read(template(&[(key, &value), (other, &other_value)]));
        if let Err(reasons) = result {
            prop_assert!(reasons.iter().all(|reason| !reason.is_empty()));
        }
    }
}
