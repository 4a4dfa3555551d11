//! The message loop.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::agent::caches::Caches;
use crate::agent::channel::Sender;
use crate::agent::command::Running;
use crate::agent::host::Host;
use crate::agent::kernel_log::Log;
use crate::agent::machine::Machine;
use crate::agent::mirror::Mirrors;
use crate::agent::stacks;
use crate::agent::window::Windows;
use crate::guest::protocol::{self, Command, Exit, PROFILES, ToGuest, ToHost};
use crate::lock;
use crate::pid1::layer::Layers;
use crate::pid1::reaper;

/// How long a killed command may stay before the kernel is asked why.
const STUBBORN: Duration = Duration::from_secs(3);

type Commands = Arc<Mutex<HashMap<u32, Running>>>;

/// Does what the host asks until it says `Shutdown`, or closes the channel. Then no command runs any more; gives the number of the
/// goodbye, where there was one.
pub fn run(channel: &mut impl Read, sender: &Sender, log: &Log, layers: Layers) -> io::Result<Option<u32>> {
    reaper::run();
    prepare_profiles();
    let commands = Commands::default();
    let served = serve(channel, sender, log, layers, &commands);
    lock(&commands).values().for_each(Running::kill);
    served
}

fn serve(
    channel: &mut impl Read,
    sender: &Sender,
    log: &Log,
    layers: Layers,
    commands: &Commands,
) -> io::Result<Option<u32>> {
    let (mirrors, caches) = (Mirrors::new(layers.into_map()), Caches::new());
    let host =
        Host { sender: sender.clone(), log: log.clone(), windows: Windows::default(), machine: Machine::default() };
    while let Some(message) = protocol::receive(channel)? {
        match message {
            ToGuest::Prepare { .. } | ToGuest::Setup { .. } | ToGuest::Clock { .. } => {
                return Err(io::Error::other("Setup after Ready"));
            }
            ToGuest::Run { id, command } => start(id, &command, commands, &host),
            ToGuest::Stdin { id, data } => with(commands, id, |running| running.stdin(data)),
            ToGuest::Resize { id, size } => with(commands, id, |running| running.resize(size)),
            ToGuest::Signal { id, signal } => with(commands, id, |running| running.signal(signal)),
            ToGuest::Kill { id } => {
                with(commands, id, |running| running.kill());
                explain_if_it_stays(id, commands);
            }
            ToGuest::Explain { id } => with(commands, id, |running| {
                let lines = running.stacks();
                let asked = running.ask_for_stacks();
                sender.send(&ToHost::Stacks { id, lines, asked });
            }),
            ToGuest::Consumed { id, bytes } => host.windows.grow(id, bytes),
            ToGuest::Change { dir, path, change } => mirrors.apply(&dir, &path, change),
            ToGuest::Refresh {} => caches.forget(),
            ToGuest::Ping { id } => sender.send(&ToHost::Pong { id }),
            ToGuest::Collect { id, dir, take } => mirrors.collect(id, dir, take, sender, &host.windows),
            ToGuest::Shutdown { id } => return Ok(Some(id)),
        }
    }
    Ok(None)
}

/// Makes the place for coverage profiles; a command may give up root before it leaves one. That it cannot is no failure: the
/// runtime that writes them makes it too.
fn prepare_profiles() {
    let _ = fs::create_dir(PROFILES);
    let _ = fs::set_permissions(PROFILES, fs::Permissions::from_mode(0o1777));
}

/// A message for a command that has just ended is no error: they cross on the way.
fn with(commands: &Commands, id: u32, act: impl FnOnce(&mut Running)) {
    if let Some(running) = lock(commands).get_mut(&id) {
        act(running);
    }
}

/// Has the kernel log where its tasks wait if a killed command is still there after a while, where it does not tell otherwise:
/// the host will give it, and the VM, up.
fn explain_if_it_stays(id: u32, commands: &Commands) {
    if stacks::are_known() {
        return;
    }
    let commands = commands.clone();
    thread::spawn(move || {
        thread::sleep(STUBBORN);
        if lock(&commands).get(&id).is_some_and(Running::is_alive) {
            // `w` shows what is in uninterruptible sleep (Documentation/admin-guide/sysrq.rst).
            let _ = fs::write("/proc/sysrq-trigger", "w");
        }
    });
}

fn start(id: u32, command: &Command, commands: &Commands, host: &Host) {
    // Held until the command is entered, so that its end cannot be handled before.
    let mut entered = lock(commands);
    let on_end = {
        let commands = commands.clone();
        move || drop(lock(&commands).remove(&id))
    };
    match Running::start(id, command, host, on_end) {
        Ok(running) => drop(entered.insert(id, running)),
        Err(error) => {
            let exit = Exit::NotStarted { error: not_started(command, &error) };
            host.sender.send(&ToHost::Exited { id, exit });
        }
    }
}

/// The kernel says of a script without its interpreter what it says of no script.
fn not_started(command: &Command, error: &io::Error) -> String {
    let program = command.argv.first().map(|program| Path::new(OsStr::from_bytes(&program.0)));
    let file = |program: &Path| Path::new(OsStr::from_bytes(&command.cwd.0)).join(program);
    let is_there = program.is_some_and(|program| program.components().nth(1).is_some() && file(program).exists());
    match error.kind() {
        io::ErrorKind::NotFound if is_there => format!("{error}: the file is there, but not its interpreter or loader"),
        _ => error.to_string(),
    }
}
