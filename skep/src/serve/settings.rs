//! What was typed, resolved: files read, texts understood, what excludes each other refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skep_control::{Access, Token};
use skep_gateway::TrustedProxies;
use skep_model::{EngineChoice, Namespace};

use crate::cli;
use crate::exit::{Exit, Failed};

/// Everything that `skep serve` needs to know, as plain data.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) control: SocketAddr,
    pub(super) access: Access,
    pub(super) call_port: u16,
    pub(super) namespace: Namespace,
    pub(super) data_directory: PathBuf,
    pub(super) docker_host: Option<String>,
    /// What `skep.engine=auto` means.
    pub(super) engine: EngineChoice,
    pub(super) gateway: skep_gateway::Config,
    pub(super) memory_budget: Option<u64>,
    pub(super) drain_timeout: Duration,
    pub(super) relist: Duration,
    pub(super) keep_for: Duration,
    pub(super) keep_bytes: u64,
    pub(super) keep_layers: Duration,
}

impl Settings {
    pub(super) fn resolve(options: cli::Serve) -> Result<Self, Failed> {
        let access = access(&options.listeners)?;
        let gateway = gateway(&options.listeners)?;
        Ok(Self {
            listen: options.listeners.addresses.listen,
            control: options.listeners.addresses.control,
            access,
            call_port: options.call_port,
            namespace: options.common.namespace,
            data_directory: options.common.data_dir,
            docker_host: options.common.docker.host,
            engine: options.making.engine.into(),
            gateway,
            memory_budget: options.memory_budget,
            drain_timeout: options.common.drain_timeout,
            relist: options.common.relist,
            keep_for: options.common.keep_for,
            keep_bytes: options.common.keep_bytes,
            keep_layers: options.making.keep_layers,
        })
    }
}

/// Who may speak to a control listener.
pub(super) fn access(listeners: &cli::Listeners) -> Result<Access, Failed> {
    let token = listeners.control_token_file.as_deref().map(token).transpose()?;
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let names = listeners.control_names.iter().cloned().chain([own]);
    Access::new(listeners.addresses.control, token, names).map_err(|error| {
        Failed::new(Exit::Usage, error.to_string())
            .hint("write a secret into a file and give it with --control-token-file, or listen on 127.0.0.1")
    })
}

/// What is allowed of requests from outside.
pub(super) fn gateway(listeners: &cli::Listeners) -> Result<skep_gateway::Config, Failed> {
    let mut config = skep_gateway::Config::default();
    let proxies = listeners.trusted_proxies.join(",");
    config.trusted_proxies = proxies
        .parse::<TrustedProxies>()
        .map_err(|error| Failed::new(Exit::Usage, format!("--trusted-proxies: {error}")))?;
    if let Some(bytes) = listeners.max_body {
        config.max_body = bytes;
    }
    Ok(config)
}

fn token(path: &Path) -> Result<Token, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failed::new(
            Exit::Usage,
            format!("the token file {} can't be read: {error}", path.display()),
        )
    })?;
    Token::new(&text).ok_or_else(|| {
        Failed::new(Exit::Usage, format!("the token file {} is empty", path.display()))
            .hint("for example: openssl rand -hex 32 > FILE")
    })
}
