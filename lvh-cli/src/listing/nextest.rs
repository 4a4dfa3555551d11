//! cargo-nextest's listing, in its JSON ("Machine-readable output" of its documentation).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::Binary;

/// A test binary and those of its tests that would run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) binary: Binary,
    pub(super) path: PathBuf,
    /// The directory of its package.
    pub(super) cwd: PathBuf,
    pub(super) tests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    rust_suites: BTreeMap<String, RawSuite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawSuite {
    binary_path: PathBuf,
    cwd: PathBuf,
    #[serde(default)]
    testcases: BTreeMap<String, RawTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawTest {
    #[serde(default)]
    ignored: bool,
    filter_match: Option<Match>,
}

#[derive(Deserialize)]
struct Match {
    status: String,
}

/// Runs `cargo nextest list`; it needs no cargo for an archive.
pub(super) fn list(arguments: &[OsString]) -> anyhow::Result<Vec<Suite>> {
    let mut command = Command::new("cargo-nextest");
    command.args(["nextest", "list", "--message-format", "json"]).args(arguments).stderr(Stdio::inherit());
    // What was built must not depend on who asks.
    command.env_remove("LVH_PLACES");
    let output = command.output().context(
        "failed to start `cargo-nextest`\n\nhint: cargo install --locked cargo-nextest, or name a listing with --list",
    )?;
    if !output.status.success() {
        bail!("`cargo nextest list` failed ({})", output.status);
    }
    parse(&output.stdout).context("failed to read what `cargo nextest list` printed")
}

/// The suites of a listing; what its own filter leaves out, or what is ignored, would not run.
pub(super) fn parse(json: &[u8]) -> anyhow::Result<Vec<Suite>> {
    let document: Document = serde_json::from_slice(json)?;
    let runs = |test: &RawTest| test.filter_match.as_ref().map_or(!test.ignored, |matched| matched.status == "matches");
    let suite = |(id, suite): (String, RawSuite)| Suite {
        binary: Binary::Id(id),
        path: suite.binary_path,
        cwd: suite.cwd,
        tests: suite.testcases.into_iter().filter(|(_, test)| runs(test)).map(|(name, _)| name).collect(),
    };
    Ok(document.rust_suites.into_iter().map(suite).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_run_is_read() {
        let test = |ignored: bool, status: &str| serde_json::json!({"kind": "test", "ignored": ignored, "filter-match": {"status": status}});
        let json = serde_json::json!({"test-count": 4, "rust-suites": {
            "p::it": {"package-name": "p", "binary-path": "/t/it-0", "cwd": "/p", "status": "listed",
                "testcases": {"b": test(false, "matches"), "a": test(true, "matches"), "c": test(true, "mismatch"), "d": {}}},
            "p": {"binary-path": "/t/p-0", "cwd": "/p", "status": "skipped"},
        }});
        let suite = |id: &str, path: &str, tests: &[&str]| Suite {
            binary: Binary::Id(id.into()),
            path: path.into(),
            cwd: "/p".into(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
        };
        let found = parse(json.to_string().as_bytes()).unwrap();
        assert_eq!(found, [suite("p", "/t/p-0", &[]), suite("p::it", "/t/it-0", &["a", "b", "d"])]);
        assert!(parse(b"{}").unwrap_err().to_string().contains("rust-suites"));
    }
}
