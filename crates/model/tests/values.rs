//! Names, routes, lengths of time, amounts of bytes, ids, problems.

use std::time::Duration;

use proptest::prelude::*;
use skep_model::label::{bytes, duration};
use skep_model::route::normalise;
use skep_model::{
    Ending, EndingKind, FunctionName, InstanceId, InvocationId, NameError, Phase, Phases, Problem,
    ProblemCode, Record, Revision, Route, Status, Trigger,
};

#[test]
fn names_are_dns_labels() {
    let longest = "a".repeat(63);
    for name in ["a", "0", "a-b", "a--b", longest.as_str()] {
        assert_eq!(
            name.parse::<FunctionName>().map(|parsed| parsed.to_string()),
            Ok(name.to_owned())
        );
    }
    let cases = [
        ("", NameError::Empty),
        ("-a", NameError::Hyphen),
        ("a-", NameError::Hyphen),
        ("A", NameError::Character('A')),
        ("a_b", NameError::Character('_')),
        ("a.b", NameError::Character('.')),
        ("ä", NameError::Character('ä')),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<FunctionName>(), Err(error));
    }
    assert_eq!(
        "a".repeat(64).parse::<FunctionName>(),
        Err(NameError::TooLong(64))
    );
}

#[test]
fn routes_are_read_and_written() {
    let cases = [
        ("/", None, "", "/"),
        ("/a", None, "/a", "/a"),
        ("/a/b/", None, "/a/b", "/a/b"),
        ("example.com", Some("example.com"), "", "example.com"),
        ("Example.COM/", Some("example.com"), "", "example.com"),
        ("example.com/a", Some("example.com"), "/a", "example.com/a"),
        ("localhost", Some("localhost"), "", "localhost"),
        ("10.0.0.1/x", Some("10.0.0.1"), "/x", "10.0.0.1/x"),
        ("/%61%2f%C3%a9", None, "/a%2F%C3%A9", "/a%2F%C3%A9"),
        ("/v1.0/~user/a:b", None, "/v1.0/~user/a:b", "/v1.0/~user/a:b"),
    ];
    for (text, host, prefix, written) in cases {
        let route: Route = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (route.host.as_deref(), route.prefix.as_str()),
            (host, prefix),
            "{text}"
        );
        assert_eq!(route.to_string(), written);
        assert_eq!(written.parse::<Route>(), Ok(route), "what is written can be read");
    }
}

#[test]
fn what_is_no_route_is_refused() {
    for text in [
        "",
        "//",
        "/a//",
        "//a",
        "/a//b",
        "/a/./b",
        "/..",
        "/%2e%2e/x",
        "/_skep",
        "/_skep/x",
        "/%5Fskep",
        "example.com:80",
        "-a.com",
        "a..b",
        "exa mple",
        "a b/c",
        "/a b",
        "/a?b",
        "/a#b",
        "/é",
        "/%",
        "/%2",
        "/%zz",
        "/a,b",
        "/a\u{0}",
    ] {
        assert!(text.parse::<Route>().is_err(), "{text:?}");
    }
}

#[test]
fn paths_that_mean_the_same_are_written_the_same() {
    let cases = [
        ("/plain", "/plain"),
        ("/%61%7e", "/a~"),
        ("/%2f", "/%2F"),
        ("/%c3%A9", "/%C3%A9"),
        ("/%", "/%"),
        ("/%4", "/%4"),
        ("/%zz%61", "/%zza"),
        ("/%%61", "/%a"),
        ("/%é", "/%é"),
    ];
    for (path, normal) in cases {
        assert_eq!(normalise(path), normal);
    }
}

