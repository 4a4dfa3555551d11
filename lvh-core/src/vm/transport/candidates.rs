//! Which channel and which share a VM takes: of what host and guest's kernel both have, what the user wants or what is best.

use std::fs::File;

use super::drivers::{Driver, Drivers, PCI};
use super::{channel, share};
use crate::Arch;
use crate::config::{Channel, Share};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Availability, Kernel};
use crate::vm::qemu::device::Device;
use crate::vm::spec::VmSpec;

/// What the host can serve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostOffers {
    /// `/dev/vhost-vsock` can be opened.
    pub vhost_vsock: bool,
    /// The machine type has a second serial port.
    pub second_serial: bool,
}

impl HostOffers {
    /// What this machine serves a guest of `arch`.
    pub(crate) fn here(arch: Arch) -> Self {
        Self {
            vhost_vsock: File::options().read(true).write(true).open("/dev/vhost-vsock").is_ok(),
            second_serial: arch.second_serial().is_some(),
        }
    }
}

/// The chosen transport, and why better candidates were passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transport {
    /// How host and guest talk.
    pub channel: Channel,
    /// How the guest sees the host's files.
    pub share: Share,
    /// A line for each better candidate that was not taken.
    pub passed_over: Vec<String>,
}

/// The candidates for both parts of the transport, the best first, as this machine and one kernel have them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidates {
    /// How host and guest can talk.
    pub channel: Vec<Candidate<Channel>>,
    /// How the guest can see the host's files.
    pub share: Vec<Candidate<Share>>,
}

/// A channel or a share, and whether it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate<T> {
    /// Which one it is.
    pub transport: T,
    /// Why it cannot be used; `None` where it can.
    pub lack: Option<String>,
    /// How many modules the guest loads for it. Each takes as long as a twentieth of a boot under TCG: nearly all of that
    /// is the check of its signature.
    pub modules: usize,
}

impl<T> Candidate<T> {
    fn is_usable(&self) -> bool {
        self.lack.is_none()
    }
}

impl Candidates {
    /// Reads what this machine and `kernel` offer; nothing is started.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub fn of(kernel: &Kernel) -> Result<Self> {
        let drivers = Drivers::of(kernel)?;
        Ok(Self::survey(HostOffers::here(kernel.arch), |driver| drivers.find(driver)))
    }

    /// `find` says how the guest's kernel has a driver, or why it has not.
    pub(crate) fn survey(
        host: HostOffers,
        find: impl Fn(&Driver) -> std::result::Result<Availability, String>,
    ) -> Self {
        let judge = |lack: Option<String>, drivers: Vec<Driver>| {
            let found: Vec<_> = drivers.iter().map(|driver| (find(driver), driver.modules)).collect();
            let lack = lack.or_else(|| found.iter().find_map(|(found, _)| found.as_ref().err().cloned()));
            let loaded = found.iter().filter(|(found, _)| *found == Ok(Availability::Module));
            (lack, loaded.map(|(_, modules)| modules).sum())
        };
        let channel = Channel::ALL.iter().map(|&channel| {
            let (lack, modules) = judge(host_lacks_channel(host, channel), channel_drivers(channel));
            Candidate { transport: channel, lack, modules }
        });
        let share = Share::ALL.iter().map(|&share| {
            let (lack, modules) = judge(None, share_drivers(share));
            Candidate { transport: share, lack, modules }
        });
        Self { channel: channel.collect(), share: share.collect() }
    }

    /// Chooses both; what is forced is taken or refused, never replaced.
    ///
    /// # Errors
    /// A forced one that host or guest does not have, with the reason; none at all.
    pub fn choose(&self, spec: &VmSpec) -> Result<Transport> {
        self.choose_from(spec.channel, spec.share, spec.warm_start)
    }

    fn choose_from(&self, channel: Option<Channel>, share: Option<Share>, warm_start: bool) -> Result<Transport> {
        let mut passed_over = Vec::new();
        let channels = match channel {
            Some(_) => self.channel.clone(),
            None if warm_start && self.share_lets_resume(share) => self.snapshot_safe_channels(),
            None => self.cheapest_channels(),
        };
        let channel = pick("channel", "LVH_CHANNEL", &channels, channel, &mut passed_over)?;
        let resumes = warm_start && share.is_none() && channel_is_safe(channel);
        let shares = if resumes { self.snapshot_safe_shares() } else { self.share.clone() };
        let share = pick("share", "LVH_SHARE", &shares, share, &mut passed_over)?;
        Ok(Transport { channel, share, passed_over })
    }
}

