//! Which rung of each ladder a VM stands on: what the host has, what the guest's kernel has, what the user wants.

use std::fs::File;

use crate::config::{Channel, Share};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Availability, Kernel};
use crate::vm::qemu::machine::Arch;
use crate::vm::snapshot::start;
use crate::vm::spec::VmSpec;
use crate::vm::transport::drivers::Drivers;
use crate::vm::transport::served;

/// What the host can serve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostOffers {
    /// `/dev/vhost-vsock` can be opened.
    pub vhost_vsock: bool,
    /// Our own vhost-user devices are compiled in and the platform has them.
    pub vhost_user: bool,
    /// The machine type has a second serial port.
    pub second_serial: bool,
}

impl HostOffers {
    /// What this machine serves a guest of `arch`.
    pub(crate) fn here(arch: Arch) -> Self {
        Self {
            vhost_vsock: File::options().read(true).write(true).open("/dev/vhost-vsock").is_ok(),
            vhost_user: served::AVAILABLE,
            second_serial: arch.second_serial().is_some(),
        }
    }
}

/// The chosen rungs, and why the better ones were passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rungs {
    /// How host and guest talk.
    pub channel: Channel,
    /// How the guest sees the host's files.
    pub share: Share,
    /// A line for each better rung that was not taken.
    pub passed_over: Vec<String>,
}

/// Both ladders, the best rung first, as this machine and one kernel have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladders {
    /// How host and guest can talk.
    pub channel: Vec<Rung<Channel>>,
    /// How the guest can see the host's files.
    pub share: Vec<Rung<Share>>,
}

/// A rung, and whether it can be stood on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung<R> {
    /// Which one it is.
    pub rung: R,
    /// Why it cannot be used; `None` where it can.
    pub lack: Option<String>,
    /// How many modules the guest loads for it. Each takes as long as a twentieth of a boot under TCG: nearly all of that
    /// is the check of its signature.
    pub modules: usize,
}

impl Ladders {
    /// Reads what this machine and `kernel` offer; nothing is started.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub fn of(kernel: &Kernel) -> Result<Self> {
        let drivers = Drivers::of(kernel)?;
        Ok(Self::survey(HostOffers::here(Arch::host()), |driver| drivers.find(driver)))
    }

    /// `find` says how the guest's kernel has a driver, or why it has not.
    pub(crate) fn survey(
        host: HostOffers,
        find: impl Fn(&Driver) -> std::result::Result<Availability, String>,
    ) -> Self {
        let rung = |lack: Option<String>, drivers: Vec<Driver>| {
            let found: Vec<_> = drivers.iter().map(|driver| (find(driver), driver.modules)).collect();
            let lack = lack.or_else(|| found.iter().find_map(|(found, _)| found.as_ref().err().cloned()));
            let loaded = found.iter().filter(|(found, _)| *found == Ok(Availability::Module));
            (lack, loaded.map(|(_, modules)| modules).sum())
        };
        let channel = Channel::ALL.iter().map(|&channel| {
            let (lack, modules) = rung(host_lacks_channel(host, channel), channel_drivers(channel));
            Rung { rung: channel, lack, modules }
        });
        let share = Share::ALL.iter().map(|&share| {
            let (lack, modules) = rung(host_lacks_share(host, share), share_drivers(share));
            Rung { rung: share, lack, modules }
        });
        Self { channel: channel.collect(), share: share.collect() }
    }

    /// Chooses both rungs; a forced one is taken or refused, never replaced.
    ///
    /// # Errors
    /// A forced rung that host or guest does not have, with the reason; a ladder without a rung.
    pub fn choose(&self, spec: &VmSpec) -> Result<Rungs> {
        self.choose_from(spec.channel, spec.share, spec.warm_start)
    }

    fn choose_from(&self, channel: Option<Channel>, share: Option<Share>, warm_start: bool) -> Result<Rungs> {
        let mut passed_over = Vec::new();
        let channels = if channel.is_some() { self.channel.clone() } else { self.cheapest_channels() };
        let channel = climb("channel", "LVH_CHANNEL", &channels, channel, &mut passed_over)?;
        let keeps = warm_start && share.is_none();
        let shares = if keeps { self.shares_to_keep(channel) } else { self.share.clone() };
        let share = climb("share", "LVH_SHARE", &shares, share, &mut passed_over)?;
        Ok(Rungs { channel, share, passed_over })
    }
}

