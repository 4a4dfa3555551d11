//! A terminal for a command.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::guest::protocol::TerminalSize;
use crate::sys;

const O_NOCTTY: i32 = 0o400;

/// Both ends of a new terminal of this size: ours, and the command's.
pub fn open(size: TerminalSize) -> io::Result<(File, File)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(O_NOCTTY);
    let master = options.open("/dev/ptmx")?;
    let number = sys::unlock_terminal(&master)?;
    let slave = options.open(format!("/dev/pts/{number}"))?;
    resize(&master, size)?;
    Ok((master, slave))
}

/// Tells the terminal its size, and with it whatever runs there.
pub fn resize(master: &File, size: TerminalSize) -> io::Result<()> {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    sys::set_window_size(master.as_raw_fd(), short(size.rows), short(size.columns))
}
