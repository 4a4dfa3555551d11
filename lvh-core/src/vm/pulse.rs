//! Notices a kernel that died and stays. Its panic normally ends QEMU, but not with `panic=0`, on its command line or set by
//! a test.

use std::time::Duration;

use super::qemu::console::Console;
use crate::guest::client::guest::Pulse;

/// How often the console is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a guest that is alive may take to say so, when its console shows a panic.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives the guest up when its kernel says that it panicked, and it does not answer. The words alone mean nothing: anybody
/// in the guest may write them.
pub(super) async fn watch(console: Console, pulse: Pulse) {
    while pulse.is_wanted() {
        tokio::time::sleep(LOOK).await;
        if console.panic_line().is_none() {
            continue;
        }
        match pulse.beats(PATIENCE).await {
            Some(true) => tokio::time::sleep(PATIENCE).await,
            Some(false) => return pulse.give_up(format!("it did not answer within {PATIENCE:?}")),
            None => return,
        }
    }
}
