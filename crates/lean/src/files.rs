//! The files that Docker writes for every container: name resolution and the host name.

use crate::sandbox::SandboxNetwork;

/// What Docker puts at the top of every `/etc/hosts`.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                     ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The contents of the files, in the order of [`crate::plan::mounts::FILES`]. `names` are what the instance's own
/// address is called.
pub(crate) fn contents(
    network: Option<&SandboxNetwork>,
    resolv_conf: &str,
    hostname: &str,
    names: &str,
    extra_hosts: &[String],
) -> Vec<String> {
    let (resolv_conf, hosts) = match network {
        Some(network) => (
            network.files.resolv_conf.clone(),
            renamed(&network.files.hosts, &network.files.hostname, names),
        ),
        None => {
            let extra = extra_hosts.iter().filter_map(|entry| entry.split_once(':'));
            let extra: String = extra
                .map(|(name, address)| format!("{address}\t{name}\n"))
                .collect();
            (resolv_conf.to_owned(), format!("{HOSTS}{extra}"))
        }
    };
    vec![resolv_conf, format!("{hostname}\n"), hosts]
}

/// What `/etc/hosts` calls an instance: with a point in it the whole name, and its first word.
pub(crate) fn names(hostname: &str, domain: &str) -> String {
    let whole = match domain {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain}"),
    };
    match whole.split_once('.') {
        Some((first, _)) => format!("{whole} {first}"),
        None => whole,
    }
}

/// The sandbox's hosts with the instance's name in the place of the sandbox's.
pub(crate) fn renamed(hosts: &str, from: &str, to: &str) -> String {
    let line = |line: &str| {
        let named = line
            .split_once('\t')
            .filter(|(_, names)| names.split(' ').any(|name| name == from));
        match named {
            Some((address, _)) => format!("{address}\t{to}\n"),
            None => format!("{line}\n"),
        }
    };
    hosts.lines().map(line).collect()
}

/// An instance's own hosts after those that Docker wrote for it have changed: lines that went go, lines that came stand
/// at the end, and every other stays.
pub(crate) fn followed(own: &str, before: &str, after: &str) -> String {
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    let stays = own.lines().filter(|line| has(after, line) || !has(before, line));
    let came = after.lines().filter(|line| !has(before, line));
    stays.chain(came).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_network_leaves_what_the_instance_wrote_itself() {
        let (before, after) = (
            "127.0.0.1\tlocalhost\n10.0.0.2\tmine\n",
            "127.0.0.1\tlocalhost\n10.1.0.2\tmine\n",
        );
        let own = "127.0.0.1\tlocalhost\n10.0.0.2\tmine\n10.9.9.9\tdb";
        let expected = "127.0.0.1\tlocalhost\n10.9.9.9\tdb\n10.1.0.2\tmine\n";
        assert_eq!(followed(own, before, after), expected);
    }

    #[test]
    fn the_sandboxes_own_line_becomes_the_instances() {
        let hosts = "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.2\tabcdef012345\n";
        let expected = "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.2\tmine\n";
        assert_eq!(renamed(hosts, "abcdef012345", "mine"), expected);
    }

    #[test]
    fn an_instance_is_called_by_its_whole_name_and_the_first_word_of_it() {
        assert_eq!(names("mine", ""), "mine");
        assert_eq!(names("mine", "example.org"), "mine.example.org mine");
        assert_eq!(names("my.host", ""), "my.host my");
        assert_eq!(names("my.host", "d"), "my.host.d my");
    }

    #[test]
    fn without_a_network_extra_hosts_follow_the_usual_ones() {
        let files = contents(
            None,
            "nameserver 10.0.0.1\n",
            "mine",
            "mine",
            &["db:10.1.2.3".to_owned()],
        );
        assert_eq!(files[1], "mine\n");
        assert!(files[2].ends_with("ff02::2\tip6-allrouters\n10.1.2.3\tdb\n"));
    }
}
