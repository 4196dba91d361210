use crate::harness::{Sandbox, docker, states};
use skep_deploy::Event;

const HELLO: &str = "
services:
  hello:
    image: debian:bookworm-slim
    command: echo hello
    labels:
      skep.function: hello
      skep.handler: exec
      skep.route: none
      skep.namespace: nobody-serves-this
";

#[tokio::test]
async fn a_function_is_parked_and_never_started() {
    let sandbox = Sandbox::new("parked").await;
    sandbox.up(HELLO).await;
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
    let container = format!("{}-hello-1", sandbox.name);
    assert_eq!(
        sandbox.inspect(&container, "{{.State.StartedAt}}"),
        "0001-01-01T00:00:00Z"
    );
    assert_eq!(
        sandbox.inspect(
            &container,
            "{{json .Config.Cmd}} {{.HostConfig.RestartPolicy.Name}}"
        ),
        "[\"echo\",\"hello\"] no"
    );
}

#[tokio::test]
async fn a_redeploy_creates_the_new_template_before_the_old_one_goes() {
    let sandbox = Sandbox::new("redeploy").await;
    sandbox.up(HELLO).await;
    sandbox.progress.events();
    sandbox.up(HELLO).await;
    let name = |number: u32| format!("{}-hello-{number}", sandbox.name);
    assert_eq!(sandbox.progress.events(), [Event::Unchanged { name: name(1) }]);
    sandbox.up(&HELLO.replace("echo hello", "echo bye")).await;
    assert_eq!(
        sandbox.progress.events(),
        [
            Event::Parked {
                name: name(2),
                function: String::from("hello")
            },
            Event::Removed {
                kind: "container",
                name: name(1)
            },
        ]
    );
    sandbox.up(HELLO).await;
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
}

#[tokio::test]
async fn a_template_that_is_replaced_takes_its_anonymous_volumes_with_it() {
    let sandbox = Sandbox::new("volumes").await;
    let file = format!("{HELLO}    volumes: [/anonymous, 'named:/named']\nvolumes: {{named: }}\n");
    let volumes = |container: &str| {
        let format = "{{range .Mounts}}{{.Name}} {{end}}";
        let names = sandbox.inspect(&format!("{}-{container}", sandbox.name), format);
        names.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    sandbox.up(&file).await;
    let first = volumes("hello-1");
    assert_eq!(first.len(), 2);
    sandbox.up(&file.replace("echo hello", "echo bye")).await;
    let second = volumes("hello-2");
    let known = docker(&["volume", "ls", "-q"]);
    for name in &first {
        let named = name.ends_with("_named");
        assert_eq!(known.lines().any(|known| known == name), named, "{name}");
    }
    sandbox.down(true).await;
    let known = docker(&["volume", "ls", "-q"]);
    for name in second {
        assert!(!known.lines().any(|known| known == name), "{name} is left");
    }
}

#[tokio::test]
async fn labels_of_deploy_make_a_function_and_replicas_do_not_matter() {
    let sandbox = Sandbox::new("swarm").await;
    sandbox
        .up("
services:
  hello:
    image: debian:bookworm-slim
    command: echo hello
    networks: [one, two]
    deploy:
      replicas: 0
      labels: {skep.function: hello, skep.handler: exec, skep.namespace: nobody-serves-this}
networks: {one: , two: }
")
        .await;
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
    let container = format!("{}-hello-1", sandbox.name);
    assert_eq!(
        sandbox.inspect(&container, "{{index .Config.Labels \"skep.function\"}}"),
        "hello"
    );
    let networks = sandbox.inspect(&container, "{{json .NetworkSettings.Networks}}");
    assert!(
        networks.contains("_one") && networks.contains("_two"),
        "{networks}"
    );
}

#[tokio::test]
async fn the_namespace_asked_for_is_given_where_the_file_names_none() {
    let mut sandbox = Sandbox::new("namespace").await;
    sandbox.options.namespace = String::from("staging-of-nobody");
    let file = "
services:
  hello: {image: 'debian:bookworm-slim', labels: {skep.function: hello, skep.handler: exec}}
  own: {image: 'debian:bookworm-slim', labels: {skep.function: own, skep.namespace: mine}}
";
    sandbox.up(file).await;
    let namespace = |service: &str| {
        sandbox.inspect(
            &format!("{}-{service}-1", sandbox.name),
            "{{index .Config.Labels \"skep.namespace\"}}",
        )
    };
    assert_eq!(namespace("hello"), "staging-of-nobody");
    assert_eq!(namespace("own"), "mine");
}
