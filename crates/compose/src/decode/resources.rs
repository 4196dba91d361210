//! Limits: `deploy` and the older keys beside it.

use super::fields::Fields;
use crate::project::{Limits, Restart};
use std::collections::BTreeMap;

const SWARM: &str = "Swarm only: it means nothing on one engine";

/// What `deploy` says.
#[derive(Default)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) limits: Limits,
    pub(super) restart: Option<Restart>,
}

impl Fields<'_> {
    pub(super) fn deploy(&self) -> Deploy {
        let Some(fields) = self.inner("deploy") else {
            return Deploy::default();
        };
        let mut limits = Limits::default();
        if let Some(resources) = fields.inner("resources") {
            if let Some(hard) = resources.inner("limits") {
                limits.nano_cpus = hard.cpus("cpus");
                limits.memory = hard.bytes("memory");
                limits.pids = hard.number("pids");
                hard.finish();
            }
            if let Some(soft) = resources.inner("reservations") {
                limits.memory_reservation = soft.bytes("memory");
                soft.noted(&["cpus", "generic_resources"], SWARM);
                soft.refused(
                    &["devices"],
                    "devices such as GPUs cannot be reserved yet",
                    "start this service with docker run --gpus",
                );
                soft.finish();
            }
            resources.finish();
        }
        let deploy = Deploy {
            replicas: fields.number("replicas"),
            labels: fields.labels("labels"),
            restart: fields.restart_policy(),
            limits,
        };
        fields.noted(
            &[
                "mode",
                "placement",
                "update_config",
                "rollback_config",
                "endpoint_mode",
            ],
            SWARM,
        );
        fields.finish();
        deploy
    }

    /// The keys of a service itself, all of them read; `deploy.resources` wins where both are.
    pub(super) fn limits(&self, deploy: Limits) -> Limits {
        let or = |first: Option<i64>, second: Option<i64>| first.or(second);
        Limits {
            nano_cpus: or(deploy.nano_cpus, self.cpus("cpus")),
            memory: or(deploy.memory, self.bytes("mem_limit")),
            memory_swap: self.size_or_unlimited("memswap_limit"),
            memory_reservation: or(deploy.memory_reservation, self.bytes("mem_reservation")),
            pids: or(deploy.pids, self.number("pids_limit")),
            cpu_shares: self.number("cpu_shares"),
            cpuset: self.text("cpuset"),
            cpu_quota: self.number("cpu_quota"),
            cpu_period: self.number("cpu_period"),
            oom_score_adj: self.number("oom_score_adj"),
            oom_kill_disable: self.boolean("oom_kill_disable"),
        }
    }

    /// `init`, `tty` and their like, false where nothing is said.
    pub(super) fn flag(&self, key: &'static str) -> bool {
        self.boolean(key).unwrap_or(false)
    }
}
