//! Paths and queries: one way to write each, and nothing that a server behind might read otherwise.

use skep_grant::{Call, ContainerCall, target};

#[test]
fn ordinary_requests_are_understood() {
    let read = |method: &str, path: &str, query: Option<&str>| target(method, path, query).unwrap();
    let inspect = read("GET", "/v1.41/containers/abc/json", None);
    assert_eq!(inspect.version, Some((1, 41)));
    assert_eq!(
        inspect.call,
        Call::Container("abc".to_owned(), ContainerCall::Inspect)
    );
    assert_eq!(read("HEAD", "/_ping", None).call, Call::Ping);
    assert_eq!(
        read("GET", "/images/team/tool:1/json", None).call,
        Call::Image("team/tool:1".to_owned())
    );
    let logs = read(
        "GET",
        "/containers/abc/logs",
        Some("follow=1&stdout=True&tail=all"),
    );
    assert!(logs.query.flag("follow") && logs.query.flag("stdout") && !logs.query.flag("stderr"));
    // dockerode writes the body's fields here again.
    let create = read("POST", "/containers/create", Some("Image=a&Cmd=b&Cmd=c&name=n"));
    assert_eq!(create.query.get("name"), Some("n"));
    assert_eq!(create.query.written(), "?name=n");
}

#[test]
fn a_path_that_could_mean_two_things_is_refused() {
    for path in [
        "",
        "containers/json",
        "//containers/json",
        "/containers//json",
        "/containers/json/",
        "/containers/../info",
        "/containers/./json",
        "/containers/%2e%2e/json",
        "/containers/a%2fb/json",
        "/v1.41//containers/json",
        "/containers/a\\b/json",
        "/containers/a;b/json",
        "/containers/a b/json",
        "/v1.041/info",
        "/v1/info",
        "/v1.41.0/info",
        "/v1.9999/info",
    ] {
        assert_eq!(target("GET", path, None).expect_err(path).status, 400, "{path}");
    }
    assert_eq!(target("GET", "/v1.41/v1.41/info", None).unwrap_err().status, 404);
}

#[test]
fn a_parameter_that_could_mean_two_things_is_refused() {
    for query in [
        "stdout=1&stdout=0",
        "unknown=1",
        "stdout=maybe",
        "tail=%ff",
        "since=../../x",
        "Stdout=1",
    ] {
        let refusal = target("GET", "/containers/a/logs", Some(query)).expect_err(query);
        assert!(matches!(refusal.status, 400 | 403), "{query}");
    }
}

#[test]
fn what_is_never_granted_says_so() {
    for (method, path) in [
        ("POST", "/build"),
        ("POST", "/session"),
        ("POST", "/grpc"),
        ("POST", "/commit"),
        ("POST", "/images/load"),
        ("POST", "/images/a/tag"),
        ("POST", "/images/a/push"),
        ("DELETE", "/images/a"),
        ("POST", "/images/prune"),
        ("GET", "/images/get"),
        ("GET", "/images/search"),
        ("POST", "/networks/create"),
        ("POST", "/networks/prune"),
        ("DELETE", "/networks/a"),
        ("POST", "/volumes/create"),
        ("DELETE", "/volumes/a"),
        ("POST", "/auth"),
        ("GET", "/system/df"),
        ("GET", "/swarm"),
        ("POST", "/swarm/init"),
        ("POST", "/services/create"),
        ("GET", "/nodes"),
        ("POST", "/plugins/pull"),
        ("GET", "/secrets"),
        ("POST", "/configs/create"),
        ("POST", "/containers/a/update"),
        ("GET", "/distribution/a/json"),
    ] {
        assert_eq!(
            target(method, path, None).expect_err(path).status,
            403,
            "{method} {path}"
        );
    }
    for (method, path) in [
        ("GET", "/containers/a/attach/ws"),
        ("POST", "/containers/a/json"),
        ("CONNECT", "/x"),
        ("GET", "/"),
    ] {
        assert!(
            target(method, path, None).expect_err(path).status >= 400,
            "{method} {path}"
        );
    }
}

#[test]
fn what_is_looked_for_by_a_name_that_nothing_has_is_not_there() {
    for (path, said) in [
        ("/services/none", "service none not found"),
        ("/tasks/none", "task none not found"),
        ("/nodes/none", "node none not found"),
        ("/secrets/none", "secret none not found"),
        ("/configs/none", "config none not found"),
        ("/plugins/none/json", "plugin \"none\" not found"),
        ("/plugins/team/none:1/json", "plugin \"team/none:1\" not found"),
        ("/networks/team/none", "network team/none not found"),
        ("/volumes/team/none", "get team/none: no such volume"),
    ] {
        let refusal = target("GET", path, Some("insertDefaults=false")).expect_err(path);
        assert_eq!((refusal.status, refusal.message.as_str()), (404, said), "{path}");
    }
    for (method, path) in [
        ("POST", "/services/none/update"),
        ("DELETE", "/services/none"),
        ("DELETE", "/secrets/none"),
        ("POST", "/plugins/none/enable"),
        ("GET", "/plugins/privileges"),
        ("GET", "/plugins"),
        ("GET", "/services"),
    ] {
        let refusal = target(method, path, None).expect_err(path);
        assert_eq!(refusal.status, 403, "{method} {path}");
    }
}
