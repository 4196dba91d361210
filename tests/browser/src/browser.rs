//! Chromium through chromedriver, one profile folder for each browser.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a page may take to come to what is expected of it. A container
/// for each request on a busy machine of two cores is not fast.
const PATIENCE: Duration = Duration::from_secs(30);

/// A chromedriver, and the profiles of the browsers that it started.
#[derive(Debug)]
pub struct Driver {
    url: String,
    profiles: TempDir,
    _process: Child,
}

impl Driver {
    /// Starts chromedriver on a port of its own choice.
    pub async fn start() -> anyhow::Result<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver did not start: `scripts/setup test` installs it")?;
        let output = process.stdout.take().context("chromedriver has no output")?;
        let mut lines = BufReader::new(output).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await?
                .context("chromedriver ended before it listened")?;
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let profiles = tempfile::Builder::new().prefix("skep-browser-").tempdir()?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self {
            url,
            profiles,
            _process: process,
        })
    }

    /// A browser that shares nothing with the others, cookies included.
    pub async fn browser(&self, name: &str) -> anyhow::Result<Browser> {
        let profile = self.profiles.path().join(name);
        let capabilities = json!({
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--window-size=1100,900",
                format!("--user-data-dir={}", profile.display()),
            ]},
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let capabilities: Capabilities = serde_json::from_value(capabilities)?;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.url)
            .await
            .with_context(|| format!("no browser for {name}"))?;
        Ok(Browser {
            client,
            name: name.to_owned(),
        })
    }
}

impl Drop for Driver {
    /// After a failed test the browsers still run: chromedriver gives them
    /// process groups of their own, so they are known by their profiles.
    fn drop(&mut self) {
        let profiles = self.profiles.path().to_string_lossy().into_owned();
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return;
        };
        for process in processes.flatten() {
            let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
                continue;
            };
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&profiles) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// One browser with its own cookies, and what a person does with it.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    name: String,
}

impl Browser {
    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.client
            .goto(url)
            .await
            .with_context(|| format!("{} could not open {url}", self.name))
    }

    /// Loads the page again.
    pub async fn reload(&self) -> anyhow::Result<()> {
        Ok(self.client.refresh().await?)
    }

    /// Where the browser is.
    pub async fn address(&self) -> anyhow::Result<String> {
        Ok(self.client.current_url().await?.to_string())
    }

    /// Clicks what `css` finds.
    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        let element = self.client.find(Locator::Css(css)).await;
        let element = element.with_context(|| format!("{} sees no {css}", self.name))?;
        Ok(element.click().await?)
    }

    /// Waits until the page has an element that `css` finds.
    pub async fn see(&self, css: &str) -> anyhow::Result<()> {
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css))
            .await;
        if found.is_err() {
            let page = self.client.source().await.unwrap_or_default();
            let body = page.split("<body>").nth(1).unwrap_or(&page);
            anyhow::bail!(
                "{} does not see {css} within {PATIENCE:?}; the page is:\n{body}",
                self.name
            );
        }
        Ok(())
    }

    /// The text of what `css` finds.
    pub async fn text(&self, css: &str) -> anyhow::Result<String> {
        Ok(self.client.find(Locator::Css(css)).await?.text().await?)
    }

    /// How many elements `css` finds.
    pub async fn count(&self, css: &str) -> anyhow::Result<usize> {
        Ok(self.client.find_all(Locator::Css(css)).await?.len())
    }

    /// What a line of JavaScript returns.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    /// The cookies of the page, as WebDriver tells them.
    pub async fn cookies(&self) -> anyhow::Result<Vec<Value>> {
        let cookies = self.client.issue_cmd(Ask::Cookies).await?;
        Ok(cookies.as_array().cloned().unwrap_or_default())
    }

    /// Forgets the cookies of the page.
    pub async fn forget_cookies(&self) -> anyhow::Result<()> {
        Ok(self.client.delete_all_cookies().await?)
    }

    /// Makes the window as large as a screen.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        Ok(self.client.set_window_size(width, height).await?)
    }

    /// Keeps a picture of the page, for whoever wants to look.
    pub async fn picture(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, self.client.screenshot().await?)?)
    }

    /// What the pages complained about since the last time that it was asked:
    /// scripts that failed, and whatever could not be loaded.
    pub async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let log = self.client.issue_cmd(Ask::Log).await?;
        let complaints = log.as_array().into_iter().flatten();
        let complaints = complaints.filter(|entry| entry["level"] == "SEVERE");
        Ok(complaints
            .map(|entry| format!("{}: {}", self.name, entry["message"]))
            .collect())
    }

    /// Ends the browser, and tells its last complaints.
    pub async fn close(self) -> anyhow::Result<Vec<String>> {
        let complaints = self.complaints().await?;
        self.client.close().await?;
        Ok(complaints)
    }
}

/// Commands that fantoccini has no method for, or that lose attributes.
#[derive(Debug)]
enum Ask {
    Cookies,
    Log,
}

impl WebDriverCompatibleCommand for Ask {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        let command = match self {
            Self::Cookies => "cookie",
            Self::Log => "se/log",
        };
        base.join(&format!("session/{}/{command}", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        match self {
            Self::Cookies => (http::Method::GET, None),
            Self::Log => (http::Method::POST, Some(json!({ "type": "browser" }).to_string())),
        }
    }
}
