//! Archives of children's files, of both kinds: whole or cut off, and with everything in them that Docker's have.

use skep_tests::{DEBIAN, Skep};

use super::kinds::{both, compare};
use super::{call, open, shell};

/// An archive with one file, `packed`, as `bzip2` packs it.
const BZIP2: &str = "QlpoOTFBWSZTWTDMDloAAHp7hMkQAEhAAH+AABBuCN4AAACACCAAdQlUPUMmjQxA2o9QSU0mmjRoADQU+3k96EEYAJGWNhHN0Cbk\
    kDKTD6M1QjRwUvCVqPIZuoiUckniCk+jwqVJilWdBWxGaCSD8XckU4UJAwzA5aA=";
/// The same by `xz`.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AGddADgYSJnNXBtXPNnDuJfR7lY9H9gdKW7IQHRJVR07uxHF0GPzhx4t5k/PR5Oz\
    Jx2+38GrZpJC3QEjEhrfC1q2iyUs/r68uD7EPKOeQEF/AVADxYFuyaxdA8tU0TDrdmYq88j8x5RgFwAAAEdCmOHRSuHaAAGDAYBQ\
    AACQA/TnscRn+wIAAAAABFla";

#[tokio::test]
async fn pipes_and_devices_are_in_archives_as_dockers() {
    let skep = both("archives-special", &[]).await;
    let make = "mkdir /s; mkfifo -m 640 /s/pipe; mknod /s/device c 1 3; mknod /s/block b 7 200; chown 5:6 /s/pipe; \
                ln -s pipe /s/link; echo last >/s/zz; perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => q(/s/sock), Listen => 1)'";
    let script = format!(
        "docker run --name one {DEBIAN} sh -c \"{make}\"
         docker cp one:/s - | tar --numeric-owner -tv | awk '{{print $1,$2,$3,$6,$7,$8}}' | sort
         docker export one | tar --numeric-owner -tv | awk '{{print $1,$2,$3,$6,$7,$8}}' | grep -E ' s/'  | sort
         docker export one | tar -t | grep -c ^var/lib/dpkg/status$
         docker rm one"
    );
    let said = compare(&skep, &script).await;
    for entry in ["c", "b", "p", "l"] {
        assert!(
            said.lines().any(|line| line.starts_with(entry)),
            "{entry}: {said}"
        );
    }
    assert!(said.ends_with("\n1\none\n"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn archives_are_put_into_children_as_into_dockers() {
    let skep = both("archives-put", &[]).await;
    let script = format!(
        "docker create --name box {DEBIAN} sleep 300 >/dev/null
         cd /tmp; mkdir -p way/below; echo one >way/below/file; touch -d @1000000000 way/below way/below/file
         touch -d @1100000000 way; mkfifo -m 640 way/pipe; mknod way/device c 1 3; chown 5:6 way/pipe; ln -s pipe way/link
         touch -d @1200000000 way/pipe way/device; touch -d @1100000000 way
         docker cp way box:/srv; tar -cz way | docker cp - box:/opt
         echo {BZIP2} | base64 -d | docker cp - box:/mnt; docker cp box:/mnt/packed - | tar -xO
         echo {XZ} | base64 -d | docker cp - box:/media; docker cp box:/media/packed - | tar -xO
         echo f >f; tar -cPf out.tar --transform 's,^f,../f,' f; docker cp - box:/srv <out.tar >/dev/null 2>&1; echo out $?
         tar -cPf in.tar --transform 's,^f,a/../g,' f; docker cp - box:/srv <in.tar; echo in $?
         mkdir h; echo h >h/h; tar -cf folder.tar h; rm -r h; echo h >h; tar -cf file.tar h
         docker cp - box:/srv <file.tar; docker cp - box:/srv <folder.tar >/dev/null 2>&1; echo kinds $?
         head -c 3000 /dev/zero | tr '\\0' x | docker cp - box:/srv >/dev/null 2>&1; echo none $?
         docker start box >/dev/null
         docker exec box sh -c 'cd /; find srv opt mnt media -mindepth 1 | sort | xargs stat -c \"%n %F %a %u:%g %t:%T\"'
         docker exec box sh -c 'cd /; stat -c \"%n %Y\" srv/way srv/way/below srv/way/pipe srv/way/device opt/way opt/way/below'
         docker rm -f box"
    );
    let said = compare(&skep, &script).await;
    for line in [
        "packed\npacked\nout 1\nin 0\nkinds 1\nnone 1\n",
        "\nsrv/way/pipe fifo 640 5:6 0:0\n",
        "\nsrv/way/device character special file 644 0:0 1:3\n",
        "\nopt/way/below 1000000000\n",
        "\nopt/way 1100000000\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    skep.finish().await;
}

#[tokio::test]
async fn what_is_sent_to_no_child_is_answered_all_the_same() {
    let skep = both("archives-none", &[]).await;
    let script = "head -c 3m /dev/zero >/tmp/much
         for try in 1 2 3 4 5 6 7 8; do docker cp /tmp/much none:/tmp 2>&1; done | uniq -c | sed 's/^ *//'";
    let said = compare(&skep, script).await;
    assert!(
        said.starts_with("8 Error response from daemon: No such container: none\n"),
        "{said}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn an_archive_is_of_a_path() {
    let skep = Skep::start("archives-path").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "sh").await;
    let body = format!(r#"{{"Image":"{DEBIAN}","Cmd":["true"]}}"#);
    let (status, said) = call(&socket, "POST", "/containers/create?name=one", &body).await;
    assert_eq!(status, 201, "{said}");
    for method in ["GET", "HEAD", "PUT"] {
        for query in ["", "?path="] {
            let (status, said) = call(&socket, method, &format!("/containers/one/archive{query}"), "").await;
            assert_eq!(status, 400, "{method} {query}: {said}");
        }
    }
    running.abort();
}
