//! `build`.

use super::fields::{Context, Fields};
use super::words::pairs;
use crate::problem::Problem;
use crate::project::Build;
use crate::yaml::Value;

const CLASSIC: &str = "this needs BuildKit, and skep builds with the engine's classic builder";

impl Fields<'_> {
    pub(super) fn build(&self) -> Option<Build> {
        let (node, path) = self.take("build")?;
        if let Value::Scalar(text) = &node.value {
            return Some(Build {
                context: context(self.context, text),
                ..Build::default()
            });
        }
        let fields = Fields::open(self.context, node, &path)?;
        let args = match fields.take("args") {
            Some((node, path)) => pairs(self.context, node, &path)
                .into_iter()
                .map(|(name, value)| {
                    let value = value.or_else(|| self.context.variables.get(&name).cloned());
                    (name, value)
                })
                .collect(),
            None => Default::default(),
        };
        let platforms = fields.texts("platforms");
        if platforms.len() > 1 {
            self.context.refuse(
                Problem::new("one image for several platforms needs BuildKit")
                    .at(&node.position, format!("{path}.platforms"))
                    .hint("name the engine's own platform only, or none"),
            );
        }
        let build = Build {
            context: context(
                self.context,
                &fields.text("context").unwrap_or_else(|| String::from(".")),
            ),
            dockerfile: fields.text("dockerfile"),
            dockerfile_inline: fields.text("dockerfile_inline"),
            args,
            labels: fields.labels("labels"),
            target: fields.text("target"),
            tags: fields.texts("tags"),
            cache_from: fields.texts("cache_from"),
            no_cache: fields.flag("no_cache"),
            pull: fields.flag("pull"),
            network: fields.text("network"),
            extra_hosts: super::service::hosts(&fields),
            shm_size: fields.bytes("shm_size"),
            platform: platforms.into_iter().next(),
        };
        fields.refused(
            &[
                "additional_contexts",
                "secrets",
                "ssh",
                "entitlements",
                "privileged",
            ],
            CLASSIC,
            "build the image with docker buildx build, and name it under image",
        );
        fields.noted(
            &["cache_to", "provenance", "sbom"],
            "BuildKit only: nothing is exported",
        );
        fields.finish();
        if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
            self.context.refuse(
                Problem::new("dockerfile and dockerfile_inline contradict each other")
                    .at(&node.position, path)
                    .hint("keep one of the two"),
            );
        }
        Some(build)
    }
}

/// A directory made absolute; a URL left as it is for the engine to fetch.
fn context(context: &Context<'_>, text: &str) -> String {
    let remote = ["http://", "https://", "git://", "git@", "ssh://", "github.com/"]
        .iter()
        .any(|prefix| text.starts_with(prefix));
    if remote {
        text.to_owned()
    } else {
        context.path(text).to_string_lossy().into_owned()
    }
}
