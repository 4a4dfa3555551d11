//! What a VM turned out to be.

use std::fmt;
use std::time::Duration;

use crate::vm::qemu::command_line::Hypervisor;
use crate::vm::transport::candidates::Transport;

/// What a VM turned out to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VmInfo {
    /// What the user calls the kernel.
    pub kernel: String,
    /// What exactly the kernel is: its package with version and digest, or its file with its digest.
    pub identity: String,
    /// The image whose disk is its root, by name and short digest, such as `base sha256:1f2e3d4c5b6a`; none: it has none.
    pub image: Option<String>,
    /// `uname -r` as the guest tells it.
    pub release: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Who executes it.
    pub hypervisor: Hypervisor,
    /// How it is connected to the host, and why not better.
    pub transport: Transport,
    /// What optional parts of its rootfs the guest could not have, and what an image says of a kernel that is too old for it.
    pub warnings: Vec<String>,
    /// It was not booted, but resumed from a snapshot.
    pub resumed: bool,
    /// How long it took to take that snapshot, where this start did.
    pub snapshot_after: Option<Duration>,
    /// From QEMU's start until the guest was prepared, as a snapshot holds it.
    pub prepared_after: Duration,
    /// From QEMU's start until the guest was ready.
    pub ready_after: Duration,
}

impl fmt::Display for VmInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, hypervisor, transport, resumed, ready_after, .. } = self;
        let image = self.image.as_ref().map(|image| format!(", image {image}")).unwrap_or_default();
        let (seconds, hypervisor) = (ready_after.as_secs_f64(), hypervisor.as_str());
        let start = if *resumed { ", warm" } else { "" };
        let snapshot = self.snapshot_after.map_or(0.0, |time| time.as_secs_f64());
        let (all, Transport { channel, share, .. }) = (seconds + snapshot, transport);
        write!(f, "{release} ready in {all:.1} s ({hypervisor}, {channel}, {share}{image}{start})")?;
        match self.snapshot_after {
            Some(_) => write!(f, "; {snapshot:.1} s of it for a snapshot that later starts resume from"),
            None => Ok(()),
        }
    }
}

impl VmInfo {
    /// Such as `6.12.117+deb13-amd64 (6.12, tcg, vhost-user-vsock, virtiofs)`, with the image behind it where there is one.
    pub fn summary(&self) -> String {
        let Self { release, kernel, hypervisor, transport, .. } = self;
        let image = self.image.as_ref().map(|image| format!(", image {image}")).unwrap_or_default();
        let (channel, share) = (transport.channel, transport.share);
        format!("{release} ({kernel}, {}, {channel}, {share}{image})", hypervisor.as_str())
    }
}
