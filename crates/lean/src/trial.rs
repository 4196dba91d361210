//! Whether an instance can be made here at all: one is made. Many things may stand in the way (rights, a security
//! module, a kernel without overlays), and none of them has to be known by name.

use std::path::Path;

use skep_model::InstanceId;
use skep_spawner::{Identity, Process, Root, Spawner, Spec, Streams};

use crate::cgroups::Cgroups;
use crate::folders::Folders;
use crate::host::Host;
use crate::limits::Limits;
use crate::plan::{devices, mounts, sysctls};
use crate::{capabilities, seccomp};

/// Where the sleeping program stands in the trial's only layer.
const PROGRAM: &str = "pause";

/// Makes an instance of the sleeping program and ends it.
///
/// # Errors
/// A sentence that says at what it failed.
pub(crate) async fn run(
    spawner: &Spawner,
    host: &Host,
    cgroups: &Cgroups,
    folders: &Folders,
) -> Result<(), String> {
    let failed = |what: &str| format!("a first lean instance could not be made here: {what}");
    let layer = folders.staging.with_file_name("trial");
    let spec = spec(host, cgroups, folders, &layer).map_err(|error| failed(&error))?;
    let begun = async {
        let number = spawner.prepare(spec).await.map_err(|error| error.to_string())?;
        let launched = launch(spawner, number).await;
        drop(spawner.forget(number).await);
        launched
    };
    // Nobody else hands the spawner's answers on yet.
    let made = tokio::select! {
        made = begun => made,
        _ = spawner.run() => Err("the spawner has ended".to_owned()),
    };
    // Left behind it would be in nobody's way.
    drop(std::fs::remove_dir_all(&layer));
    made.map_err(|error| failed(&error))
}

async fn launch(spawner: &Spawner, spec: u64) -> Result<(), String> {
    let null = || std::fs::File::options().read(true).write(true).open("/dev/null");
    let streams = || -> std::io::Result<Streams> {
        Ok(Streams {
            stdin: null()?.into(),
            stdout: null()?.into(),
            stderr: null()?.into(),
            network: None,
        })
    };
    let request = skep_spawner::Launch {
        spec,
        name: InstanceId::generate().to_string(),
        hostname: "trial".to_owned(),
        environment: Vec::new(),
        files: Vec::new(),
        binds: Vec::new(),
        listener: None,
    };
    let streams = streams().map_err(|error| error.to_string())?;
    let child = spawner
        .launch(request, streams)
        .await
        .map_err(|failure| failure.to_string())?;
    rustix::process::pidfd_send_signal(&child.descriptor, rustix::process::Signal::KILL)
        .map_err(|error| error.to_string())?;
    let ended = child.exited.await;
    ended.map(drop).map_err(|_| "the spawner has ended".to_owned())
}

fn spec(host: &Host, cgroups: &Cgroups, folders: &Folders, layer: &Path) -> Result<Spec, String> {
    let machine = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(layer).map_err(machine)?;
    std::fs::copy(&folders.pause, layer.join(PROGRAM)).map_err(machine)?;
    let granted = capabilities::granted(&[], &[])? & host.capabilities;
    let name = layer.file_name().unwrap_or_default();
    Ok(Spec {
        root: Root {
            staging: folders.staging.display().to_string(),
            base: layer.parent().unwrap_or(layer).display().to_string(),
            lower: vec![name.to_string_lossy().into_owned()],
            disk: 1 << 20,
            read_only: false,
        },
        mounts: mounts::usual(Some(1 << 20)),
        keeps_folders_modes: host.conversions.keeps_folders_modes,
        devices: devices::devices(),
        links: devices::links(),
        masked: vec!["/proc/kcore".to_owned()],
        read_only: vec!["/proc/sys".to_owned()],
        sysctls: sysctls::usual(),
        process: Process {
            arguments: vec![format!("/{PROGRAM}")],
            environment: Vec::new(),
            directory: String::new(),
            identity: Identity {
                user: String::new(),
                groups: Vec::new(),
            },
            capabilities: granted,
            no_new_privileges: false,
            seccomp: Some(seccomp::default_profile(granted, host.strict_seccomp)?),
            apparmor: host.apparmor.clone(),
            limits: Vec::new(),
            usual_limits: Vec::new(),
            oom_score_adjustment: 0,
            domain: String::new(),
        },
        cgroup: cgroups.tree(&Limits::usual(host.conversions)).map_err(machine)?,
        cgroup_namespace: true,
        ipc_namespace: true,
    })
}
