//! A profile as moby reads it, and what of it holds here.

use serde::Deserialize;

use super::super::program;

/// A number above which the kernel takes no error.
const LARGEST_ERROR: u32 = 4095;
const EPERM: u16 = 1;

/// Where and for whom a profile is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// The names of the process's capabilities, as profiles write them (`CAP_CHOWN`).
    pub(crate) capabilities: Vec<String>,
    /// The kernel's version, as far as profiles ask for it.
    pub(crate) kernel: (u32, u32),
    /// Whether the engine is of the 20.10 line, which reads less of a profile.
    pub(crate) old_engine: bool,
    /// Whether the engine's runtime answers for calls that are newer than the profile, as runc does.
    pub(crate) is_guarded: bool,
}

/// The file. What is not known here is refused: the engine may know it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "or_empty")]
    architectures: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    arch_map: Vec<SubArchitectures>,
    #[serde(default, deserialize_with = "or_empty")]
    flags: Vec<String>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default, deserialize_with = "or_empty")]
    syscalls: Vec<Calls>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubArchitectures {
    architecture: String,
    #[serde(default, deserialize_with = "or_empty")]
    sub_architectures: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calls {
    #[serde(default)]
    name: String,
    #[serde(default, deserialize_with = "or_empty")]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "or_empty")]
    args: Vec<Argument>,
    #[serde(default, rename = "comment")]
    _comment: String,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Argument {
    pub(super) index: u32,
    #[serde(default)]
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default, deserialize_with = "or_empty")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// A list may be `null`.
fn or_empty<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    KillThread,
    KillProcess,
    Trap,
    Errno(u16),
    Log,
    Allow,
}

impl Action {
    fn parse(name: &str, errno: Option<u32>) -> Result<Self, String> {
        let action = match name {
            "SCMP_ACT_ERRNO" => {
                let errno = errno.unwrap_or(EPERM.into());
                let fits = u16::try_from(errno).ok().filter(|_| errno <= LARGEST_ERROR);
                return fits
                    .map(Self::Errno)
                    .ok_or_else(|| format!("{errno} is no error that the kernel takes"));
            }
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_ALLOW" => Self::Allow,
            other => return Err(format!("nobody answers for the action {other} here")),
        };
        match errno {
            None => Ok(action),
            Some(errno) => Err(format!("the action {name} gives no error {errno}")),
        }
    }

    /// Whether a call is made all the same.
    pub(super) fn is_permissive(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// What the program returns (seccomp(2)).
    pub(super) fn code(self) -> u32 {
        match self {
            Self::KillThread => program::KILL_THREAD,
            Self::KillProcess => program::KILL_PROCESS,
            Self::Trap => 0x0003_0000,
            Self::Errno(number) => program::ERROR | u32::from(number),
            Self::Log => 0x7ffc_0000,
            Self::Allow => program::ALLOWED,
        }
    }
}

/// One rule that holds here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) arguments: Vec<Argument>,
}

/// What of a profile holds here.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) default: Action,
    pub(super) architectures: Vec<String>,
    pub(super) rules: Vec<Rule>,
    pub(super) is_guarded: bool,
}

impl Profile {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("it can't be read: {error}"))
    }

    /// As moby does when it starts a container.
    pub(super) fn select(self, here: &Circumstances) -> Result<Selection, String> {
        if !self.flags.is_empty() {
            return Err(format!("the flags {} are not set", self.flags.join(", ")));
        }
        if !(self.listener_path.is_empty() && self.listener_metadata.is_empty()) {
            return Err("nobody listens for its notifications".to_owned());
        }
        if here.old_engine && self.default_errno_ret.is_some() {
            return Err("this engine does not read defaultErrnoRet".to_owned());
        }
        if !(self.architectures.is_empty() || self.arch_map.is_empty()) {
            return Err("it has both architectures and archMap".to_owned());
        }
        let mut architectures = self.architectures;
        let own = self
            .arch_map
            .into_iter()
            .find(|map| map.architecture == super::NAMES[0]);
        if let Some(map) = own {
            architectures = [vec![map.architecture], map.sub_architectures].concat();
        }
        if let Some(other) = architectures.iter().find(|name| !is_known(name)) {
            return Err(format!("the architecture {other} is not known here"));
        }
        let mut rules = Vec::new();
        for calls in self.syscalls {
            if !(calls.name.is_empty() || calls.names.is_empty()) {
                return Err("a rule has both name and names".to_owned());
            }
            if !calls.holds(here)? {
                continue;
            }
            let action = Action::parse(&calls.action, calls.errno_ret)?;
            let single = Some(calls.name).filter(|name| !name.is_empty());
            rules.extend(calls.names.into_iter().chain(single).map(|name| Rule {
                name,
                action,
                arguments: calls.args.clone(),
            }));
        }
        Ok(Selection {
            default: Action::parse(&self.default_action, self.default_errno_ret)?,
            architectures,
            rules,
            is_guarded: here.is_guarded,
        })
    }
}

fn is_known(architecture: &str) -> bool {
    super::NAMES.contains(&architecture) || architecture == super::NAME_OF_X32
}

impl Calls {
    fn holds(&self, here: &Circumstances) -> Result<bool, String> {
        let has = |name: &String| here.capabilities.contains(name);
        let is_here = |name: &String| name == "amd64";
        if let Some(excludes) = &self.excludes
            && (excludes.arches.iter().any(is_here)
                || excludes.caps.iter().any(has)
                || excludes.kernel()?.is_some_and(|least| here.kernel >= least))
        {
            return Ok(false);
        }
        let Some(includes) = &self.includes else {
            return Ok(true);
        };
        Ok(
            (includes.arches.is_empty() || includes.arches.iter().any(is_here))
                && includes.caps.iter().all(has)
                && includes.kernel()?.is_none_or(|least| here.kernel >= least),
        )
    }
}

impl Filter {
    fn kernel(&self) -> Result<Option<(u32, u32)>, String> {
        let Some(text) = &self.min_kernel else {
            return Ok(None);
        };
        let read = || {
            let (kernel, major) = text.split_once('.')?;
            Some((kernel.parse().ok()?, major.parse().ok()?))
        };
        let read = read().ok_or_else(|| format!("{text} is no version of a kernel"))?;
        Ok(Some(read))
    }
}
