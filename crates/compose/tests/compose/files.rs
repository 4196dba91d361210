//! Which files are read, and what they do to each other.

use crate::harness::{directory, options};
use skep_compose::load;

#[test]
fn compose_yaml_is_found_first_and_upwards() {
    let directory = directory(&[
        ("compose.yaml", "services: {a: {image: x}}"),
        ("docker-compose.yml", "services: {b: {image: x}}"),
        ("deep/er/nothing", ""),
    ]);
    let project = load(options(&directory.path().join("deep/er")))
        .expect("found")
        .project;
    assert!(project.services.contains_key("a"));
    assert_eq!(project.directory, directory.path());
    assert_eq!(project.files, [directory.path().join("compose.yaml")]);
}

#[test]
fn no_file_at_all_says_what_is_looked_for() {
    let directory = directory(&[("elsewhere/x", "")]);
    let errors = load(options(directory.path())).expect_err("nothing there");
    assert!(
        errors
            .to_string()
            .contains("compose.yaml, compose.yml, docker-compose.yaml"),
        "{errors}"
    );
}

#[test]
fn a_later_file_is_laid_over_an_earlier_one() {
    let directory = directory(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: one\n    command: [a, b]\n    environment: [A=1, B=2]\n    ports: ['80:80']\n    volumes: ['./x:/data', './y:/other']\n    labels: {k: v}\n",
        ),
        (
            "over.yaml",
            "services:\n  web:\n    image: two\n    command: c\n    environment: {B: 3, C: 4}\n    ports: ['81:81', '80:80']\n    volumes: ['./z:/data']\n    labels: [k=w]\n  more: {image: x}\n",
        ),
    ]);
    let mut options = options(directory.path());
    options.files = vec!["compose.yaml".into(), "over.yaml".into()];
    let project = load(options).expect("they fit").project;
    let web = &project.services["web"];
    assert_eq!(web.image.as_deref(), Some("two"));
    assert_eq!(web.command.as_deref(), Some(&[String::from("c")][..]));
    let environment: Vec<_> = web.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=1", "B=3", "C=4"]);
    assert_eq!(web.ports.len(), 2);
    assert_eq!(web.mounts.len(), 2);
    assert_eq!(web.labels["k"], "w");
    assert!(project.services.contains_key("more"));
}

#[test]
fn an_override_file_is_laid_over_a_file_found_by_itself() {
    let files = [
        ("compose.yaml", "services: {web: {image: one}}"),
        ("compose.override.yaml", "services: {web: {image: two}}"),
    ];
    let directory = directory(&files);
    let mut options = options(directory.path());
    let found = load(options.clone()).expect("both").project;
    assert_eq!(found.services["web"].image.as_deref(), Some("two"));
    options.files = vec!["compose.yaml".into()];
    let named = load(options).expect("one").project;
    assert_eq!(named.services["web"].image.as_deref(), Some("one"));
}

#[test]
fn the_variable_compose_file_names_the_files() {
    let directory = directory(&[
        ("a.yaml", "services: {web: {image: one}}"),
        ("b.yaml", "services: {web: {user: bee}}"),
    ]);
    let mut options = options(directory.path());
    options
        .environment
        .insert("COMPOSE_FILE".into(), "a.yaml:b.yaml".into());
    let project = load(options).expect("both").project;
    assert_eq!(project.services["web"].image.as_deref(), Some("one"));
    assert_eq!(project.services["web"].user.as_deref(), Some("bee"));
}

#[test]
fn the_projects_name_comes_from_flag_environment_file_or_directory() {
    let directory = directory(&[
        ("My_App.d/compose.yaml", "services: {web: {image: x}}"),
        (
            "named/compose.yaml",
            "name: ${WHO}-app\nservices: {web: {image: x}}",
        ),
        ("named/.env", "WHO=bee\n"),
    ]);
    let name = |folder: &str, flag: Option<&str>, variable: Option<&str>| {
        let mut options = options(&directory.path().join(folder));
        options.project_name = flag.map(str::to_owned);
        if let Some(value) = variable {
            options
                .environment
                .insert("COMPOSE_PROJECT_NAME".into(), value.into());
        }
        load(options)
            .map(|loaded| loaded.project.name)
            .map_err(|errors| errors.to_string())
    };
    assert_eq!(name("My_App.d", None, None).as_deref(), Ok("my_appd"));
    assert_eq!(name("named", None, None).as_deref(), Ok("bee-app"));
    assert_eq!(name("named", None, Some("env")).as_deref(), Ok("env"));
    assert_eq!(name("named", Some("flag"), Some("env")).as_deref(), Ok("flag"));
    let error = name("named", Some("Not This"), None).expect_err("capital letters");
    assert!(
        error.contains("\"Not This\" cannot be a project's name"),
        "{error}"
    );
}

