//! Which of a container's changed paths are to be carried over.

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

/// How it differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The image has it too.
    Modified,
    /// The image doesn't have it.
    Added,
}

/// A path to carry over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) path: String,
    /// It may turn out to be a folder of the image's whose date alone has changed: nothing to carry over.
    pub(crate) perhaps_folder: bool,
}

/// What the engine makes by itself when it creates a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// The working directory.
    pub(crate) directory: String,
    /// Where something is mounted.
    pub(crate) mounts: Vec<String>,
}

impl Expected {
    /// Whether the engine may have made this folder: it is one of its own, or on the way to one.
    pub(crate) fn explains(&self, path: &str) -> bool {
        self.leads_to_mount(path) || is_at_or_below(&self.directory, path)
    }

    fn leads_to_mount(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| is_at_or_below(mount, path))
    }

    fn is_mounted_over(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| is_at_or_below(path, mount))
    }
}

/// The paths to carry over, each with everything below it. What is inside a mount is not the container's, so nothing
/// above a mount is taken whole.
pub(crate) fn roots(mut changes: Vec<Change>, expected: &Expected) -> Vec<Root> {
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    let mut roots: Vec<Root> = Vec::new();
    for change in &changes {
        let path = &change.path;
        let covered = roots.iter().any(|root| is_at_or_below(path, &root.path));
        if covered || expected.leads_to_mount(path) || expected.is_mounted_over(path) {
            continue;
        }
        let mut below = changes
            .iter()
            .filter(|other| other.path != *path && is_at_or_below(&other.path, path));
        let taken = match change.kind {
            Kind::Added => !expected.explains(path) || below.any(|other| !expected.explains(&other.path)),
            Kind::Modified => below.next().is_none(),
        };
        if taken {
            roots.push(Root {
                path: path.clone(),
                perhaps_folder: change.kind == Kind::Modified,
            });
        }
    }
    roots
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(changes: &[(char, &str)], directory: &str, mounts: &[&str]) -> Vec<String> {
        let changes = changes.iter().map(|(kind, path)| Change {
            path: (*path).to_owned(),
            kind: if *kind == 'A' { Kind::Added } else { Kind::Modified },
        });
        let expected = Expected {
            directory: directory.to_owned(),
            mounts: mounts.iter().map(|mount| (*mount).to_owned()).collect(),
        };
        let roots = roots(changes.collect(), &expected);
        roots.into_iter().map(|root| root.path).collect()
    }

    #[test]
    fn what_the_engine_makes_at_creation_is_nobodys() {
        let changes = [
            ('A', "/srv"),
            ('A', "/srv/app"),
            ('C', "/var"),
            ('A', "/var/data"),
        ];
        assert!(found(&changes, "/srv/app", &["/var/data"]).is_empty());
        assert!(found(&[('A', "/app")], "/app", &[]).is_empty());
    }

    #[test]
    fn a_file_is_carried_over_and_the_folders_above_it_are_not() {
        let changes = [('C', "/etc"), ('A', "/etc/app.conf"), ('C', "/etc/hosts.allow")];
        assert_eq!(found(&changes, "", &[]), ["/etc/app.conf", "/etc/hosts.allow"]);
    }

    #[test]
    fn a_new_folder_is_carried_over_whole() {
        let changes = [
            ('A', "/app"),
            ('A', "/app/one"),
            ('A', "/app/sub"),
            ('A', "/app/sub/two"),
        ];
        assert_eq!(found(&changes, "/app", &[]), ["/app"]);
        assert_eq!(found(&[('A', "/empty")], "/app", &[]), ["/empty"]);
        assert_eq!(
            found(&[('A', "/app"), ('A', "/app2")], "/", &[]),
            ["/app", "/app2"]
        );
    }

    #[test]
    fn nothing_is_taken_from_a_mount_nor_the_folder_that_holds_one() {
        let changes = [
            ('A', "/app"),
            ('A', "/app/code"),
            ('A', "/app/data"),
            ('A', "/app/data/shared"),
        ];
        assert_eq!(found(&changes, "/app", &["/app/data"]), ["/app/code"]);
    }
}
