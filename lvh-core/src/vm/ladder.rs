//! Which rung of each ladder a VM stands on: what the host has, what the guest's kernel has, what the user wants.

use crate::config::{Channel, Share};
use crate::error::{Error, ErrorKind, Result};

/// What the host can serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostOffers {
    /// `/dev/vhost-vsock` can be opened.
    pub vhost_vsock: bool,
    /// Our own vhost-user devices are compiled in and the platform has them.
    pub vhost_user: bool,
    /// The machine type has a second serial port.
    pub second_serial: bool,
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

/// Chooses both rungs; a forced one is taken or refused, never replaced. `guest_has` says whether the guest's kernel
/// brings a driver, built in or as a module.
///
/// # Errors
/// A forced rung that host or guest does not have, with the reason.
pub(super) fn choose(
    host: HostOffers,
    guest_has: impl Fn(&Driver) -> bool,
    channel: Option<Channel>,
    share: Option<Share>,
) -> Result<Rungs> {
    let mut passed_over = Vec::new();
    let channel = climb("channel", "LVH_CHANNEL", Channel::ALL, channel, &mut passed_over, |rung| {
        host_lacks_channel(host, rung).or_else(|| guest_lacks(&guest_has, &channel_drivers(rung)))
    })?;
    let share = climb("share", "LVH_SHARE", Share::ALL, share, &mut passed_over, |rung| {
        host_lacks_share(host, rung).or_else(|| guest_lacks(&guest_has, &share_drivers(rung)))
    })?;
    Ok(Rungs { channel, share, passed_over })
}

/// The first rung that nothing speaks against, or the forced one.
fn climb<R: Copy + std::fmt::Display>(
    ladder: &str,
    variable: &str,
    rungs: &[R],
    forced: Option<R>,
    passed_over: &mut Vec<String>,
    lacks: impl Fn(R) -> Option<String>,
) -> Result<R> {
    if let Some(rung) = forced {
        return match lacks(rung) {
            None => Ok(rung),
            Some(why) => Err(Error::new(ErrorKind::Boot, format!("the {ladder} `{rung}` cannot be used: {why}"))
                .with_hint(format!("unset {variable} to let lvh choose"))),
        };
    }
    for &rung in rungs {
        match lacks(rung) {
            None => return Ok(rung),
            Some(why) => passed_over.push(format!("{ladder} `{rung}` not used: {why}")),
        }
    }
    Err(Error::new(ErrorKind::Boot, format!("no {ladder} can be used: {}", passed_over.join("; "))))
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

fn guest_lacks(guest_has: impl Fn(&Driver) -> bool, drivers: &[Driver]) -> Option<String> {
    let absent = drivers.iter().find(|driver| !guest_has(driver))?;
    Some(format!("the guest's kernel has no {} (CONFIG_{})", absent.module, absent.option))
}

/// A driver that a rung needs in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Driver {
    /// Module name, as `modprobe` takes it.
    pub module: &'static str,
    /// The kernel option that builds it, without `CONFIG_`.
    pub option: &'static str,
}

const PCI: Driver = Driver { module: "virtio_pci", option: "VIRTIO_PCI" };

/// What the guest needs for a channel, in load order.
pub(super) fn channel_drivers(channel: Channel) -> Vec<Driver> {
    match channel {
        Channel::VhostVsock | Channel::VhostUserVsock => {
            vec![PCI, Driver { module: "vmw_vsock_virtio_transport", option: "VIRTIO_VSOCKETS" }]
        }
        Channel::VirtioSerial => vec![PCI, Driver { module: "virtio_console", option: "VIRTIO_CONSOLE" }],
        Channel::Serial => Vec::new(),
    }
}

/// What the guest needs for a share, in load order.
pub(super) fn share_drivers(share: Share) -> Vec<Driver> {
    let overlay = Driver { module: "overlay", option: "OVERLAY_FS" };
    match share {
        Share::Virtiofs => vec![PCI, Driver { module: "virtiofs", option: "VIRTIO_FS" }, overlay],
        Share::NineP => vec![
            PCI,
            Driver { module: "9pnet_virtio", option: "NET_9P_VIRTIO" },
            Driver { module: "9p", option: "9P_FS" },
            overlay,
        ],
        Share::Packed => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: HostOffers = HostOffers { vhost_vsock: true, vhost_user: true, second_serial: true };

    /// Chooses with what `host` offers and a guest that lacks the `absent` modules.
    fn check(host: HostOffers, absent: &[&str], expected: (Channel, Share)) {
        let rungs = choose(host, |driver| !absent.contains(&driver.module), None, None).unwrap();
        assert_eq!((rungs.channel, rungs.share), expected, "without {absent:?}");
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
    fn a_forced_rung_is_refused_with_its_reason() {
        let error = choose(EVERYTHING, |driver| driver.module != "9p", None, Some(Share::NineP)).unwrap_err();
        assert_eq!(
            error.report(),
            "the share `9p` cannot be used: the guest's kernel has no 9p (CONFIG_9P_FS)\n\n\
             hint: unset LVH_SHARE to let lvh choose"
        );
    }
}
