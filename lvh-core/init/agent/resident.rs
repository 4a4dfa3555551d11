//! The agent as a service of a machine that boots by itself: on a serial line, for one host after the other.
//!
//! A line does not tell who is at its other end, or that somebody new is. So a host knocks: [`MAGIC`] and a `Ping`, until it has the
//! answer to its last knock; then it goes on as every host does. A knock is no message: it ends whoever was served before. The next host
//! meets this program anew.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::agent::channel::{self, Sender};
use crate::agent::kernel_log::Log;
use crate::agent::serve;
use crate::guest::protocol::{self, MAGIC, ToGuest, ToHost};
use crate::guest::wire::malformed;
use crate::pid1::layer::Layers;

/// How much of [`MAGIC`] stands where a message has its length.
const HEADER: usize = 4;

/// The channel of one that is started as `serve CHANNEL`.
pub fn channel(arguments: impl Iterator<Item = String>) -> Option<String> {
    let mut arguments = arguments.skip(1);
    if arguments.next()? == "serve" { arguments.next() } else { None }
}

/// Serves one host, and begins again.
pub fn run(name: &str) -> io::Result<()> {
    let mut channel = channel::open(name)?;
    match serve(&mut channel) {
        // There is no line any more.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
        Err(error) => crate::complain(&error.to_string()),
        Ok(()) => {}
    }
    drop(channel);
    let program = std::env::args_os().next().ok_or(io::ErrorKind::NotFound)?;
    Err(Command::new(program).args(["serve", name]).exec())
}

fn serve(channel: &mut File) -> io::Result<()> {
    let sender = Sender::new(channel.try_clone()?);
    let begun = answer(channel, &sender)?;
    // What the kernel says is for others to read.
    let log = Log::open(false)?;
    let goodbye = serve::run(&mut begun.chain(channel), &sender, &log, Layers::new())?;
    goodbye.into_iter().for_each(|id| sender.send(&ToHost::Bye { id }));
    Ok(())
}

/// Answers knocks until something else comes: its first bytes.
fn answer(channel: &mut impl Read, sender: &Sender) -> io::Result<io::Cursor<[u8; HEADER]>> {
    find_magic(channel)?;
    loop {
        let Some(ToGuest::Ping { id }) = protocol::receive(channel)? else { return Err(malformed("no knock")) };
        sender.greet()?;
        sender.send(&ToHost::Pong { id });
        let mut header = [0; HEADER];
        channel.read_exact(&mut header)?;
        if header != MAGIC[..HEADER] {
            return Ok(io::Cursor::new(header));
        }
        channel.read_exact(&mut header)?;
        if header != MAGIC[HEADER..] {
            return Err(malformed("no knock"));
        }
    }
}

/// Reads up to and with [`MAGIC`]: what is before it was for somebody else.
fn find_magic(channel: &mut impl Read) -> io::Result<()> {
    let mut last = [0; MAGIC.len()];
    while last != *MAGIC {
        last.rotate_left(1);
        channel.read_exact(&mut last[MAGIC.len() - 1..])?;
    }
    Ok(())
}
