//! The service that sweeps each node once, at the end.

use std::collections::HashMap;

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, Mount, MountType, ServiceSpec, ServiceSpecMode, TaskSpec,
    TaskSpecContainerSpec, TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};

use super::{GATEWAY_VOLUME, NATS_VOLUME, SOCKET, bind, sealed};

/// Its name.
pub(crate) const LEAVE_SERVICE: &str = "skep-leave";
/// Where it sees the folder that the agent's data is in.
const PARENT: &str = "/skep-data";

/// `data` is the agent's data folder on each node, where that is to go too.
pub(crate) fn leave(image: &str, data: Option<&str>) -> ServiceSpec {
    let mut args = vec!["launcher".to_owned(), "--leave".to_owned()];
    let mut mounts = vec![bind(SOCKET)];
    if let Some((parent, name)) = data.and_then(|path| path.trim_end_matches('/').rsplit_once('/')) {
        for volume in [GATEWAY_VOLUME, NATS_VOLUME] {
            args.extend(["--volume".to_owned(), volume.to_owned()]);
        }
        args.extend(["--remove".to_owned(), format!("{PARENT}/{name}")]);
        mounts.push(Mount {
            typ: Some(MountType::BIND),
            source: Some(if parent.is_empty() { "/" } else { parent }.to_owned()),
            target: Some(PARENT.to_owned()),
            ..Mount::default()
        });
    }
    let spec = ServiceSpec {
        name: Some(LEAVE_SERVICE.to_owned()),
        mode: Some(ServiceSpecMode {
            global: Some(HashMap::new()),
            ..ServiceSpecMode::default()
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(image.to_owned()),
                args: Some(args),
                mounts: Some(mounts),
                ..TaskSpecContainerSpec::default()
            }),
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
                ..TaskSpecRestartPolicy::default()
            }),
            ..TaskSpec::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: None,
        }),
        ..ServiceSpec::default()
    };
    sealed(spec, "leave")
}
