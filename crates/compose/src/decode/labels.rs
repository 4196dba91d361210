//! The `skep.*` labels of a function, read by the same rules as Skep itself reads them, so that a mistake is
//! told with its place before anything is created.

use super::fields::Context;
use crate::problem::Problem;
use crate::project::Service;
use jiff::Timestamp;
use skep_model::{Function, Revision, Template, TemplateId};
use std::sync::Arc;

/// Refuses labels with which Skep would not run the template. What the file cannot tell (the image's own labels
/// and ports) is left to Skep.
pub(super) fn check(context: &Context<'_>, service: &Service) {
    let template = Template {
        id: TemplateId(Arc::from("")),
        name: service.name.clone(),
        created: Timestamp::UNIX_EPOCH,
        labels: service.labels.clone(),
        image_labels: Default::default(),
        image_id: String::new(),
        image: service.image.clone().unwrap_or_default(),
        image_present: true,
        ever_started: false,
        // Ports and terminals are refused by their own keys.
        publishes_ports: false,
        tty: false,
        exposed_tcp: Vec::new(),
        port_variable: service.environment.get("PORT").cloned(),
        fixed_address: false,
        network_mode: service.network_mode.clone().unwrap_or_default(),
        networks: Vec::new(),
        memory: service.limits.memory.and_then(|bytes| u64::try_from(bytes).ok()),
        copied: None,
        inspect: Arc::from("{}"),
    };
    if let Err(reasons) = Function::from_template(Arc::new(template), Revision::of(&[])) {
        let key = if service.positions.contains_key("labels") {
            "labels"
        } else {
            "deploy.labels"
        };
        for reason in reasons {
            context.refuse(Problem::new(reason).at(
                service.position_of(key),
                format!("services.{}.{key}", service.name),
            ));
        }
    }
}
