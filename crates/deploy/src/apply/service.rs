//! Ordinary services: containers that run.

use super::{Applied, Deployment};
use crate::error::DeployError;
use crate::progress::Event;
use crate::spec::{Place, Plan};
use crate::state::Existing;
use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::RenameContainerOptions;

impl Deployment<'_> {
    pub(super) async fn apply_service(
        &self,
        plan: &Plan,
        existing: Vec<Existing>,
        restart: bool,
    ) -> Result<Applied, DeployError> {
        let mut applied = Applied::default();
        let wanted = usize::try_from(plan.service.replicas).unwrap_or(usize::MAX);
        // What is as it should be stays; of the rest the lowest numbers.
        let (mut keep, mut others): (Vec<_>, Vec<_>) = existing
            .iter()
            .cloned()
            .partition(|container| self.is_as_planned(container, plan));
        while keep.len() > wanted {
            others.extend(keep.pop());
        }
        for container in others {
            if keep.len() + applied.containers.len() < wanted {
                let id = self.replace(plan, &container).await?;
                applied.containers.push(id);
                applied.changed = true;
            } else {
                self.discard(&container).await?;
            }
        }
        for container in &keep {
            self.settle(container, restart).await?;
            applied.containers.push(container.id.clone());
        }
        let mut known = existing;
        while applied.containers.len() < wanted {
            let number = self.free_number(plan, &known);
            let place = self.place(plan, number);
            let id = self.create(plan, &place).await?;
            self.progress.event(Event::Created {
                kind: "container",
                name: place.name.clone(),
            });
            self.start(&id, &place.name).await?;
            applied.containers.push(id.clone());
            applied.changed = true;
            known.push(Existing {
                id,
                name: place.name,
                service: plan.service.name.clone(),
                number,
                created: i64::MAX,
                labels: Default::default(),
                image_id: plan.image.id.clone(),
                state: ContainerSummaryStateEnum::RUNNING,
            });
        }
        Ok(applied)
    }

    pub(super) fn place(&self, plan: &Plan, number: u32) -> Place {
        Place {
            name: plan.container_name(self.project, number),
            number,
            all_networks: self.all_networks,
            ..Place::default()
        }
    }

    /// Sees to it that a container that did not change runs.
    async fn settle(&self, container: &Existing, restart: bool) -> Result<(), DeployError> {
        let name = &container.name;
        match container.state {
            ContainerSummaryStateEnum::RUNNING if restart => {
                crate::engine::patient(self.docker)
                    .restart_container(&container.id, None)
                    .await
                    .map_err(DeployError::engine(format!("restart {name}")))?;
                self.progress.event(Event::Started { name: name.clone() });
            }
            ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::RESTARTING => {
                self.progress.event(Event::Unchanged { name: name.clone() });
            }
            ContainerSummaryStateEnum::PAUSED => {
                self.docker
                    .unpause_container(&container.id)
                    .await
                    .map_err(DeployError::engine(format!("unpause {name}")))?;
                self.progress.event(Event::Started { name: name.clone() });
            }
            _ => self.start(&container.id, name).await?,
        }
        Ok(())
    }

    /// Makes the new container under the old one's name before the old one is
    /// stopped: what cannot even be created leaves the old one running.
    async fn replace(&self, plan: &Plan, old: &Existing) -> Result<String, DeployError> {
        self.progress.event(Event::Recreating {
            name: old.name.clone(),
        });
        let inherited = self.anonymous_volumes(&old.id, plan).await?;
        let number = old.number.max(1);
        let mut place = self.place(plan, number);
        place.inherited = inherited;
        let aside = format!("{}_{}", &old.id[..12.min(old.id.len())], old.name);
        self.rename(&old.id, &aside).await?;
        let id = match self.create(plan, &place).await {
            Ok(id) => id,
            Err(error) => {
                self.rename(&old.id, &old.name).await?;
                return Err(error);
            }
        };
        self.discard(old).await?;
        self.start(&id, &place.name).await?;
        Ok(id)
    }

    async fn rename(&self, id: &str, name: &str) -> Result<(), DeployError> {
        let options = RenameContainerOptions {
            name: name.to_owned(),
        };
        self.docker
            .rename_container(id, options)
            .await
            .map_err(DeployError::engine(format!("rename {id} to {name}")))
    }
}
