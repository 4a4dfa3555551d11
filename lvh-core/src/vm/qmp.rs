//! QEMU's monitor: what QEMU itself knows of the VM's fate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Why the machine no longer runs, as QEMU tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The accelerator cannot execute this guest.
    InternalError,
    /// The guest powered off, reset (as after a panic), or QEMU was told to quit; QEMU's own word for it.
    Shutdown(String),
}

/// What the monitor tells.
#[derive(Debug)]
pub(super) struct Monitor {
    /// The first reason why the machine stopped.
    pub(super) stop: watch::Receiver<Option<Stop>>,
    /// It has said anything at all, as QEMU does when it has made the machine.
    pub(super) greeted: Arc<AtomicBool>,
}

/// Follows the monitor on `socket`.
pub(super) fn follow(socket: UnixStream) -> Monitor {
    let (sender, stop) = watch::channel(None);
    let monitor = Monitor { stop, greeted: Arc::default() };
    let greeted = Arc::clone(&monitor.greeted);
    tokio::spawn(async move {
        // The monitor closes when QEMU ends; what is left to know is in its exit status.
        let _ = read(socket, &sender, &greeted).await;
    });
    monitor
}

async fn read(socket: UnixStream, stop: &watch::Sender<Option<Stop>>, greeted: &AtomicBool) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    writer.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        greeted.store(true, Ordering::Relaxed);
        if message["event"] == "STOP" {
            // Only the status tells a stop by the user from one by the accelerator.
            writer.write_all(b"{\"execute\":\"query-status\"}\n").await?;
        }
        if let Some(reason) = reason(&message) {
            stop.send_if_modified(|stop| {
                let first = stop.is_none();
                stop.get_or_insert(reason);
                first
            });
        }
    }
    Ok(())
}

fn reason(message: &Value) -> Option<Stop> {
    if message["event"] == "SHUTDOWN" {
        return Some(Stop::Shutdown(message["data"]["reason"].as_str().unwrap_or("unknown").to_owned()));
    }
    (message["return"]["status"] == "internal-error").then_some(Stop::InternalError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<Stop>) {
        assert_eq!(reason(&serde_json::from_str(line).unwrap()), expected, "{line}");
    }

    #[test]
    fn reasons() {
        check(r#"{"return": {}}"#, None);
        check(r#"{"event": "STOP"}"#, None);
        check(r#"{"return": {"status": "paused", "running": false}}"#, None);
        check(r#"{"return": {"status": "internal-error", "running": false}}"#, Some(Stop::InternalError));
        let reset = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        check(reset, Some(Stop::Shutdown("guest-reset".to_owned())));
    }
}
