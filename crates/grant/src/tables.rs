//! The fields that clients send and that nobody is granted: each with the values that say nothing. `null` and absence
//! say nothing everywhere; what stands in no table and is read by nobody is refused whatever it says.

/// A value that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neutral {
    False,
    Zero,
    MinusOne,
    /// `""`
    Empty,
    Word(&'static str),
    /// `[]`
    NoItems,
    /// `{}`
    NoKeys,
}

use Neutral::{Empty, False, MinusOne, NoItems, NoKeys, Word, Zero};

/// A field, its neutral values beside `null`, and what is said to who wants more.
pub(crate) type Row = (&'static str, &'static [Neutral], &'static str);

const HOST_NAMESPACE: &str = "no grant of skep.spawn lets a child into a namespace that isn't its own";
const DEVICE: &str = "no grant of skep.spawn gives a child devices";
const CONFINED: &str = "no grant of skep.spawn loosens a child's confinement";
const PLACED: &str = "Skep places children itself; skep.spawn.memory and skep.spawn.cpus bound them";
const OTHERS: &str = "no grant of skep.spawn reaches into other containers";
const ENGINE: &str = "that is the engine's own choice, which no grant of skep.spawn changes";

/// `HostConfig`.
#[rustfmt::skip]
pub(crate) const HOST: &[Row] = &[
    ("Privileged",           &[False],                       "no grant of skep.spawn makes a child privileged"),
    ("CapAdd",               &[NoItems],                     "no grant of skep.spawn adds capabilities"),
    ("Capabilities",         &[NoItems],                     "no grant of skep.spawn adds capabilities"),
    ("Devices",              &[NoItems],                     DEVICE),
    ("DeviceCgroupRules",    &[NoItems],                     DEVICE),
    ("DeviceRequests",       &[NoItems],                     DEVICE),
    ("PidMode",              &[Empty],                       HOST_NAMESPACE),
    ("IpcMode",              &[Empty, Word("private")],      HOST_NAMESPACE),
    ("UTSMode",              &[Empty],                       HOST_NAMESPACE),
    ("UsernsMode",           &[Empty],                       HOST_NAMESPACE),
    ("CgroupnsMode",         &[Empty, Word("private")],      HOST_NAMESPACE),
    ("Cgroup",               &[Empty],                       HOST_NAMESPACE),
    ("CgroupParent",         &[Empty],                       PLACED),
    ("CpusetCpus",           &[Empty],                       PLACED),
    ("CpusetMems",           &[Empty],                       PLACED),
    ("CpuRealtimePeriod",    &[Zero],                        PLACED),
    ("CpuRealtimeRuntime",   &[Zero],                        PLACED),
    ("CpuCount",             &[Zero],                        PLACED),
    ("CpuPercent",           &[Zero],                        PLACED),
    ("MemorySwappiness",     &[MinusOne],                    PLACED),
    ("KernelMemory",         &[Zero],                        PLACED),
    ("KernelMemoryTCP",      &[Zero],                        PLACED),
    ("OomKillDisable",       &[False],                       PLACED),
    ("BlkioWeight",          &[Zero],                        PLACED),
    ("BlkioWeightDevice",    &[NoItems],                     PLACED),
    ("BlkioDeviceReadBps",   &[NoItems],                     PLACED),
    ("BlkioDeviceWriteBps",  &[NoItems],                     PLACED),
    ("BlkioDeviceReadIOps",  &[NoItems],                     PLACED),
    ("BlkioDeviceWriteIOps", &[NoItems],                     PLACED),
    ("IOMaximumIOps",        &[Zero],                        PLACED),
    ("IOMaximumBandwidth",   &[Zero],                        PLACED),
    ("Sysctls",              &[NoKeys],                      CONFINED),
    // An empty list would unmask what Docker masks; only silence is neutral.
    ("MaskedPaths",          &[],                            CONFINED),
    ("ReadonlyPaths",        &[],                            CONFINED),
    ("VolumesFrom",          &[NoItems],                     OTHERS),
    ("Links",                &[NoItems],                     OTHERS),
    ("VolumeDriver",         &[Empty, Word("local")],        "a child's volumes are of the local driver"),
    ("Runtime",              &[Empty],                       ENGINE),
    ("Isolation",            &[Empty, Word("default")],      ENGINE),
    ("StorageOpt",           &[NoKeys],                      ENGINE),
    ("Annotations",          &[NoKeys],                      ENGINE),
    ("InitPath",             &[Empty],                       ENGINE),
];

/// The create body beside `HostConfig`.
#[rustfmt::skip]
pub(crate) const CONFIG: &[Row] = &[
    ("MacAddress",  &[Empty],   "no grant of skep.spawn lets a child choose its addresses"),
    ("OnBuild",     &[NoItems], "nothing is built through this socket"),
    ("ArgsEscaped", &[False],   ENGINE),
    // Where clients of the first versions of the API had what is in HostConfig now.
    ("VolumesFrom",  &[NoItems, Empty], OTHERS),
    ("VolumeDriver", &[Empty],   ENGINE),
    ("PortSpecs",    &[NoItems], ENGINE),
    ("Runtime",      &[Empty],   ENGINE),
    ("Dns",          &[NoItems], ENGINE),
    ("Memory",       &[Zero],    "HostConfig.Memory is the field for that"),
    ("MemorySwap",   &[Zero],    "HostConfig.Memory is the field for that"),
    ("CpuShares",    &[Zero],    "HostConfig.CpuShares is the field for that"),
    ("Cpuset",       &[Empty],   PLACED),
];

/// One entry of `NetworkingConfig.EndpointsConfig`.
#[rustfmt::skip]
pub(crate) const ENDPOINT: &[Row] = &[
    ("MacAddress",          &[Empty],   "no grant of skep.spawn lets a child choose its addresses"),
    ("IPAddress",           &[Empty],   "no grant of skep.spawn lets a child choose its addresses"),
    ("GlobalIPv6Address",   &[Empty],   "no grant of skep.spawn lets a child choose its addresses"),
    ("Links",               &[NoItems], OTHERS),
    ("Aliases",             &[NoItems], "no grant of skep.spawn gives a child names on a network that others use"),
    ("DNSNames",            &[NoItems], "no grant of skep.spawn gives a child names on a network that others use"),
    ("DriverOpts",          &[NoKeys],  ENGINE),
    ("GwPriority",          &[Zero],    ENGINE),
    ("NetworkID",           &[Empty],   ENGINE),
    ("EndpointID",          &[Empty],   ENGINE),
    ("Gateway",             &[Empty],   ENGINE),
    ("IPPrefixLen",         &[Zero],    ENGINE),
    ("IPv6Gateway",         &[Empty],   ENGINE),
    ("GlobalIPv6PrefixLen", &[Zero],    ENGINE),
];

/// `POST /containers/ID/exec`.
#[rustfmt::skip]
pub(crate) const EXEC: &[Row] = &[
    ("Privileged",   &[False], "no grant of skep.spawn makes a process privileged"),
    ("Capabilities", &[NoItems], "no grant of skep.spawn adds capabilities"),
];
