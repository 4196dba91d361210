//! The rules by example, then against a model that is slow and simple.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use skep_model::{Function, Invalid, Namespace, Revision, Route, Template, TemplateId};

use crate::Catalogue;

/// A template: the function's name, the age as a number (higher is newer), its `skep.route`.
fn template(name: &str, created: i64, route: &str) -> Function {
    let labels = [("skep.function", name), ("skep.route", route)];
    let template = Template {
        id: TemplateId(format!("{name}-{created}").into()),
        name: format!("template-{name}-{created}"),
        created: Timestamp::UNIX_EPOCH + created.seconds(),
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        image_labels: BTreeMap::new(),
        image_id: "sha256:0".into(),
        image: "image".into(),
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: None,
        fixed_address: false,
        network_mode: "bridge".into(),
        networks: Vec::new(),
        memory: None,
        copied: None,
        inspect: "{}".into(),
    };
    Function::from_template(Arc::new(template), Revision::of(&created.to_le_bytes()))
        .expect("a valid template")
}

fn resolve(candidates: &[Function], previous: Option<&Catalogue>) -> Catalogue {
    Catalogue::resolve(
        &Namespace::default(),
        candidates.iter().cloned().map(Ok).collect(),
        previous,
    )
}

/// Which function and which prefix a request reaches.
fn reached<'a>(catalogue: &'a Catalogue, host: Option<&str>, path: &'a str) -> Option<(&'a str, &'a str)> {
    catalogue
        .route(host, path)
        .map(|matched| (matched.function.name.as_str(), matched.prefix))
}

fn created(catalogue: &Catalogue, name: &str) -> Option<i64> {
    catalogue
        .function(name)
        .map(|function| function.template.created.as_second())
}

#[test]
fn the_newest_valid_template_wins_and_older_ones_are_superseded() {
    let catalogue = resolve(
        &[
            template("a", 1, "/a"),
            template("a", 3, "/a"),
            template("a", 2, "/a"),
        ],
        None,
    );
    assert_eq!(created(&catalogue, "a"), Some(3));
    let older: Vec<i64> = catalogue
        .superseded()
        .iter()
        .map(|f| f.template.created.as_second())
        .collect();
    assert_eq!(older, [2, 1]);
    assert!(catalogue.invalid().is_empty());
}

#[test]
fn an_older_valid_template_stays_in_force_while_a_newer_is_invalid() {
    let newer = Invalid {
        name: "a".into(),
        template: TemplateId("new".into()),
        template_name: "new".into(),
        reasons: vec!["skep.max=0".into()],
    };
    let candidates = vec![Ok(template("a", 1, "/a")), Err(newer.clone())];
    let catalogue = Catalogue::resolve(&Namespace::default(), candidates, None);
    assert_eq!(created(&catalogue, "a"), Some(1));
    assert_eq!(catalogue.invalid(), [newer]);
}

#[test]
fn other_namespaces_are_left_out() {
    let mut other = template("a", 1, "/a");
    other.namespace = "other".parse().expect("a name");
    let catalogue = resolve(&[other, template("b", 1, "/b")], None);
    assert_eq!(catalogue.functions().count(), 1);
    assert!(catalogue.invalid().is_empty());
}

#[test]
fn at_start_the_older_template_keeps_the_route() {
    let catalogue = resolve(&[template("new", 2, "/x,/y"), template("old", 1, "/x")], None);
    assert_eq!(reached(&catalogue, None, "/x"), Some(("old", "/x")));
    assert_eq!(
        reached(&catalogue, None, "/y"),
        None,
        "the whole function is invalid"
    );
    let invalid = &catalogue.invalid()[0];
    assert_eq!(
        (invalid.name.as_str(), invalid.template_name.as_str()),
        ("new", "template-new-2")
    );
    assert!(invalid.reasons[0].contains("/x") && invalid.reasons[0].contains("function old"));
}

