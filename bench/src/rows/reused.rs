//! A reused `http` instance: what the gateway adds to going to it directly, beside nginx as a reverse proxy.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::{Context, Deployed};
use crate::load::{Client, first_answer, median, throughput};
use crate::table::{Line, Report, milliseconds};

/// So many small batches of requests, so that what else happens on the machine meets all three alike.
const BATCHES: usize = 300;
const REQUESTS: usize = 21;
const CONNECTIONS: usize = 32;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Report> {
    let labels = [
        ("skep.recycle", "idle"),
        ("skep.concurrency", "64"),
        ("skep.max", "1"),
    ];
    let deployed = Deployed::new(context, &labels, &[], "bridge").await?;
    deployed.serve.wait_for("/bench")?;
    // A container of its own for the yardsticks: Skep's instance is frozen whenever Skep has no work for it.
    let container = context
        .docker
        .create(
            &format!("{}-direct", deployed.serve.namespace),
            &[],
            &[],
            "bridge",
        )
        .await?;
    context.docker.start(&container).await?;
    let direct = context.docker.address(&container).await?;
    let skep = deployed.serve.listen;
    let nginx = Nginx::start(direct)?;
    let added = Added::measure([(direct, "/"), (skep, "/bench"), (nginx.listen, "/")])?;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        // The last run's end cut requests off, and with its callers the instance ended: this row is of a reused one.
        deployed.serve.wait_for("/bench")?;
        let s = throughput(&format!("http://{skep}/bench"), CONNECTIONS, 4, None)?;
        let n = throughput(&format!("http://{}/", nginx.listen), CONNECTIONS, 4, None)?;
        ratios.push(s / n);
        ours.push(s);
        theirs.push(n);
    }
    drop(nginx);
    context.docker.remove(&container).await?;
    deployed.end().await?;
    Ok(Report::Promises(vec![
        Line {
            what: "reused `http` instance: p50 added to going to it directly, one connection".into(),
            skep: signed(added.skep),
            yardstick: format!(
                "nginx adds {}; directly {}",
                signed(added.nginx),
                milliseconds(added.directly)
            ),
            result: added.ratio(),
            promise: "≤ 0.2 ms",
        },
        Line {
            what: format!("the same: throughput, {CONNECTIONS} connections"),
            skep: format!("{:.0}/s", median(&mut ours)),
            yardstick: format!("nginx {:.0}/s", median(&mut theirs)),
            result: format!("{:.0} %", median(&mut ratios) * 100.0),
            promise: "≥ 70 % of nginx",
        },
    ]))
}

/// What going through a proxy adds, in seconds. What is added is little beside what a busy machine adds by chance,
/// so each batch is compared with the one just before it, and the median is that of the differences.
struct Added {
    skep: f64,
    nginx: f64,
    directly: Duration,
}

impl Added {
    /// Sends to the instance directly, through Skep and through nginx, in turns.
    fn measure(ends: [(SocketAddr, &str); 3]) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for (address, path) in ends {
            clients.push(Client::connect(address, path)?);
        }
        let (mut skep, mut nginx, mut directly) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            let mut batch = [Duration::ZERO; 3];
            for (client, time) in clients.iter_mut().zip(&mut batch) {
                *time = median(&mut client.latencies(REQUESTS)?);
            }
            let [direct, through, proxied] = batch.map(|time| time.as_secs_f64());
            skep.push(through - direct);
            nginx.push(proxied - direct);
            directly.push(batch[0]);
        }
        Ok(Self {
            skep: median(&mut skep),
            nginx: median(&mut nginx),
            directly: median(&mut directly),
        })
    }

    /// Skep's share beside nginx's, where both can be told from nothing.
    fn ratio(&self) -> String {
        const NOTHING: f64 = 1e-6;
        if self.skep.min(self.nginx) < NOTHING {
            return "too little to compare".into();
        }
        format!("{:.2}× nginx's", self.skep / self.nginx)
    }
}

fn signed(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

/// nginx as a reverse proxy with kept connections to its upstream, on a port of its own.
struct Nginx {
    child: Child,
    listen: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(
            &file,
            configuration(listen, upstream, &folder.path().display().to_string()),
        )?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .context("nginx can't be run; `scripts/setup bench` installs it")?;
        first_answer(listen, "/", Duration::from_secs(10))?;
        Ok(Self {
            child,
            listen,
            _folder: folder,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // nginx ends its workers on SIGTERM; a plain kill would leave them.
        let terminated = Command::new("kill").arg(self.child.id().to_string()).status();
        if terminated.is_ok() {
            let _reaped = self.child.wait();
        }
    }
}

fn configuration(listen: SocketAddr, upstream: SocketAddr, folder: &str) -> String {
    format!(
        "daemon off; worker_processes auto; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 100000000;
  upstream backend {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen {listen}; location / {{
    proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto http;
    proxy_set_header X-Forwarded-Host $host; proxy_set_header Forwarded \"for=$remote_addr;proto=http\";
    proxy_buffering off;
  }} }}
}}
"
    )
}
