//! What functions are asked for, through every gateway, with many callers at several of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use skep_swarm_tests::{Cluster, NODES, SHELL, ask, at_once, built, eventually, get};
use skep_testing::probe_image;

#[test]
fn http_cgi_and_exec_are_answered_through_every_gateway() {
    let cluster = Cluster::installed();
    let probe = cluster.push(&probe_image());
    let http = cluster.function("http", &["max=8"], &probe, &["http"]);
    let script = "printf 'Status: 201\\r\\nContent-Type: text/plain\\r\\n\\r\\n'; \
                  echo $REQUEST_METHOD $QUERY_STRING; cat";
    let cgi = cluster.function("cgi", &["handler=cgi", "max=8"], SHELL, &["sh", "-c", script]);
    let exec = cluster.function("exec", &["handler=exec", "max=8"], SHELL, &["cat"]);
    for node in NODES {
        let address = cluster.address(node);
        let first = eventually("an answer from nothing", || {
            get(&address, &format!("{}/env", http.path())).ok()
        });
        assert_eq!(first.status, 200, "{first:?}");
        assert!(
            first.body.contains(&format!("SKEP_FUNCTION={}", http.name)),
            "{first:?}"
        );
        assert!(
            first.head.contains("server-timing:") && first.head.contains("skep-invocation:"),
            "{first:?}"
        );

        let echoed = ask(
            &address,
            &format!("POST {}/echo", http.path()),
            &[],
            "over the Swarm",
        )
        .expect("an answer");
        assert_eq!((echoed.status, echoed.body.as_str()), (200, "over the Swarm"));
        let streamed = get(&address, &format!("{}/chunks/3", http.path())).expect("an answer");
        assert_eq!(streamed.body.lines().count(), 3, "{streamed:?}");

        let page = ask(&address, &format!("POST {}?a=b", cgi.path()), &[], "a body").expect("an answer");
        assert_eq!((page.status, page.body.as_str()), (201, "POST a=b\na body"));

        let copied = ask(&address, &format!("POST {}", exec.path()), &[], "some work").expect("an answer");
        assert_eq!((copied.status, copied.body.as_str()), (200, "some work"));
    }
}

/// The probe as an image that says by `EXPOSE` alone where it listens.
fn exposing() -> String {
    let image = format!("{}-exposing", probe_image());
    let file = format!("FROM {}\nEXPOSE 8080\nCMD [\"http\"]\n", probe_image());
    built(&image, &file, &[])
}

#[test]
fn a_server_whose_image_says_its_port_has_as_many_sandboxes_as_instances() {
    let cluster = Cluster::installed();
    let image = cluster.push(&exposing());
    // No manager knows the image: sixteen would have one sandbox.
    let function = cluster.function("exposing", &["max=6"], &image, &[]);
    let (address, path) = (cluster.address(1), format!("{}/slow/15000", function.path()));
    let callers = thread::spawn(move || at_once(6, &address, &path));
    function.sandboxes(1, 4);
    for answer in callers.join().expect("the callers") {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn many_callers_at_several_gateways_are_all_served_and_no_more_run_than_may() {
    let cluster = Cluster::installed();
    let labels = ["handler=exec", "max=7", "slots=3", "sandboxes=3", "timeout=60s"];
    // Long enough to meet one another on a busy machine.
    let command = "a=$(date +%s%N); sleep 1; echo $NODE $a $(date +%s%N)";
    let function = cluster.function("many", &labels, SHELL, &["sh", "-c", command]);
    function.sandboxes(1, 3);
    let path: Arc<str> = function.path().into();
    let callers: Vec<_> = (0..24)
        .map(|caller| {
            let (address, path) = (cluster.address(NODES[caller % NODES.len()]), path.clone());
            thread::spawn(move || (0..4).map(|_| get(&address, &path)).collect::<Vec<_>>())
        })
        .collect();
    let answers = callers
        .into_iter()
        .flat_map(|caller| caller.join().expect("a caller"));
    let mut moments: BTreeMap<u128, i32> = BTreeMap::new();
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        // All nodes have this machine's clock.
        let mut words = answer.body.split(' ');
        *nodes.entry(words.next().expect("a node").to_owned()).or_default() += 1;
        let mut time = || words.next().and_then(|word| word.parse().ok()).expect("a time");
        let (began, ended) = (time(), time());
        *moments.entry(began).or_default() += 1;
        *moments.entry(ended).or_default() -= 1;
    }
    let mut running = 0;
    let most = moments.values().map(|change| {
        running += change;
        running
    });
    let most = most.max().unwrap_or_default();
    assert!((4..=7).contains(&most), "{most} ran at once");
    assert_eq!(nodes.len(), NODES.len(), "{nodes:?}");
}
