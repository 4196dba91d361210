//! Functions: one template, created and never started.

use super::{Applied, Deployment};
use crate::control::Verdict;
use crate::error::DeployError;
use crate::progress::Event;
use crate::spec::Plan;
use crate::state::Existing;

impl Deployment<'_> {
    /// Parks the template if it is not there yet. The new one comes first and
    /// the old one goes last, so that a request always finds one.
    pub(super) async fn apply_function(
        &self,
        plan: &Plan,
        existing: Vec<Existing>,
    ) -> Result<Applied, DeployError> {
        let function = plan.service.function.clone().unwrap_or_default();
        let mut applied = Applied::default();
        let current = existing
            .iter()
            .filter(|container| container.is_parked() && self.is_as_planned(container, plan))
            .max_by_key(|container| container.created);
        // An older template of the same content is no match for a newer one
        // of another: the newest is in force.
        let newest = existing
            .iter()
            .filter(|container| container.is_parked() && container.is_function())
            .map(|container| container.created)
            .max();
        if let Some(current) = current
            && Some(current.created) == newest
        {
            self.progress.event(Event::Unchanged {
                name: current.name.clone(),
            });
            applied.containers.push(current.id.clone());
            for old in existing.iter().filter(|old| old.id != current.id) {
                self.discard(old).await?;
            }
            return Ok(applied);
        }
        let number = self.free_number(plan, &existing);
        let place = self.place(plan, number);
        let id = self.create(plan, &place).await?;
        self.progress.event(Event::Parked {
            name: place.name.clone(),
            function: function.clone(),
        });
        applied.containers.push(id.clone());
        applied.changed = true;
        let old_templates = existing.iter().rfind(|old| old.is_parked() && old.is_function());
        match self.wait_in_force(&id, &place.name, &function).await {
            Verdict::InForce => self.progress.event(Event::InForce {
                name: place.name,
                function,
            }),
            Verdict::NoAnswer => {}
            Verdict::Invalid(reasons) => {
                super::remove(self.docker, &id, true, true).await?;
                self.progress.event(Event::Removed {
                    kind: "container",
                    name: place.name,
                });
                return Err(DeployError::Invalid {
                    service: plan.service.name.clone(),
                    reasons,
                    previous: old_templates.map(|old| old.name.clone()),
                });
            }
            Verdict::TooLate => {
                self.progress.event(Event::Note {
                    text: format!(
                        "Skep has not taken {} up within {} s; is it serving this engine and \
                         namespace? Older templates are left until the next deploy",
                        place.name,
                        self.options.in_force_timeout.as_secs()
                    ),
                });
                return Ok(applied);
            }
        }
        for old in &existing {
            self.discard(old).await?;
        }
        Ok(applied)
    }

    async fn wait_in_force(&self, id: &str, name: &str, function: &str) -> Verdict {
        let Some(control) = &self.control else {
            return Verdict::NoAnswer;
        };
        if !control.answers().await {
            return Verdict::NoAnswer;
        }
        self.progress.event(Event::Waiting {
            name: name.to_owned(),
            what: format!("{function} to be in force"),
        });
        let verdict = control.wait_for(id, self.options.in_force_timeout).await;
        self.progress.event(Event::Waited {
            name: name.to_owned(),
        });
        verdict
    }
}
