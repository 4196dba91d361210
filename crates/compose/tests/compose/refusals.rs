//! What a user reads: file, line, column, key, message, hint.

use crate::harness::{file, refusal};

#[test]
fn every_unknown_key_is_named_with_its_place_and_all_at_once() {
    let text = "\
services:
  web:
    imge: nginx
    build: {context: ., dokerfile: x}
    healthcheck:
      test: 'true'
      intervall: 3s
    networks:
      default:
        alias: [x]
    x-mine: anything
  worker:
    image: nginx
    extends: web
sevrices: {}
include: [other.yaml]
volumes:
  data:
    drivr: local
";
    assert_eq!(
        refusal(text),
        "\
compose.yaml:3:5: services.web.imge: this key is not supported
  hint: did you mean image?
compose.yaml:4:25: services.web.build.dokerfile: this key is not supported
  hint: did you mean dockerfile?
compose.yaml:7:7: services.web.healthcheck.intervall: this key is not supported
  hint: did you mean interval?
compose.yaml:10:9: services.web.networks.default.alias: this key is not supported
  hint: did you mean aliases?
compose.yaml:14:5: services.worker.extends: this key is not supported
  hint: copy the keys with a YAML anchor and <<: *anchor, or lay a second file over with -f
compose.yaml:15:1: sevrices: this key is not supported
  hint: did you mean services?
compose.yaml:16:1: include: this key is not supported
  hint: pass the other file with a second -f
compose.yaml:19:5: volumes.data.drivr: this key is not supported
  hint: did you mean driver?"
    );
}

#[test]
fn wrong_values_say_what_was_expected() {
    for (lines, expected) in [
        (
            "privileged: maybe",
            "compose.yaml:4:17: services.web.privileged: \"maybe\" is not true or false",
        ),
        (
            "shm_size: big",
            "compose.yaml:4:15: services.web.shm_size: \"big\" is not a size such as 64m or 1gb",
        ),
        (
            "stop_grace_period: 10",
            "compose.yaml:4:24: services.web.stop_grace_period: \"10\" is not a duration such as 10s or 1m30s",
        ),
        (
            "user: [root]",
            "compose.yaml:4:11: services.web.user: expected a single value, found a list",
        ),
        (
            "environment: hello",
            "compose.yaml:4:18: services.web.environment: expected a mapping of names, found a single value",
        ),
        (
            "cap_add: NET_ADMIN",
            "compose.yaml:4:14: services.web.cap_add: expected a list, found a single value",
        ),
        (
            "restart: sometimes",
            "compose.yaml:4:14: services.web.restart: \"sometimes\" is not no, always, unless-stopped, on-failure or on-failure:5",
        ),
        (
            "pull_policy: daily",
            "compose.yaml:4:18: services.web.pull_policy: \"daily\" is not one of missing, if_not_present, never, always, build",
        ),
        (
            "command: it's",
            "compose.yaml:4:14: services.web.command: a ' is never closed",
        ),
        (
            "ports: ['80:90:100:110']",
            "compose.yaml:4:13: services.web.ports[0]: \"80:90:100:110\" is not a port: 80:90 is not an IP address\n  hint: write \"8080:80\", \"127.0.0.1:8080:80/udp\", \"3000-3005:3000-3005\", or target and published as a mapping",
        ),
        (
            "volumes: ['./a']",
            "compose.yaml:4:15: services.web.volumes[0]: \"./a\" is not a mount: ./a is not an absolute path in the container\n  hint: write \"name:/path\", \"./directory:/path:ro\", or type, source and target as a mapping",
        ),
        (
            "volumes: ['a:/x', 'b:/x']\nx-y: 1",
            "compose.yaml:4:5: services.web.volumes: the volume a is not among the file's volumes\n  hint: add a: under volumes at the top level, or write ./a for a directory\ncompose.yaml:4:5: services.web.volumes: the volume b is not among the file's volumes\n  hint: add b: under volumes at the top level, or write ./b for a directory\ncompose.yaml:4:23: services.web.volumes[1]: something is mounted on /x already",
        ),
        (
            "networks: [back]",
            "compose.yaml:4:5: services.web.networks: the network back is not among the file's networks\n  hint: add back: under networks at the top level",
        ),
        (
            "depends_on: [db]",
            "compose.yaml:4:5: services.web.depends_on: there is no service db\n  hint: add db, or set required: false",
        ),
        (
            "depends_on: [web]",
            "compose.yaml:4:5: services.web.depends_on: the services wait for each other: web → web\n  hint: remove one of these dependencies",
        ),
        (
            "network_mode: host\nnetworks: [default]",
            "compose.yaml:4:5: services.web.network_mode: contradicts networks\n  hint: keep one of the two",
        ),
        (
            "secrets: [token]",
            "compose.yaml:4:15: services.web.secrets[0]: token is not among the file's secrets\n  hint: add it under secrets at the top level",
        ),
        (
            "env_file: nothing.env",
            "compose.yaml:4:15: services.web.env_file: cannot read DIR/nothing.env: No such file or directory (os error 2)",
        ),
        (
            "image: twice",
            "compose.yaml:4:5: image: the key stands twice in one mapping, first in line 3\n  hint: keep one of the two",
        ),
        (
            "labels: {skep.max: '3'}",
            "compose.yaml:4:5: services.web.labels: skep.max without skep.function\n  hint: add skep.function: NAME to make it a function, or remove the label",
        ),
    ] {
        assert_eq!(refusal(&file(lines)), expected, "{lines}");
    }
}

#[test]
fn a_file_that_is_no_yaml_says_where_it_breaks() {
    let message = refusal("services:\n  web:\n    image: [nginx\n");
    assert!(message.starts_with("compose.yaml:"), "{message}");
    assert!(message.contains("this is not YAML"), "{message}");
}

#[test]
fn an_empty_file_and_a_service_without_image_are_refused() {
    assert_eq!(
        refusal(""),
        "compose.yaml:1:1: services: there are no services\n  hint: a Compose file has services: with a name and an image each"
    );
    assert_eq!(
        refusal("services: {web: {command: x}}"),
        "compose.yaml:1:12: services.web: neither image nor build is given\n  hint: name an image, or a directory with a Dockerfile under build"
    );
}

#[test]
fn secrets_and_configs_come_from_files_only() {
    let message = refusal(
        "services: {web: {image: x}}\nsecrets:\n  a: {environment: A}\n  b: {external: true}\nconfigs:\n  c: {content: hello}\n  d: {}\n",
    );
    assert_eq!(
        message,
        "\
compose.yaml:3:7: secrets.a.environment: only files can be mounted
  hint: write the value into a file, and name it under file
compose.yaml:4:7: secrets.b.external: secrets and configs that the engine keeps exist on a Swarm only
  hint: name a file of this host under file
compose.yaml:6:7: configs.c.content: only files can be mounted
  hint: write the value into a file, and name it under file
compose.yaml:7:3: configs.d: file is missing
  hint: name a file of this host under file"
    );
}
