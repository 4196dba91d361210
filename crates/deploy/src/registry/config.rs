//! The docker command's `config.json`, as far as it is about registries.

use super::{Account, RegistryError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Everything else in it is no concern of a deploy.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(skip)]
    path: PathBuf,
}

/// What is kept of one registry. With a store it is empty.
#[derive(Debug, Default, Deserialize)]
struct Entry {
    /// `user:password`, in base64.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl Config {
    /// `None` where there is no such file.
    pub(super) async fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        let failed = |reason: String| RegistryError::Config {
            path: path.to_owned(),
            reason,
        };
        let text = match tokio::fs::read(path).await {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        // serde's messages name a place and no value, so no secret.
        let mut config: Self = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        config.path = path.to_owned();
        Ok(Some(config))
    }

    /// Every registry of which something is known, as it is written there.
    pub(super) fn registries(&self) -> BTreeSet<&str> {
        let names = self.auths.keys().chain(self.helpers.keys());
        names.map(String::as_str).collect()
    }

    /// The program that keeps a registry's account.
    pub(super) fn helper_of(&self, key: &str) -> Option<&str> {
        let own = self
            .helpers
            .get(key)
            .or_else(|| self.helpers.get(host(key)))
            .unwrap_or(&self.store);
        (!own.is_empty()).then_some(own.as_str())
    }

    /// The account that stands in the file itself.
    pub(super) fn account(&self, key: &str) -> Result<Option<Account>, RegistryError> {
        // Old entries are URLs.
        let same = || self.auths.iter().find(|(name, _)| host(name) == host(key));
        let found = self.auths.get_key_value(key).or_else(same);
        let Some((name, entry)) = found else {
            return Ok(None);
        };
        let mut account = Account {
            username: entry.username.clone(),
            password: entry.password.clone(),
            identitytoken: entry.identitytoken.clone(),
            registrytoken: entry.registrytoken.clone(),
            serveraddress: key.to_owned(),
        };
        if !entry.auth.is_empty() {
            let (username, password) = decode(&entry.auth).ok_or_else(|| RegistryError::Config {
                path: self.path.clone(),
                reason: format!("auths, {name}: auth is no user and password in base64"),
            })?;
            (account.username, account.password) = (username, password);
        }
        let secrets = [&account.password, &account.identitytoken, &account.registrytoken];
        let known = secrets.iter().any(|secret| !secret.is_empty());
        Ok(known.then_some(account))
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The host of what may be a URL.
fn host(key: &str) -> &str {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).expect("a configuration")
    }

    fn user(config: &Config, key: &str) -> Option<(String, String)> {
        let account = config.account(key).expect("whole")?;
        Some((account.username, account.password))
    }

    #[test]
    fn an_account_is_found_by_its_registry_however_that_is_written() {
        // "me:pa:ss" and "old:one".
        let config = config(
            r#"{"auths": {"registry.example:5000": {"auth": "bWU6cGE6c3M="},
                "https://old.example/v1/": {"auth": "b2xkOm9uZQ=="},
                "plain.example": {"username": "u", "password": "p"},
                "in-a-store.example": {}}, "HttpHeaders": {"a": "b"}}"#,
        );
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(user(&config, "registry.example:5000"), pair("me", "pa:ss"));
        assert_eq!(user(&config, "old.example"), pair("old", "one"));
        assert_eq!(user(&config, "plain.example"), pair("u", "p"));
        assert_eq!(user(&config, "in-a-store.example"), None);
        assert_eq!(user(&config, "registry.example"), None);
    }

    #[test]
    fn a_registrys_own_helper_comes_before_the_store() {
        let config =
            config(r#"{"credsStore": "all", "credHelpers": {"gcr.io": "gcloud", "none.example": ""}}"#);
        assert_eq!(config.helper_of("gcr.io"), Some("gcloud"));
        assert_eq!(config.helper_of("ghcr.io"), Some("all"));
        assert_eq!(config.helper_of("none.example"), None);
        assert_eq!(Config::default().helper_of("gcr.io"), None);
    }

    #[test]
    fn what_is_no_account_is_told_without_its_secret() {
        for auth in ["%%%", "bm90LWEtcGFpcg=="] {
            let config = config(&format!(r#"{{"auths": {{"a.example": {{"auth": "{auth}"}}}}}}"#));
            let error = config.account("a.example").expect_err("no account").to_string();
            assert!(error.contains("a.example") && !error.contains(auth), "{error}");
        }
    }
}