#[test]
fn a_served_route_stays_with_its_function_even_against_an_older_template() {
    let before = resolve(&[template("young", 5, "/x")], None);
    let after = resolve(
        &[template("young", 5, "/x"), template("old", 1, "/x")],
        Some(&before),
    );
    assert_eq!(reached(&after, None, "/x"), Some(("young", "/x")));
    // Also in the function's next revision.
    let redeployed = resolve(
        &[template("young", 9, "/x"), template("old", 1, "/x")],
        Some(&after),
    );
    assert_eq!(created(&redeployed, "young"), Some(9));
    assert_eq!(reached(&redeployed, None, "/x"), Some(("young", "/x")));
    // When it is gone, the other one has it.
    let gone = resolve(&[template("old", 1, "/x")], Some(&redeployed));
    assert_eq!(reached(&gone, None, "/x"), Some(("old", "/x")));
}

#[test]
fn a_newer_template_that_loses_its_route_leaves_the_older_one_in_force() {
    let before = resolve(&[template("a", 1, "/a"), template("b", 1, "/b")], None);
    let now = [
        template("a", 1, "/a"),
        template("b", 1, "/b"),
        template("a", 2, "/a,/b"),
    ];
    let after = resolve(&now, Some(&before));
    assert_eq!(created(&after, "a"), Some(1));
    assert_eq!(after.invalid().len(), 1);
    assert_eq!(reached(&after, None, "/b"), Some(("b", "/b")));
}

#[test]
fn two_functions_may_swap_their_routes_in_one_step() {
    let before = resolve(&[template("a", 1, "/x"), template("b", 1, "/y")], None);
    let after = resolve(&[template("a", 2, "/y"), template("b", 2, "/x")], Some(&before));
    assert!(after.invalid().is_empty());
    assert_eq!(reached(&after, None, "/x"), Some(("b", "/x")));
}

#[test]
fn nobody_loses_a_route_to_a_function_that_is_itself_invalid() {
    // `b` wants /a and /c, and loses /a; so /c is free for the younger `c`.
    let catalogue = resolve(
        &[
            template("a", 1, "/a"),
            template("b", 2, "/a,/c"),
            template("c", 3, "/c"),
        ],
        None,
    );
    assert_eq!(reached(&catalogue, None, "/c"), Some(("c", "/c")));
    assert_eq!(catalogue.invalid().len(), 1);
}

#[test]
fn routes_that_mean_the_same_path_collide() {
    let catalogue = resolve(&[template("a", 1, "/shop"), template("b", 2, "/sh%6Fp")], None);
    assert_eq!(catalogue.invalid().len(), 1);
}

#[test]
fn paths_match_on_segment_boundaries_and_the_longest_prefix_wins() {
    let templates = [
        template("hello", 1, "/hello"),
        template("deep", 1, "/hello/deep/er"),
        template("root", 1, "/"),
        template("shop", 1, "shop.example.com"),
        template("api", 1, "shop.example.com/api"),
        template("encoded", 1, "/caf%C3%A9"),
        template("hidden", 1, "none"),
    ];
    let catalogue = resolve(&templates, None);
    let cases = [
        (None, "/hello", "hello", "/hello"),
        (None, "/hello/", "hello", "/hello"),
        (None, "/hello/x", "hello", "/hello"),
        (None, "/hello?x=/deep/er", "hello", "/hello"),
        (None, "/helloworld", "root", ""),
        (None, "/hello/deep", "hello", "/hello"),
        (None, "/hello/deep/er/x", "deep", "/hello/deep/er"),
        (None, "/h%65llo/x", "hello", "/h%65llo"),
        (None, "/hello%2Fdeep", "root", ""),
        (None, "/HELLO", "root", ""),
        (None, "//hello", "root", ""),
        (None, "/hello//x", "hello", "/hello"),
        (None, "/caf%c3%a9/x", "encoded", "/caf%c3%a9"),
        (None, "/%zz", "root", ""),
        (None, "/", "root", ""),
        (None, "/hidden", "root", ""),
        (Some("SHOP.example.com:8080"), "/hello", "shop", ""),
        (Some("shop.example.com."), "/api?q", "api", "/api"),
        (Some("shop.example.com"), "/apis", "shop", ""),
        (Some("other.example.com"), "/hello", "hello", "/hello"),
        (Some("[::1]:80"), "/hello", "hello", "/hello"),
        (Some(""), "/hello", "hello", "/hello"),
    ];
    for (host, path, function, prefix) in cases {
        assert_eq!(
            reached(&catalogue, host, path),
            Some((function, prefix)),
            "{host:?} {path}"
        );
    }
    assert_eq!(reached(&catalogue, None, "*"), None);
    assert_eq!(reached(&catalogue, None, ""), None);
}

