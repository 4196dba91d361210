//! Files that mean harm, or none at all.

use crate::harness::{directory, options, refusal};
use proptest::prelude::*;
use skep_compose::load;

#[test]
fn nested_aliases_do_not_unfold_into_gigabytes() {
    let mut text = String::from("x-0: &a0 [l, o, l, l, o, l, l, o, l]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!(
            "x-{level}: &a{level} [{}]\n",
            [below.as_str(); 9].join(", ")
        ));
    }
    text.push_str("services: {web: {image: x}}\n");
    assert!(refusal(&text).contains("through its aliases"));
}

#[test]
fn merge_keys_do_not_unfold_into_gigabytes_either() {
    let mut text = String::from("x-0: &a0 {k: v}\n");
    for level in 1..20 {
        let keys: Vec<String> = (0..9).map(|key| format!("k{key}: *a{}", level - 1)).collect();
        text.push_str(&format!("x-{level}: &a{level} {{{}}}\n", keys.join(", ")));
    }
    text.push_str("services: {web: {image: x}}\n");
    assert!(refusal(&text).contains("through its aliases"));
}

#[test]
fn deep_nesting_is_refused_rather_than_followed() {
    let text = format!("x-a: {}{}", "[".repeat(5000), "]".repeat(5000));
    let message = refusal(&text);
    assert!(message.contains("compose.yaml:1:"), "{message}");
}

#[test]
fn an_anchor_within_itself_is_refused() {
    let message = refusal("x-a: &a [*a]\nservices: {web: {image: x}}\n");
    assert!(message.contains("compose.yaml:1:"), "{message}");
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let directory = directory(&[("compose.yaml", "")]);
    let file = std::fs::File::create(directory.path().join("compose.yaml")).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let errors = load(options(directory.path())).expect_err("too large");
    assert!(errors.to_string().contains("larger than 4 MiB"), "{errors}");
}

#[test]
fn a_directory_in_place_of_a_file_is_named() {
    let directory = directory(&[("d/x", "")]);
    let mut options = options(directory.path());
    options.files = vec!["d".into()];
    let errors = load(options).expect_err("a directory");
    assert!(errors.to_string().contains("it is a directory"), "{errors}");
}

#[test]
fn tags_and_several_documents_are_refused() {
    assert!(refusal("services: {web: {image: x, ports: !reset []}}").contains("the tag !reset"));
    assert!(refusal("services: {web: {image: x}}\n---\nservices: {}\n").contains("second YAML document"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let directory = directory(&[("compose.yaml", &text)]);
        let _ = load(options(directory.path()));
    }

    #[test]
    fn no_value_of_any_key_panics(
        key in prop::sample::select(vec![
            "image", "build", "command", "environment", "env_file", "ports", "volumes", "networks",
            "depends_on", "healthcheck", "deploy", "labels", "ulimits", "secrets", "configs",
            "tmpfs", "extra_hosts", "logging", "devices", "expose", "restart", "profiles",
            "stop_grace_period", "shm_size", "cpus", "network_mode", "extends", "user",
        ]),
        value in prop::sample::select(vec![
            "", "x", "-1", "1e9", "[]", "{}", "[x]", "{x: y}", "[{x: y}]", "{x: [y]}", "'a:b:c'",
            "[':', '::', ':::']", "{x: {y: {z: 1}}}", "99999999999999999999", "[[x]]", "'1-0:2'",
            "1.5.5h", "-5s", "[null]", "'['", "{test: []}", "{labels: [skep.function=a]}",
        ]),
    ) {
        let text = format!("services: {{web: {{image: x, x-y: 1}}, other: {{image: x, {key}: {value}}}}}\n");
        let directory = directory(&[("compose.yaml", &text)]);
        let _ = load(options(directory.path()));
    }
}
