//! Who the instance runs as: names looked up in the image's own files, as Docker does.

use std::fs;

use crate::spec::Identity;
use crate::wire::Failure;

/// A user, its groups and its home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Looks an identity up in `/etc/passwd` and `/etc/group` of the root that this process is in.
pub(super) fn resolve(identity: &Identity) -> Result<Resolved, Failure> {
    // An image without these files is an ordinary one: numbers then stand for themselves.
    let passwd = fs::read("/etc/passwd")
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let group = fs::read("/etc/group")
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    resolve_in(identity, &passwd, &group).map_err(|what| Failure {
        step: what,
        error: rustix::io::Errno::NOENT.raw_os_error(),
        template: true,
    })
}

struct User<'a> {
    name: &'a str,
    user: u32,
    group: u32,
    home: &'a str,
}

fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, user, group, _, home, ..] = fields.as_slice() else {
            return None;
        };
        Some(User {
            name,
            user: user.parse().ok()?,
            group: group.parse().ok()?,
            home,
        })
    })
}

/// Name, number and members of each group.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, members, ..] = fields.as_slice() else {
            return None;
        };
        Some((*name, number.parse().ok()?, *members))
    })
}

fn resolve_in(identity: &Identity, passwd: &str, group_file: &str) -> Result<Resolved, String> {
    let (user_part, group_part) = match identity.user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (identity.user.as_str(), ""),
    };
    let wanted = if user_part.is_empty() { "0" } else { user_part };
    let number = wanted.parse::<u32>().ok();
    let known = users(passwd).find(|user| user.name == wanted || Some(user.user) == number);
    let user = match (&known, number) {
        (Some(user), _) => user.user,
        (None, Some(number)) => number,
        (None, None) => return Err(format!("find the user {wanted} in the image's /etc/passwd")),
    };
    let find_group = |wanted: &str| {
        let number = wanted.parse::<u32>().ok();
        let known = groups(group_file).find(|(name, id, _)| *name == wanted || Some(*id) == number);
        known
            .map(|(_, id, _)| id)
            .or(number)
            .ok_or_else(|| format!("find the group {wanted} in the image's /etc/group"))
    };
    let group = match (group_part, &known) {
        ("", Some(user)) => user.group,
        ("", None) => 0,
        (named, _) => find_group(named)?,
    };
    // As Docker: the primary group is among the others too, so that dropping it loses nothing.
    let mut more = vec![group];
    // A group named outright stands alone; else the user's memberships count.
    if let (true, Some(user)) = (group_part.is_empty(), &known) {
        let member = |members: &str| members.split(',').any(|member| member == user.name);
        more.extend(
            groups(group_file)
                .filter(|(_, _, members)| member(members))
                .map(|(_, id, _)| id),
        );
    }
    for wanted in &identity.groups {
        more.push(find_group(wanted)?);
    }
    let home = known
        .map(|user| user.home)
        .filter(|home| !home.is_empty())
        .unwrap_or("/");
    Ok(Resolved {
        user,
        group,
        groups: more,
        home: home.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:100:Ada:/home/ada:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:ada,bob\nbroken line\n";

    fn resolved(user: &str, groups: &[&str]) -> Result<Resolved, String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        resolve_in(
            &Identity {
                user: user.to_owned(),
                groups,
            },
            PASSWD,
            GROUP,
        )
    }

    #[test]
    fn nobody_named_is_root() {
        let root = resolved("", &[]).expect("root is always known");
        assert_eq!(
            (root.user, root.group, root.groups, root.home.as_str()),
            (0, 0, vec![0], "/root")
        );
    }

    #[test]
    fn a_name_brings_its_groups_and_its_home() {
        let ada = resolved("ada", &[]).expect("she is in the file");
        assert_eq!(
            (ada.user, ada.group, ada.groups, ada.home.as_str()),
            (1000, 100, vec![100, 29], "/home/ada")
        );
        assert_eq!(resolved("1000", &[]), resolved("ada", &[]));
    }

    #[test]
    fn a_group_named_outright_stands_alone() {
        let ada = resolved("ada:audio", &[]).expect("both are in the files");
        assert_eq!((ada.group, ada.groups), (29, vec![29]));
    }

    #[test]
    fn an_unknown_number_stands_for_itself_and_an_unknown_name_is_an_error() {
        let someone = resolved("4242", &["users", "7"]).expect("a number needs no file");
        assert_eq!(
            (someone.user, someone.group, someone.groups),
            (4242, 0, vec![0, 100, 7])
        );
        assert_eq!(someone.home, "/");
        assert!(resolved("eve", &[]).is_err_and(|error| error.contains("eve")));
        assert!(resolved("ada:nogroup", &[]).is_err_and(|error| error.contains("nogroup")));
    }
}
