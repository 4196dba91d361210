//! Who the instance runs as: names looked up in the image's own files, as Docker does.

use std::fs;
use std::num::IntErrorKind;

use rustix::io::Errno;

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
    resolve_in(identity, &passwd, &group).map_err(|(error, step)| Failure {
        step,
        error: error.raw_os_error(),
        template: true,
    })
}

/// The highest id that Docker lets somebody ask for.
const LAST: i64 = i32::MAX as i64;

type Refused = (Errno, String);

struct User<'a> {
    name: &'a str,
    user: i64,
    group: i64,
    home: &'a str,
}

/// Fields that a line lacks are empty, and a number that is none is zero: as Docker reads these files.
fn lines<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| {
        let mut fields = line.split(':');
        std::array::from_fn(|_| fields.next().unwrap_or_default())
    })
}

fn number(field: &str) -> i64 {
    match field.parse() {
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => i64::MAX,
        Err(_) => 0,
    }
}

fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    lines(text).map(|[name, _, user, group, _, home]| User {
        name,
        user: number(user),
        group: number(group),
        home,
    })
}

/// Name, number and members of each group.
fn groups(text: &str) -> impl Iterator<Item = (&str, i64, &str)> {
    lines(text).map(|[name, _, group, members]| (name, number(group), members))
}

/// An id as the kernel takes it: one that Docker would find in a file may be higher, but never the one that means "no
/// change".
fn id(number: i64) -> Result<u32, Refused> {
    let id = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| out_of_range(number))
}

/// An id that somebody asks for and no file knows.
fn named(text: &str) -> Option<Result<i64, Refused>> {
    let number: i64 = text.parse().ok()?;
    let is_in_range = (0..=LAST).contains(&number);
    Some(is_in_range.then_some(number).ok_or_else(|| out_of_range(number)))
}

fn out_of_range(number: i64) -> Refused {
    let text = format!("take the id {number}: uids and gids must be in range 0-{LAST}");
    (Errno::INVAL, text)
}

fn resolve_in(identity: &Identity, passwd: &str, group_file: &str) -> Result<Resolved, Refused> {
    let mut parts = identity.user.split(':');
    let (user_part, group_part) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let wanted = if user_part.is_empty() { "0" } else { user_part };
    // What can be a number is one, whoever has it for a name.
    let is_wanted = |wanted: &str, name: &str, id: i64| {
        let number = wanted.parse::<i64>().ok();
        number.map_or(name == wanted, |number| number == id)
    };
    let missing = |what: &str, wanted: &str, file: &str| {
        let text = format!("find the {what} {wanted} in the image's {file}");
        (Errno::NOENT, text)
    };
    let known = users(passwd).find(|user| is_wanted(wanted, user.name, user.user));
    let user = known.as_ref().map(|user| Ok(user.user)).or_else(|| named(wanted));
    let user = user.ok_or_else(|| missing("user", wanted, "/etc/passwd"))??;
    let find_group = |wanted: &str, is_wanted: &dyn Fn(&str, i64) -> bool| {
        let known = groups(group_file).find(|(name, id, _)| is_wanted(name, *id));
        let id = known.map(|(_, id, _)| Ok(id)).or_else(|| named(wanted));
        id.ok_or_else(|| missing("group", wanted, "/etc/group"))?
    };
    let group = match (group_part, &known) {
        ("", Some(user)) => user.group,
        ("", None) => 0,
        (wanted, _) => find_group(wanted, &|name, id| is_wanted(wanted, name, id))?,
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
        more.push(find_group(wanted, &|name, id| {
            name == wanted || id.to_string() == *wanted
        })?);
    }
    // Of several with one id the first says where its home is, as with runc, which knows the id alone.
    let home = users(passwd).find(|other| other.user == user);
    Ok(Resolved {
        user: id(user)?,
        group: id(group)?,
        groups: more.into_iter().map(id).collect::<Result<_, _>>()?,
        home: home.map_or("/", |user| user.home).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:100:Ada:/home/ada:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:ada,bob\nbroken line\n";

    fn resolved(user: &str, groups: &[&str]) -> Result<Resolved, String> {
        in_files(user, groups, PASSWD, GROUP)
    }

    fn in_files(user: &str, groups: &[&str], passwd: &str, group_file: &str) -> Result<Resolved, String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        resolve_in(
            &Identity {
                user: user.to_owned(),
                groups,
            },
            passwd,
            group_file,
        )
        .map_err(|(_, text)| text)
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

    #[test]
    fn an_id_past_the_last_is_refused_wherever_it_is_said() {
        let passwd = "last:x:2147483647:0::/:\nover:x:4294967295:0::/:\nfar:x:99999999999999999999:0::/:\n\
                      group:x:5:4294967295::/:\nless:x:-1:0::/:\n";
        let group = "over:x:4294967295:\n";
        let refused = |user: &str, groups: &[&str], group_file: &str| {
            let answer = in_files(user, groups, passwd, group_file);
            answer.is_err_and(|error| error.contains("must be in range 0-2147483647"))
        };
        for user in [
            "2147483648",
            "4294967295",
            "4294967295:0",
            "4294967296",
            "-1",
            "over",
            "far",
            "group",
            "less",
            "1:4294967295",
            "1:2147483648",
            "1:-1",
            "1:over",
        ] {
            assert!(refused(user, &[], group), "{user}");
        }
        for more in ["4294967295", "2147483648", "-1", "over"] {
            assert!(refused("1", &[more], group), "{more}");
        }
        assert!(!refused("last", &["2147483647"], group));
        // Who has a line of his own is not asked for by his number, as with Docker.
        let group = "high:x:4294967294:\n";
        assert_eq!(
            in_files("1:high", &[], "", group).expect("it has a line").group,
            4_294_967_294
        );
    }

    #[test]
    fn a_short_line_counts_with_what_it_has() {
        let found = |user| {
            in_files(
                user,
                &[],
                "short:x:7\nword:x:none\n\n",
                "few\nshort:x:9\nmore:x:8:short\n",
            )
        };
        let short = found("short").expect("it has a number");
        assert_eq!(
            (short.user, short.group, &short.groups[..], &*short.home),
            (7, 0, &[0, 8][..], "")
        );
        assert_eq!(found("word").expect("its number is zero").user, 0);
        assert_eq!(found("7").map(|user| user.groups), Ok(vec![0, 8]));
        assert_eq!(found("1:short:9").expect("the third part says nothing").group, 9);
    }

    #[test]
    fn a_number_is_an_id_though_it_is_somebodys_name() {
        let passwd = "7:x:9:9::/nine:\nada:x:0:0::/ada:\nroot:x:0:0::/root:\n";
        let seven = in_files("7:5", &[], passwd, "5:x:6:\n").expect("a number needs no file");
        assert_eq!((seven.user, seven.group, &*seven.home), (7, 5, "/"));
        // Root's home is that of the first with its id.
        assert_eq!(in_files("root", &[], passwd, "").expect("known").home, "/ada");
    }
}
