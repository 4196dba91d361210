//! What Docker is asked for when a sandbox is made.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig, HostConfig, Mount,
    MountType, MountVolumeOptions, NetworkingConfig,
};
use skep_model::{Function, InstanceId, Namespace, label};

use super::Maker;
use crate::plan::paths::clean;
use crate::plan::{Network, Plan};

/// Where the sleeping program stands inside.
const PAUSE: &str = "/.skep-pause";

/// Networks in the place of those that a template names, for one child alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Others<'a> {
    /// Their names; the child starts with the first. There may be none, which is not the same as `none`: Docker then
    /// connects it to any.
    pub(crate) names: &'a [String],
    /// What others on them find it by, where names are resolved.
    pub(crate) alias: &'a str,
}

impl Others<'_> {
    fn attached(self) -> Vec<(String, EndpointSettings)> {
        let endpoint = |name: &String| EndpointSettings {
            // The default bridge takes none.
            aliases: (!is_default(name)).then(|| vec![self.alias.to_owned()]),
            ..EndpointSettings::default()
        };
        let attached = self.names.iter().map(|name| (name.clone(), endpoint(name)));
        attached.collect()
    }
}

/// The create body, and the networks that it is attached to afterwards, one by one: an older engine takes no more
/// than one at first.
pub(super) struct Request {
    pub(super) body: ContainerCreateBody,
    pub(super) later: Vec<(String, EndpointSettings)>,
}

pub(super) fn of(
    maker: &Maker<'_>,
    function: &Function,
    (plan, others): (&Plan, Option<Others<'_>>),
    id: &InstanceId,
) -> Request {
    let inspect: ContainerInspectResponse =
        serde_json::from_str(&function.template.inspect).unwrap_or_default();
    let image = &function.template.image_id;
    let mut body = sleeping(maker, image, &function.namespace, id);
    let labels = body.labels.get_or_insert_default();
    labels.insert(label::INSTANCE_OF.to_owned(), function.name.to_string());
    let template = inspect.host_config.unwrap_or_default();
    let own = body.host_config.get_or_insert_default();
    own.mounts = Some(mounts(
        plan,
        &inspect
            .config
            .and_then(|config| config.volumes)
            .unwrap_or_default(),
    ));
    let mut later = Vec::new();
    if plan.network == Network::Sandbox || others.is_some() {
        let mut mode = template.network_mode.unwrap_or_else(|| "default".to_owned());
        if let Some(others) = others {
            mode = others.names.first().map_or("none", String::as_str).to_owned();
            later = others.attached();
        } else {
            let attached = inspect.network_settings.and_then(|settings| settings.networks);
            let mut attached: Vec<_> = attached.into_iter().flatten().collect();
            attached.sort_by_key(|(name, endpoint)| !is_first(Some(&mode), name, endpoint));
            later = attached
                .into_iter()
                .map(|(name, endpoint)| (name, endpoint_of(endpoint)))
                .collect();
        }
        if !later.is_empty() {
            let (first, endpoint) = later.remove(0);
            // The default bridge has a name of its own there.
            let first = if is_default(&mode) { mode.clone() } else { first };
            body.networking_config = (!is_default(&mode)).then(|| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(first, endpoint)])),
            });
        }
        own.network_mode = Some(mode);
        own.dns = template.dns;
        own.dns_options = template.dns_options;
        own.dns_search = template.dns_search;
        own.extra_hosts = template.extra_hosts;
        let sysctls = template.sysctls.into_iter().flatten();
        own.sysctls = Some(sysctls.filter(|(name, _)| name.starts_with("net.")).collect());
    }
    Request { body, later }
}

/// A container that only sleeps, without a network.
pub(crate) fn sleeping(
    maker: &Maker<'_>,
    image: &str,
    namespace: &Namespace,
    id: &InstanceId,
) -> ContainerCreateBody {
    let labels = [
        (label::OWNER, maker.owner.to_owned()),
        (label::NAMESPACE, namespace.to_string()),
        (label::INSTANCE, id.to_string()),
        (label::SANDBOX, "true".to_owned()),
    ];
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![PAUSE.to_owned()]),
        cmd: Some(Vec::new()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            binds: Some(vec![format!("{}:{PAUSE}:ro", maker.pause.display())]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The volumes with a name, so that Docker mounts them and nobody removes them; and at the others a file system in
/// memory, so that Docker fills no volume that nobody uses.
fn mounts(plan: &Plan, unnamed: &[String]) -> Vec<Mount> {
    let named = plan.volumes.iter().map(|volume| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name.clone()),
        target: Some(volume.target.clone()),
        volume_options: volume.empty.then(|| MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    });
    let is_named = |target: &String| plan.volumes.iter().any(|volume| volume.target == *target);
    // One that is written in two ways is mounted once.
    let unnamed: BTreeSet<String> = unnamed.iter().map(|target| clean(target)).collect();
    let covered = unnamed.into_iter().filter(|target| !is_named(target));
    let covered = covered.map(|target| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(target),
        ..Mount::default()
    });
    named.chain(covered).collect()
}

fn is_default(mode: &str) -> bool {
    matches!(mode, "" | "default" | "bridge")
}

/// Whether a container with this network mode starts on this network. The mode may be a name or an id.
pub(crate) fn is_first(mode: Option<&str>, name: &str, endpoint: &EndpointSettings) -> bool {
    let mode = mode.unwrap_or_default();
    let mode = if is_default(mode) { "bridge" } else { mode };
    name == mode || endpoint.network_id.as_deref() == Some(mode)
}

/// What an instance has of a template's attachment: never its aliases or addresses, which are one container's.
fn endpoint_of(template: EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        driver_opts: template.driver_opts,
        gw_priority: template.gw_priority,
        ..EndpointSettings::default()
    }
}
