//! The ways to the host that a command uses.

use crate::agent::channel::Sender;
use crate::agent::kernel_log::Log;
use crate::agent::window::Windows;

/// The ways to the host.
#[derive(Clone)]
pub struct Host {
    pub sender: Sender,
    pub log: Log,
    pub windows: Windows,
}
