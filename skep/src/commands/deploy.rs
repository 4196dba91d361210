//! `skep deploy`: a Compose file comes into being, or goes.

use bollard::Docker;
use skep_compose::{LoadOptions, Loaded};
use skep_deploy::{DeployError, DownOptions, UpOptions, progress};

use crate::cli;
use crate::client;
use crate::environment;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

pub(crate) async fn run(printer: &Printer, options: cli::Deploy) -> Outcome {
    // A mistake in the file is told before anything is asked of the engine.
    let loaded = match (load(&options), &options.project) {
        (Ok(loaded), _) => Some(loaded),
        // A project can be taken down by its name when its file is gone.
        (Err(_), Some(_)) if options.down && options.files.is_empty() => None,
        (Err(failed), _) => return Err(failed),
    };
    let docker = skep_docker::connect_client(options.docker.host.as_deref())
        .await
        .map_err(|error| Failed::from_error(Exit::Unreachable, &error))?;
    for note in loaded.iter().flat_map(|loaded| &loaded.notes) {
        printer.note(&note.to_string());
    }
    match loaded {
        Some(loaded) if !options.down => up(printer, &docker, &loaded, &options).await,
        loaded => down(printer, &docker, loaded.as_ref(), &options).await,
    }
}

fn load(options: &cli::Deploy) -> Result<Loaded, Failed> {
    let working_directory =
        std::env::current_dir().map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    // A variable that is not UTF-8 can't stand in a Compose file.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let load = LoadOptions {
        files: options.files.clone(),
        project_name: options.project.clone(),
        project_directory: None,
        profiles: options.profiles.clone(),
        environment: variables.collect(),
        working_directory,
    };
    skep_compose::load(load).map_err(|errors| Failed::new(Exit::Failure, errors.to_string()))
}

async fn up(printer: &Printer, docker: &Docker, loaded: &Loaded, options: &cli::Deploy) -> Outcome {
    let up = UpOptions {
        namespace: options.namespace.to_string(),
        call_port: options.call_port,
        control: Some(options.control.control.clone()),
        control_token: options
            .control
            .control_token_file
            .as_deref()
            .map(client::read_token)
            .transpose()?,
        docker_config: environment::docker_config(),
        build: options.build,
        force_recreate: options.force_recreate,
        remove_orphans: options.remove_orphans,
        ..UpOptions::default()
    };
    let progress = progress::for_standard_error();
    let deployed = skep_deploy::up(docker, &loaded.project, &up, progress.as_ref()).await;
    drop(progress);
    let deployed = deployed.map_err(|error| failed(&error))?;
    let (changed, all) = (deployed.changed.len(), deployed.containers.len());
    printer.note(&format!(
        "{}: {changed} of {all} services changed",
        loaded.project.name
    ));
    Ok(Exit::Success)
}

async fn down(printer: &Printer, docker: &Docker, loaded: Option<&Loaded>, options: &cli::Deploy) -> Outcome {
    let name = loaded
        .map(|loaded| loaded.project.name.clone())
        .or_else(|| options.project.clone());
    let name = name.ok_or_else(|| Failed::new(Exit::Usage, "no project is named"))?;
    // One that no profile switches on is still the project's own.
    let services = loaded.map(|loaded| {
        loaded
            .project
            .services
            .keys()
            .chain(&loaded.project.disabled)
            .cloned()
            .collect()
    });
    let down = DownOptions {
        services,
        volumes: options.volumes,
        remove_orphans: options.remove_orphans,
        ..DownOptions::of(name.clone())
    };
    let progress = progress::for_standard_error();
    let gone = skep_deploy::down(docker, &down, progress.as_ref()).await;
    drop(progress);
    gone.map_err(|error| failed(&error))?;
    printer.note(&format!("{name}: gone"));
    Ok(Exit::Success)
}

fn failed(error: &DeployError) -> Failed {
    Failed::new(Exit::Failure, error.report())
}
