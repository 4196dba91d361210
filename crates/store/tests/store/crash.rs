//! `kill -9` at random moments: what was told to be accepted, or to have ended, is there afterwards.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use skep_model::{EndingKind, InvocationId, Status};
use skep_store::{Config, Key, Store};

use crate::support::{ended, new_invocation, response};

/// Where the process that is killed keeps its store.
const DIRECTORY: &str = "SKEP_STORE_CRASH_DIRECTORY";

/// The process that is killed: accepts and ends invocations, and tells of each after it was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it runs until it is killed; the test below starts it"]
async fn accepts_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let store = Store::open(Config::in_directory(directory)).unwrap();
    let callers = (0..8).map(|caller: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in caller.. {
                let mut body = store.request_body();
                body.write(&body_of(number)).await.unwrap();
                let (new, key) = new_invocation("hello", body.finish().await.unwrap());
                let id = new.record.id;
                store.accept(new).await.unwrap();
                println!("accepted {id} {key} {number}");
                if number.is_multiple_of(3) {
                    for claimed in store.claim("hello", 1).await.unwrap() {
                        let id = claimed.record.id;
                        let mut body = store.response_body();
                        body.write(&body_of(number)).await.unwrap();
                        let stored = response(body.finish().await.unwrap());
                        store
                            .finish(ended(claimed.record, EndingKind::Completed), Some(stored))
                            .await
                            .unwrap();
                        println!("ended {id}");
                    }
                }
            }
        })
    });
    futures::future::join_all(callers).await;
}

/// Every tenth body is large enough to be a file.
fn body_of(number: usize) -> Vec<u8> {
    vec![number as u8; if number.is_multiple_of(10) { 70_000 } else { 100 }]
}

#[derive(Default)]
struct Told {
    accepted: Vec<(InvocationId, Key)>,
    ended: HashSet<InvocationId>,
}

/// Starts the process, and kills it after it told of so many.
fn run_and_kill(directory: &std::path::Path, after: usize, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::accepts_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let take = |line: String, told: &mut Told| {
        // A line that the kill cut short told nothing.
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["accepted", id, key, _] => {
                if let (Ok(id), Ok(key)) = (id.parse(), key.parse()) {
                    told.accepted.push((id, key));
                }
            }
            ["ended", id] => told.ended.extend(id.parse::<InvocationId>().ok()),
            _ => {}
        }
    };
    for line in lines.by_ref().take(after) {
        take(line.unwrap(), told);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        take(line, told);
    }
}

#[tokio::test]
async fn nothing_that_was_told_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for round in 0..6_usize {
        // Each key is random: as good a source of a random moment as any.
        let moment = Key::generate().to_string();
        let after = 20 + usize::from_str_radix(&moment[..2], 16).unwrap() * (round + 1);
        run_and_kill(directory.path(), after, &mut told);
        let store = Store::open(Config::in_directory(directory.path())).unwrap();
        for (id, key) in &told.accepted {
            let record = store.look(*id, key).await.unwrap();
            let record = record.unwrap_or_else(|| panic!("{id} was accepted, and is gone"));
            if told.ended.contains(id) {
                let (record, stored) = store.result(*id, key).await.unwrap().unwrap();
                assert_eq!(record.status, Status::Succeeded);
                let body = stored.unwrap().body;
                assert_eq!(body.read_all().await.unwrap().len() as u64, body.length());
            } else {
                assert!(
                    record.status == Status::Queued || record.status == Status::Succeeded,
                    "{record:?}"
                );
            }
        }
        store.close().await;
    }
    assert!(
        told.accepted.len() > 100 && !told.ended.is_empty(),
        "{} were accepted",
        told.accepted.len()
    );

    let store = Store::open(Config::in_directory(directory.path())).unwrap();
    for accepted in store.claim("hello", 1_000_000).await.unwrap() {
        let body = accepted.request.body.read_all().await.unwrap();
        assert_eq!(
            body,
            body_of(body[0].into())
                .into_iter()
                .cycle()
                .take(body.len())
                .collect::<Vec<u8>>()
        );
        assert!(body.len() == 100 || body.len() == 70_000);
    }
}
