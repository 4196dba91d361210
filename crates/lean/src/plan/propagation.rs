//! Whether a bind goes on with what the host mounts there later.

use std::path::Path;

use skep_spawner::{Mount, MountKind, Propagation, PropagationKind};

use crate::host::Host;
use crate::sight::Sight;

/// Docker's word for it. Volumes have none; binds that nobody gave one have `rprivate`, but for those with Docker's own
/// folder in them, which have `rslave`.
pub(super) fn read(word: &str) -> Option<Propagation> {
    let below = word.starts_with('r');
    let kind = match word.strip_prefix('r').unwrap_or(word) {
        "" if !below => PropagationKind::Unsaid,
        "private" => PropagationKind::Private,
        "slave" => PropagationKind::Slave,
        "shared" => PropagationKind::Shared,
        _ => return None,
    };
    Some(Propagation {
        kind,
        below,
        strict: false,
    })
}

/// Whether Docker, asked for this outright, starts nothing where the host's mount does not allow it.
pub(super) fn can_fail(word: &str) -> bool {
    matches!(word, "slave" | "rslave" | "shared" | "rshared")
}

/// Why a mount can't be made from where Skep is.
pub(super) fn out_of_sight(mount: &Mount, host: &Host) -> Option<String> {
    let MountKind::Bind {
        source, propagation, ..
    } = &mount.kind
    else {
        return None;
    };
    if !host.sight.has(Path::new(source)) {
        return Some(format!(
            "Skep runs in a container and does not see {source} there (run it with -v {source}:{source})"
        ));
    }
    let usual = propagation.kind == PropagationKind::Unsaid || *propagation == Propagation::default();
    (!usual && host.sight != Sight::Everything).then(|| {
        format!("Skep runs in a container, where later mounts of the host's in {source} are not seen")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use skep_spawner::MountOptions;

    use super::super::volumes::{narrow, resolved};
    use super::*;

    #[test]
    fn a_bind_goes_on_with_the_hosts_mounts_as_docker_says_and_has_to_where_somebody_asked_for_it() {
        use PropagationKind::{Private, Shared, Slave, Unsaid};
        let mounted = |kind: &str, mode: &str, propagation: &str| {
            let mount = json!({"Type": kind, "Name": "v", "Driver": "local", "Source": "/a", "Destination": "/b",
                               "Mode": mode, "RW": true, "Propagation": propagation});
            match resolved(&mount, &BTreeSet::from(["/b".to_owned()]), &BTreeSet::new())?
                .map(|(mount, _)| mount.kind)
            {
                Some(MountKind::Bind { propagation, .. }) => {
                    Ok((propagation.kind, propagation.below, propagation.strict))
                }
                other => Err(format!("{other:?}")),
            }
        };
        for (mode, propagation, expected) in [
            ("", "rprivate", (Private, true, false)),
            ("ro,rprivate", "rprivate", (Private, true, false)),
            ("private", "private", (Private, false, false)),
            ("ro,rslave", "rslave", (Slave, true, true)),
            ("slave", "slave", (Slave, false, true)),
            // Docker's own folder is in it.
            ("ro", "rslave", (Slave, true, false)),
            ("shared", "shared", (Shared, false, true)),
            ("rshared", "rshared", (Shared, true, true)),
        ] {
            assert_eq!(mounted("bind", mode, propagation), Ok(expected), "{mode}");
        }
        assert_eq!(mounted("volume", "z", ""), Ok((Unsaid, false, false)));
        for (kind, mode, propagation) in [
            ("bind", "slave", "rslave"),
            ("bind", "", "r"),
            ("volume", "rslave", ""),
        ] {
            let reason = mounted(kind, mode, propagation).unwrap_err();
            assert!(reason.contains("does not mount"), "{reason}");
        }
        let asked = json!({"Propagation": "rslave"});
        let mut mount = Mount {
            kind: MountKind::Bind {
                source: "/a".to_owned(),
                recursive: true,
                create: false,
                propagation: read("rslave").expect("a word"),
            },
            target: "/b".to_owned(),
            options: MountOptions::default(),
        };
        narrow(&mut mount, Some(&asked), false).expect("known");
        assert!(matches!(mount.kind, MountKind::Bind { propagation, .. } if propagation.strict));
    }
}
