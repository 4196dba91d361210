//! A template's limits: read once from its `HostConfig`, then put into the words of the node's cgroup version.

mod conversions;
mod devices;
mod v1;
mod v2;

use crate::cgroups::Kind;
use crate::host::Host;
use crate::inspect::Fields;

pub(crate) use conversions::Conversions;
pub(crate) use devices::DeviceRule;

/// What is written into an instance's cgroups, and which devices it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) settings: Vec<Setting>,
    /// Whether nobody said how many processes there may be, which leaves it to the daemon's node.
    unsaid_processes: bool,
    pub(crate) devices: Vec<DeviceRule>,
}

/// A file and its text, for the hierarchy with the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) text: String,
}

impl Setting {
    fn new(controller: &'static str, file: &'static str, text: impl ToString) -> Self {
        Self {
            controller,
            file,
            text: text.to_string(),
        }
    }
}

/// The limits in Docker's words; zero and the empty text are "not asked for", -1 is "none".
#[derive(Debug, Default)]
struct Asked {
    memory: i64,
    /// Memory and swap together.
    memory_and_swap: i64,
    reservation: i64,
    never_killed: bool,
    /// None where nobody said anything, which is not the same as "no limit".
    pids: Option<i64>,
    shares: i64,
    period: i64,
    quota: i64,
    processors: String,
    memory_nodes: String,
    weight: i64,
}

impl Asked {
    fn read(host: &mut Fields) -> Self {
        let mut asked = Self {
            memory: host.number("Memory"),
            memory_and_swap: host.number("MemorySwap"),
            reservation: host.number("MemoryReservation"),
            never_killed: host.flag("OomKillDisable"),
            pids: host.take("PidsLimit").as_i64(),
            shares: host.number("CpuShares"),
            period: host.number("CpuPeriod"),
            quota: host.number("CpuQuota"),
            processors: host.text("CpusetCpus"),
            memory_nodes: host.text("CpusetMems"),
            weight: host.number("BlkioWeight"),
        };
        let nano = host.number("NanoCpus");
        if nano > 0 {
            (asked.period, asked.quota) = (100_000, nano / 10_000);
        }
        asked
    }
}

/// Reads the limits out of a template's `HostConfig`; what this node can't give is a reason against.
pub(crate) fn read(host_config: &mut Fields, host: &Host, reasons: &mut Vec<String>) -> Limits {
    let mut devices = devices::usual(host.conversions.allows_tun);
    for text in host_config.texts("DeviceCgroupRules") {
        match DeviceRule::parse(&text) {
            Some(rule) => devices.push(rule),
            None => reasons.push(format!("the lean engine does not give the device rule {text}")),
        }
    }
    let asked = Asked::read(host_config);
    let settings = match &host.cgroup {
        Kind::Separate(_) => v1::settings(&asked, reasons),
        Kind::Unified(facts) => v2::settings(&asked, facts, host.conversions, reasons),
    };
    Limits {
        settings,
        unsaid_processes: asked.pids.is_none(),
        devices,
    }
}

impl Limits {
    /// None, and the devices of nearly every template.
    pub(crate) fn usual(conversions: Conversions) -> Self {
        Self {
            settings: Vec::new(),
            unsaid_processes: true,
            devices: devices::usual(conversions.allows_tun),
        }
    }

    /// With what Docker's containers have here without being asked: systemd bounds the processes of its scopes.
    pub(crate) fn with_usual(&self, processes: Option<&str>) -> Self {
        let usual = processes.filter(|_| self.unsaid_processes);
        let mut all = self.clone();
        all.settings
            .extend(usual.map(|text| Setting::new("pids", "pids.max", text)));
        all
    }

    /// The devices as a program of the kernel's (version 2).
    pub(crate) fn device_program(&self) -> Vec<u64> {
        devices::program(&self.devices)
    }

    /// With the devices as lines for the `devices` controller (version 1).
    pub(crate) fn with_device_lines(&self) -> Vec<Setting> {
        let deny = Setting::new("devices", "devices.deny", "a");
        let allow = self
            .devices
            .iter()
            .map(|rule| Setting::new("devices", "devices.allow", rule));
        let all = [deny].into_iter().chain(allow);
        all.chain(self.settings.iter().cloned()).collect()
    }
}