impl Ladders {
    /// The channels, without those that take more modules than another that is as good: all but a serial line are.
    fn cheapest_channels(&self) -> Vec<Rung<Channel>> {
        let good = self.channel.iter().filter(|rung| rung.rung != Channel::Serial && rung.lack.is_none());
        let cheapest = good.min_by_key(|rung| rung.modules);
        let mut channels = self.channel.clone();
        for rung in channels.iter_mut().filter(|rung| rung.lack.is_none()) {
            if let Some(cheapest) = cheapest.filter(|cheapest| cheapest.modules < rung.modules) {
                let Rung { rung: other, modules, .. } = cheapest;
                rung.lack =
                    Some(format!("the guest would load {} modules for it, and {modules} for `{other}`", rung.modules));
            }
        }
        channels
    }

    /// The shares; without those that keep a VM on this channel from being kept, where there is one that does not.
    fn shares_to_keep(&self, channel: Channel) -> Vec<Rung<Share>> {
        let keeps = |rung: &Rung<Share>| start::is_possible(channel, rung.rung);
        let mut shares = self.share.clone();
        if shares.iter().any(|rung| rung.lack.is_none() && keeps(rung)) {
            for rung in shares.iter_mut().filter(|rung| rung.lack.is_none() && !keeps(rung)) {
                rung.lack = Some("a VM that has it cannot be kept for the next start".to_owned());
            }
        }
        shares
    }
}

/// The first rung that nothing speaks against, or the forced one.
fn climb<R: Copy + PartialEq + std::fmt::Display>(
    ladder: &str,
    variable: &str,
    rungs: &[Rung<R>],
    forced: Option<R>,
    passed_over: &mut Vec<String>,
) -> Result<R> {
    let mut better = Vec::new();
    for Rung { rung, lack, .. } in rungs {
        match (lack, forced) {
            (_, Some(forced)) if forced != *rung => {}
            (None, _) => {
                passed_over.append(&mut better);
                return Ok(*rung);
            }
            (Some(why), Some(_)) => {
                return Err(Error::new(ErrorKind::Boot, format!("the {ladder} `{rung}` cannot be used: {why}"))
                    .with_hint(format!("unset {variable} to let lvh choose")));
            }
            (Some(why), None) => better.push(format!("{ladder} `{rung}` not used: {why}")),
        }
    }
    Err(Error::new(ErrorKind::Boot, format!("no {ladder} can be used: {}", better.join("; "))))
}

fn host_lacks_channel(host: HostOffers, rung: Channel) -> Option<String> {
    let (has, lack) = match rung {
        Channel::VhostVsock => (host.vhost_vsock, "`/dev/vhost-vsock` cannot be opened on this machine"),
        Channel::VhostUserVsock => (host.vhost_user, "lvh was built without its feature `vhost`, or not for Linux"),
        Channel::Serial => (host.second_serial, "the machine type has one serial port"),
        Channel::VirtioSerial => (true, ""),
    };
    (!has).then(|| lack.to_owned())
}

fn host_lacks_share(host: HostOffers, rung: Share) -> Option<String> {
    (rung == Share::Virtiofs && !host.vhost_user)
        .then(|| "lvh was built without its feature `vhost`, or not for Linux".to_owned())
}

/// A driver that a rung needs in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Module name, as `modprobe` takes it.
    pub module: &'static str,
    /// The kernel option that builds it, without `CONFIG_`.
    pub option: &'static str,
    /// A kernel of which nothing is known is taken to have it.
    pub presumed: bool,
    /// How many modules it is with those that it needs, in Debian's kernels: what the choice goes by.
    pub modules: usize,
}

impl Driver {
    const fn new(module: &'static str, option: &'static str, modules: usize) -> Self {
        Self { module, option, presumed: false, modules }
    }
}

