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
    /// Whether Docker's default seccomp profile is applied.
    pub(crate) confined: bool,
    pub(crate) apparmor: Option<String>,
}

pub(super) fn read(host_config: &mut Fields, host: &Host, reasons: &mut Vec<String>) -> Rights {
    let (added, dropped) = (host_config.texts("CapAdd"), host_config.texts("CapDrop"));
    let mut rights = Rights {
        capabilities: 0,
        asked: added.clone(),
        no_new_privileges: false,
        confined: true,
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
        let plain = option.replacen(':', "=", 1);
        match plain.as_str() {
            "no-new-privileges" | "no-new-privileges=true" => rights.no_new_privileges = true,
            "no-new-privileges=false" | "seccomp=builtin" => {}
            "seccomp=unconfined" => rights.confined = false,
            // Without SELinux, where lean is used, there is nothing to disable.
            "label=disable" | "apparmor=unconfined" if host.apparmor.is_none() => {}
            "label=disable" => {}
            other if host.apparmor.is_some() && other.starts_with("apparmor=") => {
                let profile = other.trim_start_matches("apparmor=");
                reasons.extend(apparmor::check(profile).err());
                rights.apparmor = Some(profile.to_owned());
            }
            other if other.starts_with("seccomp=") => reasons
                .push("the lean engine does not load a seccomp profile of the template's own".to_owned()),
            _ => reasons.push(format!(
                "the lean engine does not give the security option {option}"
            )),
        }
    }
    rights
}
