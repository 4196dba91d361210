//! The ports that `skep serve` listens on.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::report::Report;

pub(crate) async fn examine(report: &mut Report, listeners: &[SocketAddr]) {
    for address in listeners {
        match TcpListener::bind(address).await {
            Ok(_) => report.ok("port", format!("{address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => report.warn(
                "port",
                format!("{address} is taken, by a running Skep or by something else"),
                "if it isn't Skep: stop it (ss -ltnp tells what it is), or choose another address",
            ),
            Err(error) => report.fail(
                "port",
                format!("{address} can't be listened on: {error}"),
                "choose an address of this host",
            ),
        }
    }
}
