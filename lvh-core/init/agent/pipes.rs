//! The streams of one command: pipes, or a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use crate::agent::channel::Sender;
use crate::agent::host::Host;
use crate::agent::window::Window;
use crate::guest::protocol::{Command, MAX_CHUNK, Stream, TerminalSize, ToHost};
use crate::guest::wire::Bytes;
use crate::sys;

/// The pipes of one command: the guest's ends, and the command's ends until it runs.
pub struct Pipes {
    pub stdin: Option<File>,
    pub readers: Vec<(Stream, File)>,
    /// Our end of its terminal, where it has one.
    pub terminal: Option<File>,
    pub child: Option<ChildEnds>,
}

/// The command's ends.
pub struct ChildEnds {
    pub stdin: Stdio,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub report: Option<OwnedFd>,
}

impl Pipes {
    pub fn new(command: &Command) -> io::Result<Self> {
        let mut pipes = match command.terminal {
            Some(size) => Self::terminal(size)?,
            None => Self::streams(command)?,
        };
        if command.report {
            let (reader, writer) = pipe()?;
            pipes.readers.push((Stream::Report {}, reader));
            pipes.child.as_mut().expect("the command does not run yet").report = Some(writer);
        }
        Ok(pipes)
    }

    fn terminal(size: TerminalSize) -> io::Result<Self> {
        let (ours, theirs) = open_terminal(size)?;
        let child = ChildEnds {
            stdin: theirs.try_clone()?.into(),
            stdout: theirs.try_clone()?.into(),
            stderr: theirs.into(),
            report: None,
        };
        let (stdin, reader) = (ours.try_clone()?, ours.try_clone()?);
        let readers = vec![(Stream::Stdout {}, reader)];
        Ok(Self { stdin: Some(stdin), readers, terminal: Some(ours), child: Some(child) })
    }

    fn streams(command: &Command) -> io::Result<Self> {
        let (stdout_reader, stdout) = pipe()?;
        let mut readers = vec![(Stream::Stdout {}, stdout_reader)];
        let stderr = if command.merged {
            stdout.try_clone()?
        } else {
            let (reader, writer) = pipe()?;
            readers.push((Stream::Stderr {}, reader));
            writer
        };
        let (stdin, child_stdin) = if command.stdin {
            let (reader, writer) = pipe()?;
            (Some(File::from(writer)), Stdio::from(reader))
        } else {
            (None, Stdio::null())
        };
        let child = ChildEnds { stdin: child_stdin, stdout, stderr, report: None };
        Ok(Self { stdin, readers, terminal: None, child: Some(child) })
    }
}

/// A pipe: the end to read from, and the end to write to.
fn pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((OwnedFd::from(reader).into(), writer.into()))
}

/// Sends everything that comes out of `pipe`, at once where the window has room: a command's last words before it takes the
/// machine down are those that matter. What the kernel said before them goes first: it wakes its own readers only at its next tick.
pub fn pump(id: u32, stream: Stream, mut pipe: File, host: &Host, window: &Arc<Window>) -> JoinHandle<()> {
    let (sender, log, window) = (host.sender.clone(), host.log.clone(), Arc::clone(window));
    thread::spawn(move || {
        sys::run_first();
        let mut chunk = vec![0; MAX_CHUNK];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            let output = ToHost::Output { id, stream: stream.clone(), data: Bytes(chunk[..len].to_vec()) };
            window.take(output.cost());
            log.pass_on(&sender);
            sender.send(&output);
        }
    })
}

/// Writes queued bytes to `pipe` and tells the host what was taken.
pub fn feed(id: u32, mut pipe: File, sender: &Sender) -> mpsc::Sender<Bytes> {
    let sender = sender.clone();
    let (queue, bytes) = mpsc::channel::<Bytes>();
    thread::spawn(move || {
        for data in bytes {
            // After a failed write the rest is taken and dropped, so that the host does not wait for ever.
            let _ = pipe.write_all(&data.0);
            sender.send(&ToHost::Taken { id, bytes: data.0.len() as u32 });
        }
    });
    queue
}

/// Both ends of a new terminal of this size: ours, and the command's.
fn open_terminal(size: TerminalSize) -> io::Result<(File, File)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(sys::O_NOCTTY);
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