#[test]
fn lengths_of_time_are_read_as_docker_and_go_write_them() {
    let cases = [
        ("90s", 90_000),
        ("1m30s", 90_000),
        ("500ms", 500),
        ("1.5h", 5_400_000),
        ("0.5s", 500),
        (".5s", 500),
        ("1h0m0s", 3_600_000),
        ("366h", 366 * 3_600_000),
    ];
    for (text, milliseconds) in cases {
        assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
    for text in [
        "",
        "1",
        "s",
        "1d",
        "0s",
        "-1s",
        "1 s",
        "1s ",
        "1..5s",
        "nans",
        "infs",
        "1e3s",
        "99999999h",
        "1ss",
        "é",
    ] {
        assert!(duration(text).is_err(), "{text:?}");
    }
}

#[test]
fn amounts_of_bytes_are_read_as_docker_writes_them() {
    let cases = [
        ("1", 1),
        ("1024b", 1024),
        ("64k", 64 << 10),
        ("256m", 256 << 20),
        ("256MB", 256 << 20),
        ("1GiB", 1 << 30),
        ("2t", 2 << 40),
    ];
    for (text, amount) in cases {
        assert_eq!(bytes(text), Ok(amount), "{text}");
    }
    for text in [
        "",
        "0",
        "m",
        "-1m",
        "1.5g",
        "1 g",
        "1p",
        "99999999999t",
        "18446744073709551616",
        "é",
    ] {
        assert!(bytes(text).is_err(), "{text:?}");
    }
}

#[test]
fn ids_sort_by_the_time_they_were_made() {
    let ids: Vec<InvocationId> = (0..1000).map(|_| InvocationId::generate()).collect();
    assert!(ids.is_sorted());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    assert!(now.abs_diff(u128::from(ids[0].unix_milliseconds())) < 60_000);
    assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
    assert_eq!(InvocationId::from_bytes(*ids[0].as_bytes()), ids[0]);
    assert!("not-an-id".parse::<InstanceId>().is_err());
}

#[test]
fn a_revision_is_twelve_hexadecimal_digits_of_the_definition() {
    let revision = Revision::of(b"definition");
    assert_eq!(revision.as_str().len(), 12);
    assert!(revision.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(revision, Revision::of(b"definition"));
    assert_ne!(revision, Revision::of(b"another"));
}

#[test]
fn phases_come_in_the_order_in_which_they_happen() {
    let phases = Phases {
        handler: Some(Duration::from_millis(3)),
        queue: Some(Duration::from_millis(1)),
        ..Phases::default()
    };
    let named: Vec<_> = phases.iter().map(|(phase, _)| phase).collect();
    assert_eq!(named, [Phase::Queue, Phase::Handler]);
}

#[test]
fn problems_never_show_what_is_for_the_operator() {
    let problem = Problem::new(ProblemCode::StartFailed)
        .detail("public")
        .internal("/etc/secret");
    let body = problem.to_json(Some("id"));
    assert!(
        body.contains("public")
            && body.contains(r#""code":"start-failed""#)
            && body.contains(r#""status":502"#)
    );
    assert!(!body.contains("secret"));
    let mut codes: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ProblemCode::ALL.len(), "each code is its own");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_route_that_is_read_is_written_and_read_again_the_same(text in "[a-zA-Z0-9./%~:-]{0,20}") {
        if let Ok(route) = text.parse::<Route>() {
            prop_assert_eq!(route.to_string().parse::<Route>(), Ok(route));
        }
    }

    #[test]
    fn normalising_twice_changes_nothing_and_keeps_the_segments(path in "[a-zA-Z0-9/%é~]{0,30}") {
        let once = normalise(&path).into_owned();
        prop_assert_eq!(once.matches('/').count(), path.matches('/').count());
        // `%%61` becomes `%a`, which with two digits behind it would read as an encoding: broken ones are let be.
        let broken = path.split('%').skip(1).any(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() < 2);
        if !broken {
            prop_assert_eq!(normalise(&once).into_owned(), once.clone());
        }
    }

    #[test]
    fn whole_seconds_are_read_exactly(seconds in 1..31_000_000_u64) {
        prop_assert_eq!(duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn nothing_breaks_the_readers(text in ".*") {
        let _ = (duration(&text), bytes(&text), text.parse::<Route>(), text.parse::<FunctionName>());
    }
}

#[test]
fn a_record_is_closed_as_its_ending_says_and_has_failed_where_it_has_none() {
    let received = "2026-01-02T03:04:05Z".parse().unwrap();
    let now = "2026-01-02T03:05:00Z".parse().unwrap();
    let id = InvocationId::generate();
    let (function, method, path) = ("work".to_owned(), "POST".to_owned(), "/".to_owned());
    let queued = Record::queued(id, function, Trigger::Async, method, path, received);
    let record = |ending| Record {
        status: Status::Running,
        attempts: 1,
        ending,
        ..queued.clone()
    };
    let closed = record(Some(Ending::of(EndingKind::Completed))).closed(now);
    assert_eq!((closed.status, closed.ended), (Status::Succeeded, Some(now)));
    assert_eq!(record(None).closed(now).status, Status::Failed);
    // Whoever ran it knows better when it ended.
    let known = Record {
        ended: Some(received),
        ..record(Some(Ending::function_removed()))
    };
    let closed = known.closed(now);
    assert_eq!((closed.status, closed.ended), (Status::Failed, Some(received)));
}
