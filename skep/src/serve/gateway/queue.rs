//! Where this gateway keeps what it accepts: with the others, or by itself.

use std::io::ErrorKind;
use std::path::Path;

use skep_jetstream::{Config, JetStream};
use skep_tls::Identity;
use skep_wire::Queue;

use crate::cli;
use crate::exit::{Exit, Failed};

/// The queue that all gateways share, where there is one.
pub(super) async fn connect(options: &cli::Gateway) -> Result<Option<JetStream>, Failed> {
    let Some(queue) = read(&options.queue_file)? else {
        return Ok(None);
    };
    let unusable =
        |what: String| Failed::new(Exit::Usage, format!("{}: {what}", options.queue_file.display()));
    let tls = queue.keys.map(|keys| {
        let identity = Identity::from_pem(&keys.authority, &keys.certificate, &keys.key);
        identity.and_then(|identity| identity.client())
    });
    let config = Config {
        tls: tls.transpose().map_err(|error| unusable(error.to_string()))?,
        replicas: queue.replicas.max(1),
        keep_for: options.common.keep_for,
        keep_bytes: options.common.keep_bytes,
        ..Config::new(options.common.namespace.as_str(), queue.servers)
    };
    let connected = JetStream::connect(config).await;
    connected
        .map(Some)
        .map_err(|error| unusable(error.with_sources()))
}

fn read(path: &Path) -> Result<Option<Queue>, Failed> {
    let failed = |what: String| {
        Failed::new(Exit::Usage, format!("{} {what}", path.display()))
            .hint("skep install says where the queue is")
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(format!("can't be read: {error}"))),
    };
    let queue = serde_json::from_str(&text);
    queue
        .map(Some)
        .map_err(|error| failed(format!("does not say where the queue is: {error}")))
}
