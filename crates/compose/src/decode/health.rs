//! `healthcheck`, `depends_on`, `restart`.

use super::fields::{Fields, named};
use crate::problem::Problem;
use crate::project::{Condition, Dependency, Healthcheck, Probe, Restart};
use crate::yaml::Value;
use std::collections::BTreeMap;

impl Fields<'_> {
    pub(super) fn healthcheck(&self) -> Option<Healthcheck> {
        let fields = self.inner("healthcheck")?;
        let disabled = fields.boolean("disable").unwrap_or(false);
        let test = fields.take("test").and_then(|(node, path)| {
            let words = match &node.value {
                Value::Scalar(line) => vec![String::from("CMD-SHELL"), line.clone()],
                _ => self.context.texts(node, &path),
            };
            match words.first().map(String::as_str) {
                Some("NONE") => Some(Probe::Disabled),
                Some("CMD" | "CMD-SHELL") if words.len() > 1 => Some(Probe::Command(words)),
                _ => {
                    self.context.refuse(
                        Problem::new("a test begins with CMD, CMD-SHELL or NONE")
                            .at(&node.position, path)
                            .hint("write [CMD, program, argument], or one line for the shell"),
                    );
                    None
                }
            }
        });
        let health = Healthcheck {
            test: if disabled { Some(Probe::Disabled) } else { test },
            interval: fields.duration("interval"),
            timeout: fields.duration("timeout"),
            retries: fields.number("retries"),
            start_period: fields.duration("start_period"),
            start_interval: fields.duration("start_interval"),
        };
        fields.finish();
        Some(health)
    }

    pub(super) fn depends_on(&self) -> BTreeMap<String, Dependency> {
        let simple = Dependency {
            condition: Condition::Started,
            restart: false,
            required: true,
        };
        let Some((node, path)) = self.take("depends_on") else {
            return BTreeMap::new();
        };
        if let Value::Sequence(_) = &node.value {
            let names = self.context.texts(node, &path);
            return names.into_iter().map(|name| (name, simple)).collect();
        }
        let mut dependencies = BTreeMap::new();
        for (entry, path) in named(self.context, node, &path) {
            let Some(fields) = Fields::open(self.context, &entry.node, &path) else {
                continue;
            };
            let condition = fields.word(
                "condition",
                &[
                    "service_started",
                    "service_healthy",
                    "service_completed_successfully",
                ],
            );
            let dependency = Dependency {
                condition: match condition.as_deref() {
                    Some("service_healthy") => Condition::Healthy,
                    Some("service_completed_successfully") => Condition::Completed,
                    _ => Condition::Started,
                },
                restart: fields.boolean("restart").unwrap_or(false),
                required: fields.boolean("required").unwrap_or(true),
            };
            fields.finish();
            dependencies.insert(entry.key.clone(), dependency);
        }
        dependencies
    }

    pub(super) fn restart(&self) -> Option<Restart> {
        let (node, path) = self.take("restart")?;
        self.context.parsed(
            node,
            &path,
            "no, always, unless-stopped, on-failure or on-failure:5",
            |text| match text.split_once(':') {
                Some(("on-failure", count)) => Some(Restart::OnFailure(Some(count.parse().ok()?))),
                Some(_) => None,
                None => match text {
                    // A bare `no` is a boolean to other YAML readers.
                    "no" | "false" => Some(Restart::No),
                    "always" => Some(Restart::Always),
                    "unless-stopped" => Some(Restart::UnlessStopped),
                    "on-failure" => Some(Restart::OnFailure(None)),
                    _ => None,
                },
            },
        )
    }

    /// `deploy.restart_policy`, which counts where `restart` is not given.
    pub(super) fn restart_policy(&self) -> Option<Restart> {
        let fields = self.inner("restart_policy")?;
        let condition = fields.word("condition", &["none", "on-failure", "any"]);
        let attempts = fields.number("max_attempts");
        fields.noted(
            &["delay", "window"],
            "Swarm only: the engine chooses its own delays",
        );
        fields.finish();
        Some(match condition.as_deref() {
            Some("none") => Restart::No,
            Some("on-failure") => Restart::OnFailure(attempts),
            _ => Restart::Always,
        })
    }

    /// `ulimits`: one number, or soft and hard.
    pub(super) fn ulimits(&self) -> BTreeMap<String, crate::project::Ulimit> {
        let Some((node, path)) = self.take("ulimits") else {
            return BTreeMap::new();
        };
        let mut ulimits = BTreeMap::new();
        for (entry, path) in named(self.context, node, &path) {
            let limits = match &entry.node.value {
                Value::Scalar(_) => self
                    .context
                    .parsed(&entry.node, &path, "a number", |text| text.parse().ok())
                    .map(|limit| (limit, limit)),
                _ => Fields::open(self.context, &entry.node, &path).and_then(|fields| {
                    let (soft, hard) = (fields.number("soft"), fields.number("hard"));
                    let position = fields.position.clone();
                    fields.finish();
                    if soft.is_none() || hard.is_none() {
                        self.context
                            .refuse_at(&position, &path, "both soft and hard are needed");
                    }
                    Some((soft?, hard?))
                }),
            };
            if let Some((soft, hard)) = limits {
                ulimits.insert(entry.key.clone(), crate::project::Ulimit { soft, hard });
            }
        }
        ulimits
    }

    pub(super) fn cpus(&self, key: &'static str) -> Option<i64> {
        let (node, path) = self.take(key)?;
        self.context
            .parsed(node, &path, "a number of CPUs such as 0.5", |text| {
                let cpus: f64 = text.trim().parse().ok()?;
                (cpus.is_finite() && (0.0..1e6).contains(&cpus)).then_some((cpus * 1e9).round() as i64)
            })
    }
}