/// Why a candidate is passed over that costs the VM its snapshot.
const NO_SNAPSHOT: &str = "a VM that has it cannot be resumed from a snapshot";

fn channel_is_safe(channel: Channel) -> bool {
    channel::prototype(channel, Arch::HOST).is_snapshot_safe()
}

fn share_is_safe(share: Share) -> bool {
    share::prototypes(share).iter().all(Device::is_snapshot_safe)
}

impl Candidates {
    /// Whether a VM can be resumed as far as its share goes: this one, or the one that will be chosen.
    fn share_lets_resume(&self, forced: Option<Share>) -> bool {
        let is_good = |candidate: &Candidate<Share>| {
            candidate.is_usable() && candidate.transport != Share::Packed && share_is_safe(candidate.transport)
        };
        forced.map_or_else(|| self.share.iter().any(is_good), share_is_safe)
    }

    /// The channels, without those whose VMs have no snapshot, where there is one that does not keep them from it. How
    /// many modules one takes does not count: they are loaded once, before the snapshot is taken.
    fn snapshot_safe_channels(&self) -> Vec<Candidate<Channel>> {
        if !self.channel.iter().any(|candidate| candidate.is_usable() && channel_is_safe(candidate.transport)) {
            return self.cheapest_channels();
        }
        let mut channels = self.channel.clone();
        for candidate in channels.iter_mut().filter(|candidate| candidate.is_usable()) {
            candidate.lack = (!channel_is_safe(candidate.transport)).then(|| NO_SNAPSHOT.to_owned());
        }
        channels
    }

    /// The channels, without those that take more modules than another that is as good: all but a serial line are.
    fn cheapest_channels(&self) -> Vec<Candidate<Channel>> {
        let good = self.channel.iter().filter(|other| other.transport != Channel::Serial && other.is_usable());
        let cheapest = good.min_by_key(|candidate| candidate.modules);
        let mut channels = self.channel.clone();
        for candidate in channels.iter_mut().filter(|candidate| candidate.is_usable()) {
            if let Some(cheapest) = cheapest.filter(|cheapest| cheapest.modules < candidate.modules) {
                let Candidate { transport: other, modules, .. } = cheapest;
                candidate.lack = Some(format!(
                    "the guest would load {} modules for it, and {modules} for `{other}`",
                    candidate.modules
                ));
            }
        }
        channels
    }

    /// The shares; without those whose VMs have no snapshot, where there is one that does not keep them from it.
    fn snapshot_safe_shares(&self) -> Vec<Candidate<Share>> {
        let is_safe =
            |candidate: &Candidate<Share>| candidate.transport != Share::Packed && share_is_safe(candidate.transport);
        let mut shares = self.share.clone();
        if shares.iter().any(|candidate| candidate.is_usable() && is_safe(candidate)) {
            for candidate in shares.iter_mut().filter(|candidate| candidate.is_usable() && !is_safe(candidate)) {
                candidate.lack = Some(NO_SNAPSHOT.to_owned());
            }
        }
        shares
    }
}

/// The first candidate that nothing speaks against, or the forced one.
fn pick<T: Copy + PartialEq + std::fmt::Display>(
    part: &str,
    variable: &str,
    candidates: &[Candidate<T>],
    forced: Option<T>,
    passed_over: &mut Vec<String>,
) -> Result<T> {
    let mut better = Vec::new();
    for Candidate { transport, lack, .. } in candidates {
        match (lack, forced) {
            (_, Some(forced)) if forced != *transport => {}
            (None, _) => {
                passed_over.append(&mut better);
                return Ok(*transport);
            }
            (Some(why), Some(_)) => {
                return Err(Error::new(ErrorKind::Boot, format!("the {part} `{transport}` cannot be used: {why}"))
                    .with_hint(format!("unset {variable} to let lvh choose")));
            }
            (Some(why), None) => better.push(format!("{part} `{transport}` not used: {why}")),
        }
    }
    Err(Error::new(ErrorKind::Boot, format!("no {part} can be used: {}", better.join("; "))))
}

