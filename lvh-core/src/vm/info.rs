//! What a VM turned out to be.

use std::fmt;
use std::time::Duration;

use crate::vm::qemu::command_line::Hypervisor;
use crate::vm::transport::candidates::Rungs;

/// What a VM turned out to be.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the user calls the kernel.
    pub kernel: String,
    /// What exactly the kernel is: its package with version and digest, or its file with its digest.
    pub identity: String,
    /// `uname -r` as the guest tells it.
    pub release: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Who executes it.
    pub hypervisor: Hypervisor,
    /// The rungs it stands on, and why not on better ones.
    pub rungs: Rungs,
    /// What optional parts of its world the guest could not have.
    pub warnings: Vec<String>,
    /// It was not booted, but went on from where another was kept.
    pub resumed: bool,
    /// From QEMU's start until the guest's hello.
    pub hello_after: Duration,
    /// From QEMU's start until the guest was ready.
    pub ready_after: Duration,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, hypervisor, rungs, resumed, ready_after, .. } = self;
        let (seconds, hypervisor) = (ready_after.as_secs_f64(), hypervisor.as_str());
        let start = if *resumed { ", warm" } else { "" };
        write!(f, "{release} ready in {seconds:.1} s ({hypervisor}, {}, {}{start})", rungs.channel, rungs.share)
    }
}

impl Facts {
    /// Such as `6.12.117+deb13-amd64 (6.12, tcg, vhost-user-vsock, virtiofs)`.
    pub fn summary(&self) -> String {
        let Self { release, kernel, hypervisor, rungs, .. } = self;
        format!("{release} ({kernel}, {}, {}, {})", hypervisor.as_str(), rungs.channel, rungs.share)
    }
}
