//! Waiting for systemd, where it is a guest's first process.

use std::time::{Duration, Instant};

use super::running::Vm;
use crate::error::{Error, ErrorKind, Result};
use crate::guest::client::command::Command;

/// The program of images.
pub(crate) const PROGRAM: &str = "/lib/systemd/systemd";

/// How long to wait where systemd takes no questions yet.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until systemd has started all that it is to start.
///
/// # Errors
/// It does not within `limit`, or a unit failed: which, and what systemd says of it.
pub(crate) async fn wait_until_up(vm: &Vm, limit: Duration) -> Result<()> {
    let (begin, mut last) = (Instant::now(), String::new());
    loop {
        let Some(left) = limit.checked_sub(begin.elapsed()) else { return Err(late(vm, limit, &last).await) };
        // It waits itself, as soon as it is heard.
        let asked = tokio::time::timeout(left, said(vm, &["is-system-running", "--wait"])).await;
        last = match asked {
            Ok(said) => said?,
            Err(_elapsed) => return Err(late(vm, limit, "it is still starting").await),
        };
        match last.as_str() {
            "running" => return Ok(()),
            "degraded" => return Err(degraded(vm).await),
            "maintenance" | "stopping" => {
                return Err(Error::new(ErrorKind::Boot, format!("systemd of the image did not start: it is {last}")));
            }
            _ => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// What `systemctl` says.
async fn said(vm: &Vm, arguments: &[&str]) -> Result<String> {
    let output = vm.output(Command::new("systemctl").args(arguments)).await?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

async fn degraded(vm: &Vm) -> Error {
    let listed =
        said(vm, &["list-units", "--failed", "--plain", "--no-legend", "--no-pager"]).await.unwrap_or_default();
    let units: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let message = format!("units of the image's systemd failed: {}", units.join(", "));
    let status = [&["status", "--no-pager", "--full"], &units[..]].concat();
    let output = said(vm, &status).await.unwrap_or_default();
    Error::new(ErrorKind::Boot, message)
        .with_output(output)
        .with_hint("mend or mask them in the image, for they fail on this kernel or in every guest")
}

async fn late(vm: &Vm, limit: Duration, last: &str) -> Error {
    let jobs = tokio::time::timeout(INTERVAL * 50, said(vm, &["list-jobs", "--no-pager"])).await;
    let jobs = jobs.ok().and_then(Result::ok).unwrap_or_default();
    let message = format!("timed out after {limit:?} waiting for the image's systemd: {last}");
    Error::new(ErrorKind::Boot, message)
        .with_output(jobs)
        .with_hint("`boot-timeout` of [vm], or of the test, gives it longer")
}
