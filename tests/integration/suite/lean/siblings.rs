//! Instances of one function that run at the same time in one sandbox: what one can't do to another.

use futures::future::join_all;
use http::{Request, StatusCode};
use skep_tests::{DEBIAN, Skep, empty, eventually};

/// A web server that turns into a thief at `/steal/HOW`, for as long as its caller waits: of the ports after its own it
/// takes what it can get, `first` before the others do, `beside` those who listen already (SO_REUSEPORT). Everybody
/// waits a little before they listen, and says at `/` whose answer it is.
const THIEF: &str = r#"
use IO::Socket::INET; $SIG{CHLD} = 'IGNORE'; $SIG{PIPE} = 'IGNORE';
my $own = $ENV{PORT};
sub listens { my $hex = sprintf ':%04X', shift; open my $table, '<', '/proc/net/tcp'; grep { /$hex 00000000:0000 0A/ } <$table> }
sub serve {
  my ($port, $text, $beside) = @_;
  my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 64, ReusePort => $beside) or return;
  while (my $caller = $listener->accept) {
    my $head = ''; while (my $line = <$caller>) { $head .= $line; last if $line eq "\r\n" }
    if ($head =~ m{^GET /steal/(\w+)}) {
      my $how = $1;
      for my $port ($own + 1 .. $own + 16) {
        next if fork;
        close $caller; select undef, undef, undef, 0.3 if $how eq 'first';
        while (1) { serve($port, 'stolen', $how eq 'beside') if $how eq 'first' || listens($port); select undef, undef, undef, 0.005 }
      }
      $| = 1; print $caller "HTTP/1.1 200 OK\r\n\r\n";
      while (1) { syswrite $caller, '.' or last; sleep 1 }
      next;
    }
    print $caller "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ", length $text, "\r\n\r\n$text";
  }
}
select undef, undef, undef, 0.6; serve($own, 'own', 1); die "port $own: $!\n";
"#;

#[tokio::test]
async fn who_takes_the_port_of_another_never_gets_its_requests() {
    let skep = Skep::start("siblings-ports").await;
    let labels = ["engine=lean", "recycle=idle", "max=4", "timeout=5s"];
    skep.deploy("h", &labels, &[], &[DEBIAN, "perl", "-e", THIEF])
        .await;
    // The first sandbox may take longer than an answer may.
    eventually("the function to answer", async || {
        (skep.public.get("/h").await.text() == "own").then_some(())
    })
    .await;
    for how in ["first", "beside"] {
        // It has an instance to itself for as long as it waits.
        let public = skep.public;
        let stealing = tokio::spawn(async move {
            let request = Request::get(format!("/h/steal/{how}")).body(empty());
            drop(public.try_send(request.expect("a request")).await);
        });
        eventually("the thief to run", async || {
            let list = skep.control.get("/v1/instances").await;
            list.text().contains("\"busy\"").then_some(())
        })
        .await;
        eventually("the thief to be met", async || {
            let answer = skep.public.get("/h").await;
            assert_ne!(answer.text(), "stolen", "{how}: a sibling answered");
            let met = [
                "not-ready",
                "listens-elsewhere",
                "instance-exited",
                "bad-response",
            ];
            (answer.text() != "own" && met.contains(&answer.problem().as_str())).then_some(())
        })
        .await;
        stealing.abort();
        assert!(stealing.await.is_err(), "it steals until it is told to go");
        eventually("the thief to go, and an honest answer", async || {
            (skep.public.get("/h").await.text() == "own").then_some(())
        })
        .await;
    }
    skep.finish().await;
}

/// Tries what would let one instance overhear another, or find what it left.
const LISTENS: &str = r#"
use Socket;
print "all that passes\n" if socket my $packets, 17, SOCK_RAW, 0x0300;
print "raw sockets\n" if socket my $raw, PF_INET, SOCK_RAW, 6;
$! = 0; my $kind = "user"; my $name = "left"; my $text = "secret";
my ($add, $keyctl, $session) = (248, 250, -3);
my $found = syscall $keyctl, 10, $session, $kind, $name, 0;
print "a key of another\n" if $found > 0;
print "no keyring: $!\n" if syscall($add, $kind, $name, $text, length $text, $session) < 0;
opendir my $processes, '/proc'; my @others = grep { /^\d+$/ && $_ != $$ } readdir $processes;
print "processes of others: @others\n" if @others;
print "shared memory of others\n" if grep { !/^\./ } do { opendir my $memory, '/dev/shm'; readdir $memory };
open my $mark, '>', '/dev/shm/mark';
my $queue = syscall 68, 77, 01666; print "no queue: $!\n" if $queue < 0;
my $size = pack 'x256'; syscall 71, $queue, 2, $size;
print "messages of others\n" if unpack 'x80 Q', $size;
my $message = pack 'q a4', 1, 'left'; syscall 69, $queue, $message, 4, 0;
kill 9, -1; print "still there\n"; sleep 1;
"#;

#[tokio::test]
async fn nothing_of_a_sibling_is_overheard_seen_or_found() {
    let skep = Skep::start("siblings-keys").await;
    // Keyrings are left to whoever may use them at all, which by Docker's own profile nobody may.
    let flags = ["--security-opt", "seccomp=unconfined"];
    let labels = ["handler=exec", "engine=lean"];
    skep.deploy("l", &labels, &flags, &[DEBIAN, "perl", "-e", LISTENS])
        .await;
    let answers = join_all((0..3).map(|_| skep.public.get("/l"))).await;
    for answer in answers.iter().chain([&skep.public.get("/l").await]) {
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "still there\n"));
    }
    skep.deploy("confined", &labels, &[], &[DEBIAN, "perl", "-e", LISTENS])
        .await;
    let answer = skep.public.get("/confined").await;
    assert_eq!(
        answer.text(),
        "no keyring: Operation not permitted\nstill there\n"
    );
    skep.finish().await;
}
