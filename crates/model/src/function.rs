//! A function: a template together with what its labels say.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::label;
use crate::name::{FunctionName, Namespace};
use crate::settings::Settings;
use crate::template::{Template, TemplateId};

/// A digest of a function's definition; two templates with the same definition have the same revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(Arc<str>);

impl Revision {
    /// The revision of a definition given in its canonical form (see the crate that reads it from Docker).
    pub fn of(definition: &[u8]) -> Self {
        let digest = Sha256::digest(definition);
        Self(
            digest[..6]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into(),
        )
    }

    /// The revision as text: 12 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A valid function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: FunctionName,
    /// Its namespace.
    pub namespace: Namespace,
    /// The digest of its definition.
    pub revision: Revision,
    /// What its labels say.
    pub settings: Settings,
    /// The parked object that defines it.
    pub template: Arc<Template>,
}

/// A template that carries `skep.function` and can't be run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// What `skep.function` says, be it a name or not.
    pub name: String,
    /// Which template.
    pub template: TemplateId,
    /// The template's own name in Docker.
    pub template_name: String,
    /// Every reason, each a sentence that says what to change.
    pub reasons: Vec<String>,
}

impl Function {
    /// Reads a template. `revision` is the digest of its definition.
    ///
    /// # Errors
    /// Every reason why the template is not a valid function, in the order of its labels.
    pub fn from_template(template: Arc<Template>, revision: Revision) -> Result<Self, Vec<String>> {
        let mut reasons = Vec::new();
        let parsed = label::parse(&template, &mut reasons);
        check_object(&template, parsed.as_ref().map(|p| &p.settings), &mut reasons);
        match parsed {
            Some(parsed) if reasons.is_empty() => Ok(Self {
                name: parsed.name,
                namespace: parsed.namespace,
                revision,
                settings: parsed.settings,
                template,
            }),
            _ => Err(reasons),
        }
    }
}

/// The rules about the parked object itself, whatever its labels say (DESIGN 3.1).
fn check_object(template: &Template, settings: Option<&Settings>, reasons: &mut Vec<String>) {
    use crate::settings::Handler;
    if template.ever_started {
        reasons.push(
            "the container was started once; a template is created and never started: \
             create it anew with `docker create`"
                .to_owned(),
        );
    }
    if template.publishes_ports {
        reasons.push(
            "the container publishes ports (-p or -P); requests reach a function through Skep: \
             create it without them"
                .to_owned(),
        );
    }
    if !template.image_present {
        reasons.push(format!(
            "its image {} is no longer on the engine; pull or build it again, then create the template anew",
            template.image
        ));
    }
    if let Some(settings) = settings {
        if template.tty && settings.handler != Handler::Http {
            reasons.push(
                "the container has a TTY (-t), which would mix its output into one stream; \
                 exec and cgi need it without"
                    .to_owned(),
            );
        }
        if template.fixed_address && (settings.max > 1 || settings.spares > 0) {
            reasons.push(
                "the container asks for a fixed IP address, which one instance at a time can have; \
                 set skep.max=1 and skep.spares=0, or leave the address to Docker"
                    .to_owned(),
            );
        }
    }
}
