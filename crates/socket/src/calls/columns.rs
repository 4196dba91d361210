//! What `ps` is asked for, in `top`.

use skep_grant::Refusal;

/// `ps` runs on the host, with what is written here: columns by name, and nothing that renames one.
pub(crate) fn plain_columns(arguments: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ,-".contains(&byte);
    let word = |word: &str| {
        matches!(
            word,
            "aux" | "-aux" | "ax" | "-ef" | "-e" | "-f" | "ef" | "-eo" | "-o" | "-eLf" | "-l" | "axo"
        ) || word.split(',').all(|column| {
            matches!(
                column,
                "pid"
                    | "ppid"
                    | "user"
                    | "uid"
                    | "group"
                    | "gid"
                    | "comm"
                    | "cmd"
                    | "args"
                    | "command"
                    | "time"
                    | "etime"
                    | "stime"
                    | "tty"
                    | "stat"
                    | "state"
                    | "pcpu"
                    | "pmem"
                    | "rss"
                    | "vsz"
                    | "nice"
            )
        })
    };
    // The daemon finds the children's lines by a word of theirs: what stands before that must be one word.
    let mut before = arguments
        .split([' ', ','])
        .take_while(|column| *column != "pid")
        .filter(|word| !word.is_empty() && !word.starts_with('-'));
    let is_found = before.all(|column| {
        matches!(
            column,
            "aux" | "ax" | "axo" | "ef" | "ppid" | "uid" | "gid" | "user" | "group"
        )
    });
    if is_found && arguments.bytes().all(plain) && arguments.split_whitespace().all(word) {
        Ok(())
    } else {
        Err(Refusal::forbidden(format!(
            "ps_args={arguments:?}: not arguments that this socket hands on"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::plain_columns;

    #[test]
    fn ps_gets_columns_in_an_order_in_which_the_pid_is_found() {
        for plain in [
            "",
            "aux",
            "-ef",
            "-eo pid,args",
            "-eo user,pid,comm",
            "-o pid -o args",
        ] {
            plain_columns(plain).expect(plain);
        }
        for odd in [
            "-eo args,pid",
            "-o args -o pid",
            "-eo comm,pid",
            "-eo pid=PID",
            "--forest",
            "-eo sid,pid",
        ] {
            plain_columns(odd).expect_err(odd);
        }
    }
}
