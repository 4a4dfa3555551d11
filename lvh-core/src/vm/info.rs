//! What a VM turned out to be.

use std::fmt;
use std::time::{Duration, Instant};

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
    /// From QEMU's start until the guest was ready.
    pub ready_after: Duration,
    /// What of that was whose.
    pub times: StartTimes,
}

/// Where the time from QEMU's start until a guest was ready went: one part follows the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTimes {
    /// QEMU, until it had made the machine.
    pub qemu: Duration,
    /// The guest, until it had its state from a snapshot, or had booted and lvh-init said hello.
    pub guest: Duration,
    /// lvh-init, until it was prepared, and asked for the clock.
    pub agent: Duration,
    /// The root that commands see, until it was there.
    pub root: Duration,
}

impl StartTimes {
    /// From the moments at which the parts began, and the end.
    pub(crate) fn between(moments: [Instant; 5]) -> Self {
        let part = |index: usize| moments[index + 1].saturating_duration_since(moments[index]);
        Self { qemu: part(0), guest: part(1), agent: part(2), root: part(3) }
    }

    /// All together.
    pub fn total(&self) -> Duration {
        self.qemu + self.guest + self.agent + self.root
    }
}

impl fmt::Display for StartTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { qemu, guest, agent, root } = *self;
        let [all, qemu, guest, agent, root] = [self.total(), qemu, guest, agent, root].map(|part| part.as_millis());
        write!(f, "started in {all} ms: QEMU {qemu} ms, guest {guest} ms, agent {agent} ms, root {root} ms")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_between_moments() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let times = StartTimes::between([0, 46, 136, 248, 361].map(|after| start + ms(after)));
        assert_eq!(times, StartTimes { qemu: ms(46), guest: ms(90), agent: ms(112), root: ms(113) });
        let words = "started in 361 ms: QEMU 46 ms, guest 90 ms, agent 112 ms, root 113 ms";
        assert_eq!(times.to_string(), words);
    }
}
