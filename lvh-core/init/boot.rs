//! From the kernel's hand-over to the message loop.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::agent::channel::{self, Sender};
use crate::agent::clock::Clock;
use crate::agent::{caches, kernel_log, serve};
use crate::guest::protocol::{self, Setup, ToGuest, ToHost, VERSION};
use crate::pid1::layer::Layers;
use crate::pid1::{devices, disk, handover, modules, mounts, root};
use crate::sys;

/// Brings the guest up and serves the host until it is done.
pub fn run() -> io::Result<()> {
    kernel_log::announce();
    if let Some(tag) = disk::order() {
        mounts::early()?;
        return disk::boot(&tag);
    }
    // The kernel starts us in none, and all that we start would be in none too.
    sys::lead_session();
    mounts::early()?;
    caches::forget_quietly();
    devices::make_nodes();
    modules::load_all(Path::new("/lvh/channel"))?;
    let name = channel_name()?;
    let channel = channel::open(&name)?;
    modules::load_all(Path::new("/lvh/modules"))?;
    let prepared = root::prepare();
    let (mut channel, sender, setup) = greet(channel, &name)?;
    // That it cannot be set is news, not the end: a test may not care about it.
    let clock = Clock::ask(&mut channel, &sender)?.set().map_err(|error| format!("clock not set: {error}"));
    let built = prepared
        .and_then(|lacking| root::build(&setup).map(|(warnings, layers)| ([lacking, warnings].concat(), layers)));
    let built = built.and_then(|built| handover::hand_over(&setup.init).map(|()| built));
    let log = kernel_log::follow(&sender, !name.starts_with("tty:"))?;
    let layers = match built {
        Ok((warnings, layers)) => {
            let warnings = clock.err().into_iter().chain(warnings).collect();
            sender.send(&ToHost::Ready { warnings });
            layers
        }
        // Power-off would drop what the device has not passed on: the host ends the VM when it has read this.
        Err(error) => {
            sender.send(&ToHost::Failed { message: error.to_string() });
            Layers::new()
        }
    };
    serve::run(channel, &sender, &log, layers)
}

/// Says hello, and waits for what the host has us build. A snapshot is taken meanwhile; the guest then goes on any number
/// of times, and where QEMU has reset its connection it begins again with another.
fn greet(mut channel: File, name: &str) -> io::Result<(File, Sender, Setup)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned();
    loop {
        let sender = Sender::new(channel.try_clone()?);
        sender.send(&ToHost::Hello { version: VERSION, release: release.clone() });
        match protocol::receive(&mut channel) {
            Ok(Some(ToGuest::Setup { setup })) => return Ok((channel, sender, setup)),
            Ok(_) => return Err(io::Error::other("the host did not begin with Setup")),
            Err(error) if name.starts_with("vsock:") && channel::is_reset(&error) => channel = channel::open(name)?,
            Err(error) => return Err(error),
        }
    }
}

/// What follows `--` on the kernel's command line reaches us as arguments.
fn channel_name() -> io::Result<String> {
    std::env::args()
        .find_map(|argument| argument.strip_prefix("channel=").map(str::to_owned))
        .ok_or_else(|| io::Error::other("no channel= on the kernel command line"))
}
