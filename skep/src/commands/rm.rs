//! `skep rm`: removes functions, by removing their templates from Docker, and waits until Skep has seen it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListServicesOptionsBuilder, RemoveContainerOptionsBuilder,
};
use skep_control::api;
use skep_model::label;

use super::encoded;
use crate::cli;
use crate::client::Client;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

/// How long Skep may take to see what Docker did.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(25);

pub(crate) async fn run(printer: &Printer, options: cli::Remove) -> Outcome {
    let docker = skep_docker::connect_client(options.docker.host.as_deref())
        .await
        .map_err(|error| Failed::from_error(Exit::Unreachable, &error))?;
    let client = Client::new(&options.control)?;
    let mut missing = Vec::new();
    let mut elsewhere: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in &options.functions {
        let mut namespaces = templates(&docker, name).await?;
        let Some(templates) = namespaces.remove(options.namespace.as_str()) else {
            missing.push(name.as_str());
            for namespace in namespaces.into_keys() {
                elsewhere.entry(namespace).or_default().push(name);
            }
            continue;
        };
        for template in &templates {
            remove(&docker, template).await?;
            printer.note(&format!("removed {}", shown(template)));
        }
        wait_until_seen(printer, &client, name, &templates).await?;
        printer.line(name)?;
    }
    if missing.is_empty() {
        return Ok(Exit::Success);
    }
    let hint = match services(&docker, &missing).await.as_slice() {
        [] => hint(&elsewhere),
        services => format!(
            "on a Swarm a function is a service: docker service rm {}",
            services.join(" ")
        ),
    };
    let message = format!(
        "no template of {} is in the namespace {}",
        missing.join(", "),
        options.namespace
    );
    Err(Failed::new(Exit::NotFound, message).hint(hint))
}

/// Where functions of these names are, and how they go.
fn hint(elsewhere: &BTreeMap<String, Vec<&str>>) -> String {
    let commands: Vec<String> = elsewhere
        .iter()
        .map(|(namespace, names)| format!("skep rm {} --namespace {namespace}", names.join(" ")))
        .collect();
    match commands.as_slice() {
        [] => "`skep ls` lists the functions of the Skep that runs".to_owned(),
        [one] => format!("it is in another namespace: {one}"),
        several => format!("other namespaces have it:\n  {}", several.join("\n  ")),
    }
}

/// The Swarm's services that define functions of these names, as far as this engine knows of any.
async fn services(docker: &Docker, functions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for function in functions {
        let filters = HashMap::from([("label", vec![format!("{}={function}", label::FUNCTION)])]);
        let options = ListServicesOptionsBuilder::default().filters(&filters).build();
        // Only a manager knows; on any other engine there are none to name.
        let services = docker.list_services(Some(options)).await.unwrap_or_default();
        let specs = services.into_iter().filter_map(|service| service.spec);
        // Those of its sandboxes are Skep's.
        let own = specs.filter(|spec| {
            !spec
                .labels
                .iter()
                .flatten()
                .any(|(label, _)| label == label::OWNER)
        });
        found.extend(own.filter_map(|spec| spec.name));
    }
    found
}

/// The containers that define this function, by namespace, the invalid ones included; never one that Skep made, nor
/// one that only has its label from its image.
async fn templates(docker: &Docker, name: &str) -> Result<BTreeMap<String, Vec<ContainerSummary>>, Failed> {
    let filters = HashMap::from([("label", vec![format!("{}={name}", label::FUNCTION)])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let mut templates: BTreeMap<String, Vec<ContainerSummary>> = BTreeMap::new();
    for container in docker.list_containers(Some(options)).await.map_err(engine)? {
        let labels: BTreeMap<String, String> =
            container.labels.clone().unwrap_or_default().into_iter().collect();
        let image = image_labels(docker, container.image_id.as_deref()).await?;
        let labels = label::effective(&labels, &image);
        if labels.contains_key(label::FUNCTION) && !labels.contains_key(label::OWNER) {
            let namespace = labels.get(label::NAMESPACE).map_or("default", String::as_str);
            templates.entry(namespace.to_owned()).or_default().push(container);
        }
    }
    Ok(templates)
}

async fn image_labels(docker: &Docker, image: Option<&str>) -> Result<BTreeMap<String, String>, Failed> {
    let Some(image) = image else {
        return Ok(BTreeMap::new());
    };
    match docker.inspect_image(image).await {
        Ok(found) => Ok(found
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default()
            .into_iter()
            .collect()),
        // An image that is gone claims nothing.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
            Ok(BTreeMap::new())
        }
        Err(error) => Err(engine(error)),
    }
}

async fn remove(docker: &Docker, template: &ContainerSummary) -> Result<(), Failed> {
    if template.state == Some(ContainerSummaryStateEnum::RUNNING) {
        let name = shown(template);
        return Err(Failed::new(
            Exit::Failure,
            format!("{name} runs, so it is no template and stays"),
        )
        .hint(format!("if it is to go: docker rm -f {name}")));
    }
    let id = template.id.as_deref().unwrap_or_default();
    let options = RemoveContainerOptionsBuilder::default().v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(engine(error)),
    }
}

/// A Skep that does not answer has nothing to see.
async fn wait_until_seen(
    printer: &Printer,
    client: &Client,
    name: &str,
    removed: &[ContainerSummary],
) -> Result<(), Failed> {
    let path = format!("/v1/functions/{}", encoded(name));
    let waiting = async {
        loop {
            let Some(detail) = client.find::<api::FunctionDetail>(&path).await? else {
                return Ok(());
            };
            let listed = detail.function.iter().chain(&detail.invalid);
            let ids = || removed.iter().filter_map(|template| template.id.as_deref());
            if !listed
                .into_iter()
                .any(|known| ids().any(|id| id.starts_with(&known.template)))
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(SEEN_WITHIN, waiting).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failed {
            exit: Exit::Unreachable,
            ..
        })) => {
            printer.note("no running Skep was told: none answers");
            Ok(())
        }
        Ok(Err(failed)) => Err(failed),
        Err(_) => Err(Failed::new(
            Exit::Failure,
            format!("{name} is removed, and the running Skep has not seen it yet"),
        )
        .hint("`skep ls` shows what it sees")),
    }
}

fn shown(container: &ContainerSummary) -> String {
    let name = container.names.as_ref().and_then(|names| names.first());
    let id = container.id.as_deref().unwrap_or_default();
    name.map_or(id, |name| name.trim_start_matches('/')).to_owned()
}

fn engine(error: bollard::errors::Error) -> Failed {
    Failed::from_error(Exit::Failure, &error)
}
