//! From the kernel's hand-over to the message loop.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::agent::channel::{self, Sender};
use crate::agent::clock::Clock;
use crate::agent::kernel_log::{self, Log};
use crate::agent::{caches, serve};
use crate::guest::protocol::{self, Failure, Preparation, ToGuest, ToHost};
use crate::pid1::root::{Prepared, of_rootfs};
use crate::pid1::{devices, disk, modules, mounts};
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
    let mut host = Host::greet(channel_name()?)?;
    let ToGuest::Prepare { preparation } = host.receive()? else { return Err(io::Error::other("no Prepare")) };
    let prepared = prepare(preparation);
    let log = Log::open(!host.name.starts_with("tty:"))?;
    match prepared {
        Ok(prepared) => set_up(host, &log, prepared),
        Err(failure) => fail(host, &log, failure),
    }
}

/// Does what needs nothing of the host's.
fn prepare(preparation: Preparation) -> Result<Prepared, Failure> {
    modules::load_all(Path::new("/lvh/modules")).map_err(of_rootfs)?;
    Prepared::make(preparation)
}

/// Builds the rootfs, and serves.
fn set_up(mut host: Host, log: &Log, prepared: Prepared) -> io::Result<()> {
    host.sender.send(&ToHost::Prepared {});
    // A snapshot is taken meanwhile: the guest then goes on any number of times.
    let ToGuest::Setup { setup } = host.receive()? else { return Err(io::Error::other("no Setup")) };
    // That it cannot be set is news, not the end: a test may not care about it.
    let clock = Clock::ask(&mut host.channel, &host.sender)?.set().map_err(|error| format!("clock not set: {error}"));
    match prepared.build(&setup) {
        Ok((warnings, layers)) => {
            log.follow(&host.sender);
            host.sender.send(&ToHost::Ready { warnings: clock.err().into_iter().chain(warnings).collect() });
            if let Some(id) = serve::run(&mut host.channel, &host.sender, log, layers)? {
                sys::sync();
                log.pass_on(&host.sender);
                host.sender.send(&ToHost::Bye { id });
            }
            // Power-off would drop what the device has not passed on: the host ends the VM when it has read all.
            while let Ok(Some::<ToGuest>(_)) = protocol::receive(&mut host.channel) {}
            Ok(())
        }
        Err(failure) => fail(host, log, failure),
    }
}

/// Tells why there will be no guest, and waits until the host has read it.
fn fail(mut host: Host, log: &Log, failure: Failure) -> io::Result<()> {
    log.follow(&host.sender);
    host.sender.send(&ToHost::Failed { failure });
    host.receive().map(drop)
}

/// The host, before it has us run anything.
struct Host {
    /// The channel's name.
    name: String,
    channel: File,
    sender: Sender,
}

impl Host {
    /// Opens the channel, and says hello.
    fn greet(name: String) -> io::Result<Self> {
        let channel = channel::open(&name)?;
        let sender = Sender::new(channel.try_clone()?);
        sender.greet()?;
        Ok(Self { name, channel, sender })
    }

    /// What the host says next. When a guest resumes from a snapshot QEMU resets its connection: then it says hello on another.
    fn receive(&mut self) -> io::Result<ToGuest> {
        loop {
            match protocol::receive(&mut self.channel) {
                Ok(message) => return message.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
                Err(error) if self.name.starts_with("vsock:") && channel::is_reset(&error) => {
                    *self = Self::greet(self.name.clone())?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What follows `--` on the kernel's command line reaches us as arguments.
fn channel_name() -> io::Result<String> {
    std::env::args()
        .find_map(|argument| argument.strip_prefix("channel=").map(str::to_owned))
        .ok_or_else(|| io::Error::other("no channel= on the kernel command line"))
}
