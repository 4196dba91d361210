//! Standard input, output and error of real containers.

use skep_model::LogStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{self, Bench};

#[tokio::test]
async fn a_command_runs_and_its_output_and_exit_come_back() {
    let bench = Bench::new("echo").await;
    let launched = bench.exec(&["echo", "hello"]).await;
    let (stdout, stderr, exit) = common::finish(launched).await;
    assert_eq!(stdout, b"hello\n");
    assert_eq!(stderr, Vec::<String>::new());
    assert_eq!((exit.code, exit.out_of_memory), (0, false));
    assert_eq!(bench.docker.instances(), 0);
}

#[tokio::test]
async fn megabytes_go_through_in_both_directions_at_once() {
    let bench = Bench::new("cat").await;
    let mut launched = bench.exec(&["cat"]).await;
    let pipes = launched.pipes.take().expect("pipes");
    let (mut stdin, mut stdout) = (pipes.stdin, pipes.stdout);
    let sent: Vec<u8> = (0..8_u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap();
    assert!(
        received == expected,
        "{} of {} bytes, or others",
        received.len(),
        expected.len()
    );
    assert_eq!(launched.instance.exited().await.code, 0);
    launched.instance.remove().await;
}

#[tokio::test]
async fn dropping_standard_input_is_its_end() {
    let bench = Bench::new("eof").await;
    let mut launched = bench.exec(&["wc"]).await;
    let mut pipes = launched.pipes.take().expect("pipes");
    pipes.stdin.write_all(b"12345").await.unwrap();
    drop(pipes.stdin);
    let mut stdout = String::new();
    pipes.stdout.read_to_string(&mut stdout).await.unwrap();
    assert_eq!(stdout, "5\n");
    launched.instance.remove().await;
}

#[tokio::test]
async fn output_and_error_are_kept_apart_and_in_order() {
    let bench = Bench::new("both").await;
    let (stdout, stderr, _) = common::finish(bench.exec(&["both", "500"]).await).await;
    let expected = |word: &str| (0..500).map(|line| format!("{word} {line}")).collect::<Vec<_>>();
    let stdout: Vec<String> = String::from_utf8(stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(stdout, expected("out"));
    assert_eq!(stderr, expected("err"));
}

#[tokio::test]
async fn a_flood_on_standard_error_does_not_wait_for_a_reader_of_standard_output() {
    let bench = Bench::new("flood-err").await;
    let mut launched = bench.exec(&["flood-stderr", "4000000"]).await;
    let unread = launched.pipes.take();
    let mut lines = 0;
    while let Some(line) = launched.output.recv().await {
        assert_eq!(line.stream, LogStream::Stderr);
        lines += 1;
    }
    assert_eq!(lines, 50_000);
    drop(unread);
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_process_whose_output_nobody_reads_waits_and_nothing_is_lost() {
    let bench = Bench::new("unread").await;
    let mut launched = bench.exec(&["flood-stdout", "20000000"]).await;
    let mut pipes = launched.pipes.take().expect("pipes");
    let early =
        tokio::time::timeout(std::time::Duration::from_millis(1500), launched.instance.exited()).await;
    assert!(early.is_err(), "the process wrote 20 MB while nobody read them");
    let mut received = 0;
    let mut buffer = vec![0; 65536];
    loop {
        match pipes.stdout.read(&mut buffer).await.unwrap() {
            0 => break,
            length => received += length,
        }
    }
    assert_eq!(received, 20_000_000);
    assert_eq!(launched.instance.exited().await.code, 0);
    launched.instance.remove().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_stop_the_process() {
    let bench = Bench::new("reader-gone").await;
    let mut launched = bench.exec(&["flood-stdout", "8000000"]).await;
    drop(launched.pipes.take());
    assert_eq!(launched.instance.exited().await.code, 0);
    launched.instance.remove().await;
}

#[tokio::test]
async fn input_that_nobody_takes_is_an_error_for_the_writer_and_nothing_else() {
    let bench = Bench::new("epipe").await;
    let mut launched = bench.exec(&["echo", "done"]).await;
    let mut pipes = launched.pipes.take().expect("pipes");
    let writing = tokio::spawn(async move { pipes.stdin.write_all(&vec![0; 16 << 20]).await });
    let mut stdout = String::new();
    pipes.stdout.read_to_string(&mut stdout).await.unwrap();
    assert_eq!(stdout, "done\n");
    assert_eq!(launched.instance.exited().await.code, 0);
    assert!(writing.await.unwrap().is_err());
    launched.instance.remove().await;
}

#[tokio::test]
async fn the_log_of_a_server_has_both_streams_and_a_terminals_has_one() {
    let bench = Bench::new("log").await;
    let launched = bench.http(&[], &["both", "3"]).await;
    let (_, lines, _) = common::finish(launched).await;
    assert_eq!(lines.len(), 6);
    let launched = bench.http(&["-t"], &["both", "2"]).await;
    let (_, lines, _) = common::finish(launched).await;
    assert_eq!(lines, ["out 0", "err 0", "out 1", "err 1"]);
}