const PCI: Driver = Driver::new("virtio_pci", "VIRTIO_PCI", 5);

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

    const EVERYTHING: HostOffers = HostOffers { vhost_vsock: true, vhost_user: true, second_serial: true };

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
        let rungs = Ladders::survey(host, without(absent)).choose_from(None, None, false).unwrap();
        assert_eq!((rungs.channel, rungs.share), expected, "without {absent:?}");
    }

    /// Chooses the channel of a guest that has the `loaded` drivers as modules and all others built in.
    fn check_modules(loaded: &[&str], expected: Channel) {
        let find = |driver: &Driver| match loaded.contains(&driver.module) {
            true => Ok(Availability::Module),
            false => Ok(Availability::BuiltIn),
        };
        let ladders = Ladders::survey(HostOffers { vhost_vsock: false, ..EVERYTHING }, find);
        let rungs = ladders.choose_from(None, None, false).unwrap();
        assert_eq!(rungs.channel, expected, "with {loaded:?}");
        let forced = ladders.choose_from(Some(Channel::VhostUserVsock), None, false).unwrap();
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
    fn the_best_rung_that_both_sides_have_is_taken() {
        let plain = HostOffers { vhost_vsock: false, vhost_user: false, ..EVERYTHING };
        let in_process = HostOffers { vhost_vsock: false, ..EVERYTHING };
        check(EVERYTHING, &[], (Channel::VhostVsock, Share::Virtiofs));
        check(in_process, &[], (Channel::VhostUserVsock, Share::Virtiofs));
        check(plain, &[], (Channel::VirtioSerial, Share::NineP));
        check(in_process, &["virtiofs"], (Channel::VhostUserVsock, Share::NineP));
        check(in_process, &["vmw_vsock_virtio_transport"], (Channel::VirtioSerial, Share::Virtiofs));
        check(in_process, &["vmw_vsock_virtio_transport", "virtio_console"], (Channel::Serial, Share::Virtiofs));
        check(in_process, &["overlay"], (Channel::VhostUserVsock, Share::Packed));
        check(in_process, &["virtio_pci"], (Channel::Serial, Share::Packed));
    }

    #[test]
    fn a_vm_that_can_be_kept_is_preferred() {
        let vsock_as_module = |driver: &Driver| match driver.module {
            "vmw_vsock_virtio_transport" => Ok(Availability::Module),
            _ => Ok(Availability::BuiltIn),
        };
        let ladders = Ladders::survey(EVERYTHING, vsock_as_module);
        let share = |channel, share, warm| ladders.choose_from(channel, share, warm).unwrap().share;
        assert_eq!(share(None, None, true), Share::NineP);
        assert_eq!(share(None, None, false), Share::Virtiofs);
        assert_eq!(share(None, Some(Share::Virtiofs), true), Share::Virtiofs);
        assert_eq!(share(Some(Channel::VhostUserVsock), None, true), Share::Virtiofs);
        let no_9p = Ladders::survey(EVERYTHING, without(&["9p", "vmw_vsock_virtio_transport"]));
        assert_eq!(no_9p.choose_from(None, None, true).unwrap().share, Share::Virtiofs);
    }

    #[test]
    fn a_forced_rung_is_refused_with_its_reason() {
        let error =
            Ladders::survey(EVERYTHING, without(&["9p"])).choose_from(None, Some(Share::NineP), false).unwrap_err();
        assert_eq!(error.report(), "the share `9p` cannot be used: no 9p\n\nhint: unset LVH_SHARE to let lvh choose");
    }

    #[test]
    fn better_rungs_are_told_with_what_they_lack() {
        let bare = |driver: &Driver| match driver.presumed {
            true => Ok(Availability::BuiltIn),
            false => Err(format!("no {}", driver.module)),
        };
        let ladders = Ladders::survey(EVERYTHING, bare);
        let rungs = ladders.choose_from(None, None, false).unwrap();
        assert_eq!((rungs.channel, rungs.share), (Channel::Serial, Share::Packed));
        assert_eq!(rungs.passed_over.len(), 5);
        assert_eq!(rungs.passed_over[0], "channel `vhost-vsock` not used: no virtio_pci");
        let forced = ladders.choose_from(Some(Channel::Serial), Some(Share::Packed), false).unwrap();
        assert_eq!(forced.passed_over, [""; 0], "who forces a rung knows");

        let none = Ladders::survey(EVERYTHING, |driver| Err(format!("no {}", driver.module)));
        let error = none.choose_from(None, None, false).unwrap_err();
        assert!(error.to_string().starts_with("no channel can be used: channel `vhost-vsock` not used: "), "{error}");
        assert!(error.to_string().ends_with("; channel `serial` not used: no 8250"), "{error}");
    }
}
