//! The ways to the host that a command uses, and what it shares with others.

use crate::agent::channel::Sender;
use crate::agent::kernel_log::Log;
use crate::agent::machine::Machine;
use crate::agent::window::Windows;

/// The ways to the host, and the machine that commands share.
#[derive(Clone)]
pub struct Host {
    pub sender: Sender,
    pub log: Log,
    pub windows: Windows,
    pub machine: Machine,
}