#[test]
fn each_of_thousands_of_functions_is_found() {
    let many: Vec<Function> = (0..3000)
        .map(|n| template(&format!("f{n}"), n, &format!("/a/b/f{n}")))
        .collect();
    let catalogue = resolve(&many, None);
    for n in 0..3000 {
        let path = format!("/a/b/f{n}/x/y");
        let found = reached(&catalogue, None, &path).map(|(name, _)| name.to_owned());
        assert_eq!(found, Some(format!("f{n}")));
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "c"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..4).prop_map(|segments| {
        segments
            .iter()
            .fold(String::new(), |path, segment| path + "/" + segment)
    })
}

fn route() -> impl Strategy<Value = Route> {
    (
        prop::option::weighted(0.4, prop::sample::select(vec!["h.test", "i.test"])),
        path(),
    )
        .prop_map(|(host, prefix)| Route {
            host: host.map(str::to_owned),
            prefix,
        })
}

prop_compose! {
    fn candidate()(
        name in prop::sample::select(vec!["f", "g", "h", "i"]), created in 0..50_i64,
        routes in prop::collection::btree_set(route(), 0..3),
    ) -> Function {
        let mut function = template(name, created, "none");
        function.settings.routes = routes.into_iter().collect();
        function
    }
}

/// Every route of every function in force, one after the other.
fn naive<'a>(catalogue: &'a Catalogue, host: Option<&str>, path: &str) -> Option<&'a str> {
    let matches = |route: &Route| {
        route.host.as_deref().is_none_or(|own| Some(own) == host)
            && path
                .strip_prefix(&route.prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let all = catalogue
        .functions()
        .flat_map(|f| f.settings.routes.iter().map(move |route| (route, f)));
    all.filter(|(route, _)| matches(route))
        .max_by_key(|(route, _)| (route.host.is_some(), route.prefix.len()))
        .map(|(_, function)| function.name.as_str())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn looking_up_agrees_with_trying_every_route(
        candidates in prop::collection::vec(candidate(), 0..12),
        host in prop::option::of(prop::sample::select(vec!["h.test", "i.test", "j.test"])), path in path(),
    ) {
        let catalogue = resolve(&candidates, None);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let found = reached(&catalogue, host, &path);
        prop_assert_eq!(found.map(|(name, _)| name), naive(&catalogue, host, &path));
        if let Some((_, prefix)) = found {
            prop_assert!(path.starts_with(prefix));
        }
    }

    #[test]
    fn what_is_decided_is_complete_consistent_and_stable(
        first in prop::collection::vec(candidate(), 0..10), second in prop::collection::vec(candidate(), 0..10),
    ) {
        let unique = |candidates: Vec<Function>| {
            let by_id: BTreeMap<_, _> = candidates.into_iter().map(|f| (f.template.id.clone(), f)).collect();
            by_id.into_values().collect::<Vec<_>>()
        };
        let (first, second) = (unique(first), unique(second));
        let before = resolve(&first, None);
        let after = resolve(&second, Some(&before));
        // Nothing is forgotten.
        let listed = after.functions().count() + after.invalid().len() + after.superseded().len();
        prop_assert_eq!(listed, second.len());
        for function in after.functions() {
            // What is in force has all its routes.
            for route in &function.settings.routes {
                prop_assert_eq!(after.table.holder(route).map(|holder| &holder.name), Some(&function.name));
            }
            // A newer template of the same name is not in force only where it lost a route.
            for newer in second.iter().filter(|other| other.name == function.name) {
                let is_newer = newer.template.created > function.template.created;
                let lost = after.invalid().iter().any(|invalid| invalid.template == newer.template.id);
                prop_assert_eq!(is_newer, lost, "{}", newer.template.id);
            }
        }
        // Whoever lost, lost to a function in force.
        for invalid in after.invalid() {
            let holds = |f: &Arc<Function>| invalid.reasons[0].contains(&format!("the function {}", f.name));
            prop_assert!(after.functions().any(holds), "{:?}", invalid);
        }
        // Looking again at the same templates changes nothing.
        prop_assert_eq!(&resolve(&second, Some(&after)), &after);
    }
}
