//! The engine: the bench's image, and containers that end with the bench.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};

/// The image with the backend and nothing else.
pub(crate) const IMAGE: &str = "skep-bench/backend:latest";

/// The port that the backend listens on.
pub(crate) const PORT: u16 = 8080;

pub(crate) struct Engine {
    pub(crate) client: Docker,
}

impl Engine {
    /// Connects, and builds the image from `bench/backend.rs`.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let client = Docker::connect_with_defaults()?.negotiate_version().await?;
        let folder = tempfile::tempdir()?;
        build_backend(folder.path())?;
        std::fs::write(
            folder.path().join("Dockerfile"),
            "FROM scratch\nCOPY backend /backend\nCMD [\"/backend\"]\n",
        )?;
        run(Command::new("docker")
            .args(["build", "-q", "-t", IMAGE])
            .arg(folder.path()))?;
        Ok(Self { client })
    }

    /// A parked container of the backend with these labels; gives its id.
    pub(crate) async fn create(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        command: &[&str],
        network: &str,
    ) -> anyhow::Result<String> {
        self.create_of(IMAGE, name, labels, command, network).await
    }

    /// The same of another image.
    pub(crate) async fn create_of(
        &self,
        image: &str,
        name: &str,
        labels: &[(&str, &str)],
        command: &[&str],
        network: &str,
    ) -> anyhow::Result<String> {
        let labels: HashMap<String, String> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(labels),
            cmd: (!command.is_empty()).then(|| command.iter().map(|word| (*word).to_owned()).collect()),
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        Ok(self.client.create_container(Some(options), body).await?.id)
    }

    pub(crate) async fn start(&self, id: &str) -> anyhow::Result<()> {
        Ok(self
            .client
            .start_container(id, None::<bollard::query_parameters::StartContainerOptions>)
            .await?)
    }

    pub(crate) async fn remove(&self, id: &str) -> anyhow::Result<()> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        Ok(self.client.remove_container(id, Some(options)).await?)
    }

    /// Where a running container on the default bridge is reached.
    pub(crate) async fn address(&self, id: &str) -> anyhow::Result<SocketAddr> {
        let inspect = self
            .client
            .inspect_container(id, None::<bollard::query_parameters::InspectContainerOptions>)
            .await?;
        let networks = inspect
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let text = networks
            .into_values()
            .find_map(|network| network.ip_address.filter(|ip| !ip.is_empty()));
        let address: IpAddr = text.context("the container has no address")?.parse()?;
        Ok(SocketAddr::new(address, PORT))
    }
}

fn build_backend(folder: &Path) -> anyhow::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("backend.rs");
    let flags = [
        "--edition",
        "2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
        "-C",
        "strip=symbols",
        "-o",
    ];
    run(Command::new("rustc")
        .args(flags)
        .arg(folder.join("backend"))
        .arg(source))?;
    Ok(())
}

/// Runs a command to its end and gives what it printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