#[test]
fn profiles_leave_services_out() {
    let directory = directory(&[(
        "compose.yaml",
        "services:\n  a: {image: x}\n  b: {image: x, profiles: [debug]}\n  c: {image: x, profiles: [other]}\n",
    )]);
    let services = |profiles: &[&str], variable: &str| {
        let mut options = options(directory.path());
        options.profiles = profiles.iter().map(|profile| (*profile).to_owned()).collect();
        options
            .environment
            .insert("COMPOSE_PROFILES".into(), variable.into());
        let project = load(options).expect("it loads").project;
        project.services.into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(services(&[], ""), "a");
    assert_eq!(services(&["debug"], ""), "a b");
    assert_eq!(services(&[], "debug, other"), "a b c");
    assert_eq!(services(&["*"], ""), "a b c");
}

#[test]
fn a_dependency_on_a_service_left_out_is_an_error_unless_not_required() {
    let text = |tail: &str| {
        format!(
            "services:\n  a: {{image: x, depends_on: {{b: {{{tail}}}}}}}\n  b: {{image: x, profiles: [p]}}\n"
        )
    };
    assert!(crate::harness::refusal(&text("")).contains("b is left out by its profiles"));
    let project = crate::harness::project(&text("required: false"));
    assert!(project.services["a"].depends_on.is_empty());
}

#[test]
fn env_files_are_read_in_order_below_environment() {
    let directory = directory(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: x\n    env_file:\n      - a.env\n      - {path: b.env}\n      - {path: missing.env, required: false}\n      - {path: raw.env, format: raw}\n    environment: {C: file, FROM_HOST: , UNSET: }\n",
        ),
        ("a.env", "A=1\nB=1\nC=1\n"),
        (
            "b.env",
            "# note\nexport B='two words' # note\nD=\"a\\nb ${A_HOST}\"\nE=x${B}\nFROM_HOST\nM=\"one\ntwo\"\n",
        ),
        ("raw.env", "R='$kept'\n"),
    ]);
    let mut options = options(directory.path());
    options.environment.insert("A_HOST".into(), "host".into());
    options.environment.insert("FROM_HOST".into(), "given".into());
    let project = load(options).expect("it loads").project;
    let environment: Vec<_> = project.services["web"]
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        environment,
        [
            "A=1",
            "B=two words",
            "C=file",
            "D=a\nb host",
            "E=xtwo words",
            "FROM_HOST=given",
            "M=one\ntwo",
            "R='$kept'"
        ]
    );
}

#[test]
fn a_broken_env_file_is_named_with_its_line() {
    let directory = directory(&[
        ("compose.yaml", "services: {web: {image: x, env_file: a.env}}"),
        ("a.env", "A=1\nB=\"open\n"),
    ]);
    let errors = load(options(directory.path())).expect_err("the quote is open");
    assert!(
        errors
            .to_string()
            .contains("a.env:2: the \" of B is never closed"),
        "{errors}"
    );
}

#[test]
fn the_environment_wins_over_the_env_file() {
    let directory = directory(&[
        ("compose.yaml", "services: {web: {image: 'x:${TAG}'}}"),
        (".env", "TAG=file\n"),
    ]);
    let mut options = options(directory.path());
    let image = |options| {
        load(options).expect("it loads").project.services["web"]
            .image
            .clone()
    };
    assert_eq!(image(options.clone()).as_deref(), Some("x:file"));
    options.environment.insert("TAG".into(), "shell".into());
    assert_eq!(image(options).as_deref(), Some("x:shell"));
}

#[test]
fn a_directory_called_dot_env_is_none_of_ours() {
    let directory = directory(&[
        ("compose.yaml", "services: {web: {image: x}}"),
        (".env/bin/python", ""),
    ]);
    assert!(load(options(directory.path())).is_ok());
}

#[test]
fn files_of_secrets_are_mounted_and_their_content_is_part_of_the_service() {
    let directory = directory(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: x\n    secrets: [a, {source: a, target: b}, {source: a, target: /c}]\n    configs: [d]\nsecrets: {a: {file: ./a.txt}}\nconfigs: {d: {file: a.txt}}\n",
        ),
        ("a.txt", "one"),
    ]);
    let files = || {
        load(options(directory.path()))
            .expect("it loads")
            .project
            .services["web"]
            .files
            .clone()
    };
    let first = files();
    let targets: Vec<&str> = first.iter().map(|file| file.target.as_str()).collect();
    assert_eq!(targets, ["/run/secrets/a", "/run/secrets/b", "/c", "/d"]);
    std::fs::write(directory.path().join("a.txt"), "two").expect("written");
    assert_ne!(first, files());
}
