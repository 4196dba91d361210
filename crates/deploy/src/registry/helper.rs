//! Programs that keep accounts (`docker-credential-NAME`): the registry on
//! standard input, an account as JSON on standard output.

use super::{Account, RegistryError};
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A helper may ask its user first.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a helper says where it knows nothing; that is no error.
const UNKNOWN: &str = "credentials not found";
/// The user name of which the secret is a token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks for a registry's account.
pub(super) async fn get(helper: &str, key: &str) -> Result<Option<Account>, RegistryError> {
    let failed = |reason: String| RegistryError::Helper {
        helper: helper.to_owned(),
        reason,
    };
    let asked = tokio::time::timeout(PATIENCE, ask(helper, key)).await;
    let output = asked
        .map_err(|_| failed(format!("it did not answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if said.contains(UNKNOWN) {
            return Ok(None);
        }
        // Its complaint stands on either stream, and is no secret.
        let complaint = String::from_utf8_lossy(&output.stderr);
        let reason = [said.trim(), complaint.trim()].join(" ").trim().to_owned();
        return Err(failed(format!("{}: {reason}", output.status)));
    }
    let answer: Answer =
        serde_json::from_str(&said).map_err(|_| failed(String::from("its answer is no account")))?;
    let mut account = Account {
        serveraddress: key.to_owned(),
        ..Account::default()
    };
    if answer.username == TOKEN {
        account.identitytoken = answer.secret;
    } else {
        (account.username, account.password) = (answer.username, answer.secret);
    }
    Ok(Some(account))
}

async fn ask(helper: &str, key: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read has its reasons, and says them.
        let _ = input.write_all(key.as_bytes()).await;
    }
    child.wait_with_output().await
}
