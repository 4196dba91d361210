//! Mounts, ports, limits and rights.

use super::{Place, Plan, network_name, some};
use bollard::models::{
    DeviceMapping, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use skep_compose::{FileMount, Mount, Port, Project, Restart};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub(super) fn host_config(project: &Project, plan: &Plan, place: &Place) -> HostConfig {
    let service = &plan.service;
    let limits = &service.limits;
    let (binds, mounts) = mounts(project, plan, &place.inherited);
    HostConfig {
        binds: some(binds),
        mounts: some(mounts),
        network_mode: service.network_mode.clone().or_else(|| {
            let first = service.networks.first()?;
            Some(network_name(project, &first.network))
        }),
        port_bindings: ports(&service.ports),
        restart_policy: Some(restart(service.restart)),
        nano_cpus: limits.nano_cpus,
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        pids_limit: limits.pids,
        cpu_shares: limits.cpu_shares,
        cpuset_cpus: limits.cpuset.clone(),
        cpu_quota: limits.cpu_quota,
        cpu_period: limits.cpu_period,
        oom_score_adj: limits.oom_score_adj,
        oom_kill_disable: limits.oom_kill_disable,
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: crate::resources::some(&logging.options),
        }),
        ulimits: some(
            service
                .ulimits
                .iter()
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect(),
        ),
        devices: some(
            service
                .devices
                .iter()
                .map(|device| DeviceMapping {
                    path_on_host: Some(device.source.clone()),
                    path_in_container: Some(device.target.clone()),
                    cgroup_permissions: Some(device.permissions.clone()),
                })
                .collect(),
        ),
        sysctls: crate::resources::some(&service.sysctls),
        annotations: crate::resources::some(&service.annotations),
        tmpfs: crate::resources::some(&service.tmpfs),
        extra_hosts: some(service.extra_hosts.clone()),
        dns: some(service.dns.clone()),
        dns_search: some(service.dns_search.clone()),
        dns_options: some(service.dns_opt.clone()),
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        security_opt: some(service.security_opt.clone()),
        group_add: some(service.group_add.clone()),
        pid_mode: service.pid.clone(),
        ipc_mode: service.ipc.clone(),
        userns_mode: service.userns_mode.clone(),
        runtime: service.runtime.clone(),
        shm_size: service.shm_size,
        init: service.init,
        privileged: Some(service.privileged),
        readonly_rootfs: Some(service.read_only),
        ..HostConfig::default()
    }
}

fn restart(restart: Restart) -> RestartPolicy {
    let (name, count) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, count),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: count.map(i64::from),
    }
}

fn ports(ports: &[Port]) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        bindings
            .entry(format!("{}/{}", port.target, port.protocol))
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: port.host_ip.map(|address| address.to_string()),
                host_port: port.published.clone(),
            });
    }
    (!bindings.is_empty()).then_some(bindings)
}

/// Binds that the engine may have to make a directory for, and the rest.
fn mounts(
    project: &Project,
    plan: &Plan,
    inherited: &BTreeMap<String, String>,
) -> (Vec<String>, Vec<EngineMount>) {
    let service = &plan.service;
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for mount in &service.mounts {
        match mount {
            Mount::Bind {
                source,
                target,
                read_only,
                create,
                propagation,
                selinux,
            } => {
                let short = [
                    read_only.then_some("ro"),
                    propagation.as_deref(),
                    selinux.as_deref(),
                ];
                // The short form makes missing directories, and has no way to
                // write a colon.
                if *create && !source.to_string_lossy().contains(':') {
                    let options: Vec<&str> = short.into_iter().flatten().collect();
                    let options = if options.is_empty() {
                        String::from("rw")
                    } else {
                        options.join(",")
                    };
                    binds.push(format!("{}:{target}:{options}", source.display()));
                } else {
                    let mut mount = bind(source, target, *read_only);
                    mount.bind_options = propagation.as_deref().map(|word| MountBindOptions {
                        propagation: propagation_of(word),
                        ..MountBindOptions::default()
                    });
                    mounts.push(mount);
                }
            }
            Mount::Volume {
                source,
                target,
                read_only,
                no_copy,
            } => {
                let name = match source {
                    Some(key) => project
                        .volumes
                        .get(key)
                        .map_or_else(|| key.clone(), |volume| volume.name.clone()),
                    None => inherited.get(target).cloned().unwrap_or_default(),
                };
                let mut mount = volume(&name, target);
                mount.read_only = Some(*read_only);
                mount.volume_options = no_copy.then(|| MountVolumeOptions {
                    no_copy: Some(true),
                    ..MountVolumeOptions::default()
                });
                mounts.push(mount);
            }
            Mount::Tmpfs { target, size, mode } => mounts.push(EngineMount {
                target: Some(target.clone()),
                typ: Some(MountType::TMPFS),
                tmpfs_options: Some(MountTmpfsOptions {
                    size_bytes: *size,
                    mode: mode.map(i64::from),
                    options: None,
                }),
                ..EngineMount::default()
            }),
        }
    }
    for (target, name) in inherited {
        // Volumes that only the image asks for.
        let named = service.mounts.iter().any(|mount| mount.target() == target);
        if !named && !service.tmpfs.contains_key(target) {
            mounts.push(volume(name, target));
        }
    }
    for FileMount { source, target, .. } in &service.files {
        mounts.push(bind(source, target, true));
    }
    (binds, mounts)
}

fn bind(source: &Path, target: &str, read_only: bool) -> EngineMount {
    EngineMount {
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        ..EngineMount::default()
    }
}

fn volume(name: &str, target: &str) -> EngineMount {
    EngineMount {
        source: (!name.is_empty()).then(|| name.to_owned()),
        target: Some(target.to_owned()),
        typ: Some(MountType::VOLUME),
        ..EngineMount::default()
    }
}

fn propagation_of(word: &str) -> Option<MountBindOptionsPropagationEnum> {
    Some(match word {
        "private" => MountBindOptionsPropagationEnum::PRIVATE,
        "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
        "shared" => MountBindOptionsPropagationEnum::SHARED,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "slave" => MountBindOptionsPropagationEnum::SLAVE,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => return None,
    })
}
