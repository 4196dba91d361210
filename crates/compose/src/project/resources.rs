//! What services share: networks, volumes, files.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A network of the project.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// The engine's name for it.
    pub name: String,
    /// It exists already and stays.
    pub external: bool,
    /// The driver; the engine's default without.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers outside Compose may join (overlay only).
    pub attachable: bool,
    /// Whether it carries IPv6.
    pub enable_ipv6: Option<bool>,
    /// Addresses.
    pub ipam: Ipam,
    /// Labels of the file's own.
    pub labels: BTreeMap<String, String>,
}

/// How addresses are given out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ipam {
    /// The driver; the engine's default without.
    pub driver: Option<String>,
    /// Address ranges.
    pub config: Vec<Subnet>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// One range of addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Subnet {
    /// In CIDR notation.
    pub subnet: Option<String>,
    /// The part that containers get addresses from.
    pub ip_range: Option<String>,
    /// The host's own address in it.
    pub gateway: Option<String>,
    /// Addresses that others hold, by name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// The engine's name for it.
    pub name: String,
    /// It exists already and stays.
    pub external: bool,
    /// The driver; `local` without.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels of the file's own.
    pub labels: BTreeMap<String, String>,
}

/// A secret or config: a file of the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileObject {
    /// The file, absolute.
    pub file: PathBuf,
}
