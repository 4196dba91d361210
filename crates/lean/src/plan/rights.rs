//! What a process may do: capabilities, seccomp, AppArmor, no_new_privs.

use crate::apparmor;
use crate::capabilities;
use crate::host::Host;
use crate::inspect::Fields;

/// The rights of an instance, before sharing takes anything away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) capabilities: u64,
    /// The names of those that the template adds.
    pub(crate) asked: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
    pub(crate) apparmor: Option<String>,
}

/// Which system calls a process may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// All that there are.
    Unconfined,
    /// Those of Docker's default profile.
    Default,
    /// Those of a profile of the template's own, as the engine shows it.
    Own(String),
}

pub(super) fn read(host_config: &mut Fields, host: &Host, reasons: &mut Vec<String>) -> Rights {
    let (added, dropped) = (host_config.texts("CapAdd"), host_config.texts("CapDrop"));
    let mut rights = Rights {
        capabilities: 0,
        asked: added.clone(),
        no_new_privileges: false,
        seccomp: Seccomp::Default,
        apparmor: host.apparmor.clone(),
    };
    match capabilities::granted(&added, &dropped) {
        Ok(granted) => rights.capabilities = granted,
        Err(reason) => reasons.push(reason),
    }
    let missing = capabilities::names(rights.capabilities & !host.capabilities);
    if !missing.is_empty() {
        reasons.push(format!(
            "Skep does not have {} itself, and can't give what it has not",
            missing.join(", ")
        ));
    }
    for option in host_config.texts("SecurityOpt") {
        // The older way of writing them has a colon.
        let profile = option
            .strip_prefix("seccomp")
            .and_then(|rest| rest.strip_prefix(['=', ':']));
        if let Some(profile) = profile {
            rights.seccomp = match profile {
                "unconfined" => Seccomp::Unconfined,
                "builtin" => Seccomp::Default,
                own => Seccomp::Own(own.to_owned()),
            };
            continue;
        }
        let plain = option.replacen(':', "=", 1);
        match plain.as_str() {
            "no-new-privileges" | "no-new-privileges=true" => rights.no_new_privileges = true,
            "no-new-privileges=false" => {}
            // Without SELinux, where lean is used, there is nothing to disable.
            "label=disable" | "apparmor=unconfined" if host.apparmor.is_none() => {}
            "label=disable" => {}
            other if host.apparmor.is_some() && other.starts_with("apparmor=") => {
                let profile = other.trim_start_matches("apparmor=");
                reasons.extend(apparmor::check(profile).err());
                rights.apparmor = Some(profile.to_owned());
            }
            _ => reasons.push(format!(
                "the lean engine does not give the security option {option}"
            )),
        }
    }
    rights
}