fn host_lacks_channel(host: HostOffers, channel: Channel) -> Option<String> {
    let (has, lack) = match channel {
        Channel::VhostVsock => (host.vhost_vsock, "`/dev/vhost-vsock` cannot be opened on this machine"),
        Channel::Serial => (host.second_serial, "the machine type has one serial port"),
        // Our own process serves them.
        Channel::VhostUserVsock | Channel::VirtioSerial => (true, ""),
    };
    (!has).then(|| lack.to_owned())
}

/// What the guest needs for a channel, in load order.
pub(crate) fn channel_drivers(channel: Channel) -> Vec<Driver> {
    match channel {
        Channel::VhostVsock | Channel::VhostUserVsock => {
            vec![PCI, Driver::new("vmw_vsock_virtio_transport", "VIRTIO_VSOCKETS", 3)]
        }
        Channel::VirtioSerial => vec![PCI, Driver::new("virtio_console", "VIRTIO_CONSOLE", 1)],
        Channel::Serial => vec![Driver { presumed: true, ..Driver::new("8250", "SERIAL_8250", 1) }],
    }
}

/// What the guest needs for a share, in load order.
pub(crate) fn share_drivers(share: Share) -> Vec<Driver> {
    let overlay = Driver::new("overlay", "OVERLAY_FS", 1);
    match share {
        Share::Virtiofs => vec![PCI, Driver::new("virtiofs", "VIRTIO_FS", 2), overlay],
        Share::NineP => {
            vec![PCI, Driver::new("9pnet_virtio", "NET_9P_VIRTIO", 2), Driver::new("9p", "9P_FS", 2), overlay]
        }
        Share::Packed => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: HostOffers = HostOffers { vhost_vsock: true, second_serial: true };

    type Found = std::result::Result<Availability, String>;

    /// A guest that has every driver built in but the `absent` ones.
    fn without(absent: &[&str]) -> impl Fn(&Driver) -> Found {
        move |driver| match absent.contains(&driver.module) {
            true => Err(format!("no {}", driver.module)),
            false => Ok(Availability::BuiltIn),
        }
    }

    /// Chooses with what `host` offers and a guest that lacks the `absent` modules.
    fn check(host: HostOffers, absent: &[&str], expected: (Channel, Share)) {
        let transport = Candidates::survey(host, without(absent)).choose_from(None, None, false).unwrap();
        assert_eq!((transport.channel, transport.share), expected, "without {absent:?}");
    }

    /// Chooses the channel of a guest that has the `loaded` drivers as modules and all others built in.
    fn check_modules(loaded: &[&str], expected: Channel) {
        let find = |driver: &Driver| match loaded.contains(&driver.module) {
            true => Ok(Availability::Module),
            false => Ok(Availability::BuiltIn),
        };
        let candidates = Candidates::survey(HostOffers { vhost_vsock: false, ..EVERYTHING }, find);
        let transport = candidates.choose_from(None, None, false).unwrap();
        assert_eq!(transport.channel, expected, "with {loaded:?}");
        let forced = candidates.choose_from(Some(Channel::VhostUserVsock), None, false).unwrap();
        assert_eq!(forced.channel, Channel::VhostUserVsock);
    }

    #[test]
    fn of_channels_that_are_as_good_the_one_with_fewer_modules_is_taken() {
        let (vsock, console, pci) = ("vmw_vsock_virtio_transport", "virtio_console", "virtio_pci");
        check_modules(&[], Channel::VhostUserVsock);
        check_modules(&[console], Channel::VhostUserVsock);
        check_modules(&[vsock], Channel::VirtioSerial);
        check_modules(&[vsock, console, pci], Channel::VirtioSerial);
    }

    #[test]
    fn the_best_that_both_sides_have_is_taken() {
        let in_process = HostOffers { vhost_vsock: false, ..EVERYTHING };
        check(EVERYTHING, &[], (Channel::VhostVsock, Share::Virtiofs));
        check(in_process, &[], (Channel::VhostUserVsock, Share::Virtiofs));
        check(in_process, &["vmw_vsock_virtio_transport", "virtiofs"], (Channel::VirtioSerial, Share::NineP));
        check(in_process, &["virtiofs"], (Channel::VhostUserVsock, Share::NineP));
        check(in_process, &["vmw_vsock_virtio_transport"], (Channel::VirtioSerial, Share::Virtiofs));
        check(in_process, &["vmw_vsock_virtio_transport", "virtio_console"], (Channel::Serial, Share::Virtiofs));
        check(in_process, &["overlay"], (Channel::VhostUserVsock, Share::Packed));
        check(in_process, &["virtio_pci"], (Channel::Serial, Share::Packed));
    }

    #[test]
    fn a_vm_that_can_be_resumed_is_preferred() {
        let vsock_as_module = |driver: &Driver| match driver.module {
            "vmw_vsock_virtio_transport" => Ok(Availability::Module),
            _ => Ok(Availability::BuiltIn),
        };
        let candidates = Candidates::survey(EVERYTHING, vsock_as_module);
        let share = |channel, share, warm| candidates.choose_from(channel, share, warm).unwrap().share;
        assert_eq!(share(None, None, true), Share::NineP);
        assert_eq!(share(None, None, false), Share::Virtiofs);
        assert_eq!(share(None, Some(Share::Virtiofs), true), Share::Virtiofs);
        assert_eq!(share(Some(Channel::VhostUserVsock), None, true), Share::Virtiofs);
        let no_9p = Candidates::survey(EVERYTHING, without(&["9p", "vmw_vsock_virtio_transport"]));
        assert_eq!(no_9p.choose_from(None, None, true).unwrap().share, Share::Virtiofs);
    }

    /// What a VM that is to resume gets, of a guest that has vsock as modules and lacks the `absent` ones.
    fn check_warm(host: HostOffers, absent: &[&str], share: Option<Share>, expected: (Channel, Share)) {
        let find = |driver: &Driver| match (absent.contains(&driver.module), driver.module) {
            (true, module) => Err(format!("no {module}")),
            (false, "vmw_vsock_virtio_transport") => Ok(Availability::Module),
            (false, _) => Ok(Availability::BuiltIn),
        };
        let transport = Candidates::survey(host, find).choose_from(None, share, true).unwrap();
        assert_eq!((transport.channel, transport.share), expected, "without {absent:?}, {share:?}");
    }

    #[test]
    fn a_vm_that_can_be_resumed_has_the_best_channel_that_lets_it() {
        let in_process = HostOffers { vhost_vsock: false, ..EVERYTHING };
        check_warm(EVERYTHING, &[], None, (Channel::VhostVsock, Share::NineP));
        check_warm(EVERYTHING, &[], Some(Share::Packed), (Channel::VhostVsock, Share::Packed));
        check_warm(in_process, &[], None, (Channel::VirtioSerial, Share::NineP));
        check_warm(in_process, &["virtio_console"], None, (Channel::VhostUserVsock, Share::Virtiofs));
        // What cannot be resumed anyway takes what costs its boot least.
        check_warm(EVERYTHING, &[], Some(Share::Virtiofs), (Channel::VirtioSerial, Share::Virtiofs));
        check_warm(EVERYTHING, &["9p"], None, (Channel::VirtioSerial, Share::Virtiofs));
    }

    #[test]
    fn what_is_forced_is_refused_with_its_reason() {
        let error =
            Candidates::survey(EVERYTHING, without(&["9p"])).choose_from(None, Some(Share::NineP), false).unwrap_err();
        assert_eq!(error.report(), "the share `9p` cannot be used: no 9p\n\nhint: unset LVH_SHARE to let lvh choose");
    }

    #[test]
    fn better_candidates_are_told_with_what_they_lack() {
        let bare = |driver: &Driver| match driver.presumed {
            true => Ok(Availability::BuiltIn),
            false => Err(format!("no {}", driver.module)),
        };
        let candidates = Candidates::survey(EVERYTHING, bare);
        let transport = candidates.choose_from(None, None, false).unwrap();
        assert_eq!((transport.channel, transport.share), (Channel::Serial, Share::Packed));
        assert_eq!(transport.passed_over.len(), 5);
        assert_eq!(transport.passed_over[0], "channel `vhost-vsock` not used: no virtio_pci");
        let forced = candidates.choose_from(Some(Channel::Serial), Some(Share::Packed), false).unwrap();
        assert_eq!(forced.passed_over, [""; 0], "who forces one knows");

        let none = Candidates::survey(EVERYTHING, |driver| Err(format!("no {}", driver.module)));
        let error = none.choose_from(None, None, false).unwrap_err();
        assert!(error.to_string().starts_with("no channel can be used: channel `vhost-vsock` not used: "), "{error}");
        assert!(error.to_string().ends_with("; channel `serial` not used: no 8250"), "{error}");
    }
}
