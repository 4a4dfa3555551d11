//! What host and guest say to each other, compiled into both sides.
//!
//! ```text
//!   lvh-init                         host
//!     │  Hello {version, release}     │
//!     │ ────────────────────────────► │
//!     │  Prepare {root, init, …}      │
//!     │ ◄──────────────────────────── │
//!     │  Prepared  or  Failed         │      nothing test-specific has happened yet: snapshots are taken here
//!     │ ────────────────────────────► │
//!     │  Setup {shares, mounts, …}    │      where QEMU has reset the connection, Hello is said again before
//!     │ ◄──────────────────────────── │
//!     │  Clock                        │      some rounds: the guest's clock is set by the quickest
//!     │ ◄───────────────────────────► │
//!     │  Kernel, Ready  or  Failed    │
//!     │ ────────────────────────────► │
//!     │  Run · Stdin · Consumed · Kill│      any number of commands, several at a time
//!     │  Explain · Change · Refresh   │
//!     │  Ping                         │
//!     │ ◄──────────────────────────── │
//!     │  Started · Output · Taken     │
//!     │  Stacks · Changed · Exited    │
//!     │  Pong                         │
//!     │  Kernel (at any time)         │
//!     │ ────────────────────────────► │
//!     │  Shutdown                     │
//!     │ ◄──────────────────────────── │
//!     │  Bye                          │      everything is flushed; the host now ends the VM
//!     │ ────────────────────────────► │
//! ```
//!
//! After [`MAGIC`], a message on the channel is a little-endian length, then that many bytes. Writes are at most
//! [`MAX_WRITE`] bytes each: larger ones hang virtio-vsock devices that read one descriptor a packet. Nothing that one
//! command does keeps the others' messages from passing: see [`WINDOW`].

use std::io::{self, Read, Write};

use super::wire::{Bytes, Wire, malformed, wire_enum, wire_struct};

/// Version of this protocol. Both sides are built together, so any difference is an error.
pub const VERSION: u32 = 18;

/// The guest sends this before its first message: on a serial line, firmware or the kernel may have written before.
pub const MAGIC: &[u8; 8] = b"\0LVHINIT";

/// The longest message either side accepts, in bytes. The longest honest one is a `Run` with a large environment.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The longest message that the host takes from a guest, in bytes. Honest ones fit one write, but for warnings.
pub const MAX_ANSWER: usize = 64 << 10;

/// The most bytes written to the channel by one system call.
pub const MAX_WRITE: usize = 16 << 10;

/// The most bytes of output in one message: with its header it fits one write.
pub const MAX_CHUNK: usize = MAX_WRITE - 64;

/// How much of one command's output, or of one collection's files, may be on its way before the host says that it consumed
/// it, in bytes as [`ToHost::cost`] counts them. One consumer that waits then holds up its own command, and nothing else.
pub const WINDOW: u32 = 1 << 20;

/// How many bytes of a command's standard input may be on their way before the guest says it took them.
pub const STDIN_WINDOW: u32 = 256 << 10;

/// The file descriptor on which a command finds its report pipe.
pub const REPORT_FD: i32 = 3;

/// The signal that asks a command for its own stacks, where it has a handler for it: the last but two of the real-time signals.
pub const STACKS_SIGNAL: i32 = 62;

/// Where a command that asks for [`Command::core`] leaves it in the guest. The command's own is [`CORE`], those of its
/// children have their process ids behind it.
pub const CORES: &str = "/run/lvh-cores";

/// The file name of a command's core.
pub const CORE: &str = "core";

/// Where commands in the guest leave coverage profiles.
pub const PROFILES: &str = "/run/lvh-profiles";

/// Where the guest shows the libraries of a [`Kit`]. Short, for it must fit where a program names its loader.
pub const KIT_LIBRARIES: &str = "/run/.lvh";

/// Where the loader among them is.
pub const KIT_LOADER: &str = "/run/.lvh/ld";

/// The file of a [`Kit`] that says what its programs need of the root, in lines: the path of a loader, or the name of a
/// library with the versions that it must have. Without it there is nothing to look for: the kit is always used.
pub const KIT_NEEDS: &str = "needs";

wire_struct! {
    /// What a guest has before anything of the host's is in it; a snapshot holds it. A root that is shared comes with [`Setup`],
    /// and what lies on it.
    pub struct Preparation {
        /// Host name of the guest, which an init may change.
        pub hostname: String,
        /// The root file system.
        pub root: Root,
        /// Further disks, mounted on the root.
        pub disks: Vec<DiskMount>,
        /// Set up the network card; QEMU's network is 10.0.2.0/24, with the host at .2 and a name server at .3.
        pub network: bool,
        /// The program and its arguments that become the first process once the root is there; none: lvh-init stays that.
        /// The agent is then a child of it.
        pub init: Vec<Bytes>,
        /// That is systemd: how long it may take to start all that it is to start, in milliseconds; 0: nobody waits for it.
        pub systemd_within: u64,
        /// Go on only when what `init` started has come to rest: a snapshot is to be taken, and all else would be done after each
        /// resume.
        pub rests: bool,
    }

    /// The file system on a disk, which is written to.
    pub struct Disk {
        /// The virtio block device's serial number.
        pub serial: String,
        /// Such as `ext4`.
        pub fstype: String,
    }

    /// A disk beside the root's.
    pub struct DiskMount {
        /// The disk.
        pub disk: Disk,
        /// Absolute path in the root; made where it does not exist.
        pub target: Bytes,
    }

    /// What the guest has of the host's, on the rootfs that commands see.
    pub struct Setup {
        /// What the kernel's random numbers depend on from now on: guests that resume from one snapshot would have the
        /// same ones.
        pub seed: Bytes,
        /// What the host shares.
        pub shares: Vec<Share>,
        /// Mounts on top of the root, in this order.
        pub mounts: Vec<FileMount>,
        /// Programs of the host that may need more than the root has.
        pub kit: Option<Kit>,
    }

    /// Files of the host, served over virtio, read-only; the guest sees them under an overlay in its own memory.
    pub struct Share {
        /// Mount tag; names it in [`Root`] and [`FileSource`].
        pub tag: String,
        /// `virtiofs` or `9p`.
        pub fstype: String,
    }

    /// A file or directory that appears at `target`, whatever the root is.
    pub struct FileMount {
        /// What is mounted.
        pub source: FileSource,
        /// Absolute path in the new root; made where it does not exist.
        pub target: Bytes,
    }

    /// Programs of the host with a loader and libraries, in a directory: `lib/`, [`KIT_NEEDS`], and copies of the programs that
    /// look for both in [`KIT_LIBRARIES`].
    pub struct Kit {
        /// The directory.
        pub source: FileSource,
        /// The copies' names in it, each with the program's absolute path.
        pub programs: Vec<(Bytes, Bytes)>,
    }

    /// The size of a terminal, in characters.
    #[derive(Copy)]
    pub struct TerminalSize {
        /// Height.
        pub rows: u32,
        /// Width.
        pub columns: u32,
    }

    /// A command to run.
    #[derive(Default)]
    pub struct Command {
        /// Program and arguments; the program is looked up in the command's own `PATH`.
        pub argv: Vec<Bytes>,
        /// The whole environment.
        pub env: Vec<(Bytes, Bytes)>,
        /// Working directory.
        pub cwd: Bytes,
        /// The host will send standard input; else it is empty.
        pub stdin: bool,
        /// Standard output and error share one pipe, so that their order is kept; all arrives as `STDOUT`.
        pub merged: bool,
        /// Give the command a pipe at [`REPORT_FD`]; what it writes there arrives as `REPORT`.
        pub report: bool,
        /// Standard input, output and error are a terminal of its own of this size; `stdin` and `merged` mean nothing then.
        pub terminal: Option<TerminalSize>,
        /// Leave a core in [`CORES`] if a signal kills it, in place of those of earlier commands.
        pub core: bool,
        /// Tell at its end what of the machine is not as it was before the first command that asked for this.
        pub changes: bool,
        /// What it started goes on when it has ended.
        pub lasts: bool,
    }
}

wire_enum! {
    /// Where the root file system comes from.
    pub enum Root {
        /// The root of a share.
        0 => Share { /** Its tag. */ tag: String },
        /// The file system on a disk.
        1 => Disk { /** The disk. */ disk: Disk },
        /// What the initramfs holds.
        2 => Initramfs {},
    }
}

wire_enum! {
    /// Where the file or directory of a mount is. `Memory` and `Overlay` are the guest's ends of directories that the host mirrors.
    pub enum FileSource {
        /// In a share. A symbolic link that is to appear at its own path becomes one again.
        0 => Share { /** Its tag. */ tag: String, /** Path below the share's root, with or without a slash in front. */ path: Bytes },
        /// In the initramfs.
        1 => Initramfs { /** Absolute path. */ path: Bytes },
        /// Guest memory, into which the host puts what it has there.
        2 => Memory { /** Of its top directory. */ owner: Owner },
        /// Guest memory, through which a directory of a share is seen.
        3 => Overlay { /** The share's tag. */ tag: String, /** Path below the share's root. */ path: Bytes },
        /// Nothing is mounted: a symbolic link is made, where nothing is yet.
        4 => Link { /** Where it leads. */ path: Bytes },
    }
}

wire_struct! {
    /// Whose a file is, and for whom.
    #[derive(Copy, Default)]
    pub struct Owner {
        /// User.
        pub uid: u32,
        /// Group.
        pub gid: u32,
        /// Permission bits, with set-user-id, set-group-id and sticky.
        pub mode: u32,
    }
}

wire_enum! {
    /// What became of a name in a directory that the other side mirrors. A name's parent comes before it.
    pub enum Change {
        /// It is a directory, here as soon as there are names in it, and once more when all of them are.
        0 => Directory { /** Whose. */ owner: Owner, /** When it was changed, nanoseconds since 1970, signed. */ modified: u64 },
        /// It is a file of zeros; `Data` and one `Complete` of the same name follow.
        1 => File { /** Bytes. */ size: u64 },
        /// Bytes of the file.
        2 => Data { /** Where. */ offset: u64, /** What. */ data: Bytes },
        /// The file is complete, and may take its name.
        3 => Complete {
            /** Whose. */ owner: Owner,
            /** As for directories. */ modified: u64,
            /** Its file capabilities, as the kernel keeps them in `security.capability`: empty for none, and from guests. */
            capabilities: Bytes
        },
        /// It is a symbolic link.
        4 => Link { /** Where to. */ target: Bytes },
        /// There is none of that name any more.
        5 => Removed {},
    }
}

wire_struct! {
    /// Why a guest is not what it is to be.
    pub struct Failure {
        /// What failed of it.
        pub part: Part,
        /// What failed and why.
        pub message: String,
        /// What programs of the root say of it.
        pub output: String,
    }
}

wire_enum! {
    /// A part of what a guest is to be.
    pub enum Part {
        /// The rootfs, or its first process.
        0 => Rootfs {},
        /// A unit of systemd.
        1 => Unit {},
        /// All that systemd is to start in the time that it has.
        2 => Start {},
    }
}

wire_enum! {
    /// Which stream some bytes belong to.
    pub enum Stream {
        /// Standard output (or both, where merged).
        1 => Stdout {},
        /// Standard error.
        2 => Stderr {},
        /// The report pipe.
        3 => Report {},
    }
}

wire_enum! {
    /// How a command ended.
    pub enum Exit {
        /// It returned this exit code.
        0 => Code { /** 0 to 255. */ code: i32 },
        /// It was killed by this signal.
        1 => Signal { /** Signal number. */ signal: i32, /** It left a core. */ core: bool },
        /// It could not be started.
        2 => NotStarted { /** Why. */ error: String },
    }
}

wire_enum! {
    /// What the host asks.
    pub enum ToGuest {
        /// Build the rootfs; after `Prepared`.
        0 => Setup { /** How. */ setup: Setup },
        /// Start a command.
        1 => Run { /** Names it in later messages. */ id: u32, /** What to run. */ command: Command },
        /// Bytes for a command's standard input; none: end of file.
        2 => Stdin { /** The command. */ id: u32, /** Its next bytes. */ data: Bytes },
        /// Send a signal to a command's process group.
        3 => Signal { /** The command. */ id: u32, /** Signal number. */ signal: i32 },
        /// Kill a command and everything it started.
        4 => Kill { /** The command. */ id: u32 },
        /// Send what changed below a directory since it was last sent.
        5 => Collect { /** Names it in later messages. */ id: u32, /** Absolute directory in the guest. */ dir: Bytes,
                       /** Remove the files that were sent. */ take: bool },
        /// Kill all commands, write everything back, say `Bye`.
        6 => Shutdown { /** Names it in later messages. */ id: u32 },
        /// The window that a command's terminal is shown in has another size now.
        7 => Resize { /** The command. */ id: u32, /** The new size. */ size: TerminalSize },
        /// The host has consumed output or files, see [`WINDOW`].
        8 => Consumed { /** The command or collection. */ id: u32, /** How much more may be sent, in bytes. */ bytes: u32 },
        /// The host changed a directory that the guest mirrors.
        9 => Change { /** Absolute directory in the guest. */ dir: Bytes, /** The name, a path below it. */ path: Bytes,
                      /** What became of it. */ change: Change },
        /// What the wall clock shows, where the guest has asked.
        10 => Clock { /** Nanoseconds since 1970. */ ns: u64 },
        /// The host changed files that it shares: look again.
        11 => Refresh {},
        /// Say `Pong`: the host wonders whether the guest is alive.
        12 => Ping { /** Names it in the answer. */ id: u32 },
        /// Tell where the threads of a command are, and ask it by [`STACKS_SIGNAL`].
        13 => Explain { /** The command. */ id: u32 },
        /// Get ready for a snapshot; the first message.
        14 => Prepare { /** What for. */ preparation: Preparation },
    }
}

wire_enum! {
    /// What the guest tells.
    pub enum ToHost {
        /// The channel is up.
        0 => Hello { /** [`VERSION`]. */ version: u32, /** `uname -r`. */ release: String },
        /// The rootfs is built.
        1 => Ready { /** What could not be had, and what the root says of an old kernel, a line each. */ warnings: Vec<String> },
        /// What was to be prepared, or the rootfs, is not there.
        2 => Failed { /** Why. */ failure: Failure },
        /// A command runs.
        3 => Started { /** The command. */ id: u32 },
        /// A command wrote something.
        4 => Output { /** The command. */ id: u32, /** Where to. */ stream: Stream, /** What. */ data: Bytes },
        /// A command read this much of its standard input.
        5 => Taken { /** The command. */ id: u32, /** Bytes. */ bytes: u32 },
        /// A command ended; all its output and the kernel log up to now were sent before.
        6 => Exited { /** The command. */ id: u32, /** How. */ exit: Exit },
        /// Whole records of the kernel log as `/dev/kmsg` gives them, each `priority,sequence,µs,flags;text` and a
        /// newline. Those from before that come before `Ready`.
        7 => Kernel { /** The records. */ records: Bytes },
        /// What changed in a collected directory.
        8 => Change { /** The collection. */ id: u32, /** The name, a path below the directory. */ path: Bytes, /** What became of it. */ change: Change },
        /// All that changed below the directory was sent.
        9 => Collected { /** The collection. */ id: u32, /** What could not be sent or taken, a line each. */ problems: Vec<String> },
        /// Everything is written back.
        10 => Bye { /** The shutdown. */ id: u32 },
        /// What of the machine a command changed; before its end, once.
        11 => Changed { /** The command. */ id: u32, /** A line each. */ changes: Vec<String> },
        /// What does the wall clock show? Between `Setup` and `Ready`.
        12 => Clock {},
        /// It is alive.
        13 => Pong { /** The question. */ id: u32 },
        /// Where the threads of a command are: the kernel's stack of each, those alike once. In one message, at most once for
        /// a command.
        14 => Stacks { /** The command. */ id: u32, /** For people. */ lines: Vec<String>,
                       /** Whether the command was asked too. */ asked: bool },
        /// What was to be prepared is there.
        15 => Prepared {},
    }
}

impl ToHost {
    /// What the message takes of its sender's [`WINDOW`], in bytes.
    pub fn cost(&self) -> u32 {
        match self {
            Self::Output { data, .. } => output_cost(data.0.len()),
            Self::Change { path, change, .. } => output_cost(path.0.len() + change.len()),
            _ => 0,
        }
    }
}

impl Change {
    /// How many bytes it carries.
    fn len(&self) -> usize {
        match self {
            Self::Data { data, .. } => data.0.len(),
            Self::Link { target } => target.0.len(),
            _ => 0,
        }
    }
}

/// What a message takes beside its bytes, which is about what it takes in the host's queue: a command may write byte by
/// byte, and there may be any number of empty files.
const MESSAGE_COST: usize = 128;

/// What a message with so many bytes takes of its sender's [`WINDOW`], in bytes.
pub fn output_cost(len: usize) -> u32 {
    (len + MESSAGE_COST) as u32
}

/// Writes one message.
///
/// # Errors
/// Those of `channel`.
pub fn send(channel: &mut impl Write, message: &impl Wire) -> io::Result<()> {
    encode(message).chunks(MAX_WRITE).try_for_each(|chunk| channel.write_all(chunk))
}

/// A message as it stands on the channel.
pub fn encode(message: &impl Wire) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    message.put(&mut bytes);
    let len = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// Reads one message; `None` when the peer has closed the channel between two messages.
///
/// # Errors
/// Those of `channel`, `UnexpectedEof` in mid message, `InvalidData` for anything that is not a message.
pub fn receive<T: Wire>(channel: &mut impl Read) -> io::Result<Option<T>> {
    let mut len = [0; 4];
    loop {
        match channel.read(&mut len[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    channel.read_exact(&mut len[1..])?;
    let len = check_length(len, MAX_MESSAGE)?;
    let mut bytes = Vec::new();
    if channel.take(len as u64).read_to_end(&mut bytes)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&bytes).map(Some)
}

/// The length that a message's header announces.
///
/// # Errors
/// `InvalidData` when it is over `limit`.
pub fn check_length(header: [u8; 4], limit: usize) -> io::Result<usize> {
    let len = u32::from_le_bytes(header) as usize;
    if len > limit { Err(malformed("too long")) } else { Ok(len) }
}

/// The message that `bytes` (without the length) hold.
///
/// # Errors
/// `InvalidData` for anything that is not exactly one message.
pub fn decode<T: Wire>(mut bytes: &[u8]) -> io::Result<T> {
    let message = T::take(&mut bytes)?;
    if bytes.is_empty() { Ok(message) } else { Err(malformed("bytes left over")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            argv: vec![Bytes(b"/bin/true".to_vec()), Bytes(b"\xff".to_vec())],
            env: vec![(Bytes(b"A".to_vec()), Bytes(b"b=c".to_vec()))],
            cwd: Bytes(b"/".to_vec()),
            stdin: true,
            merged: false,
            report: true,
            terminal: Some(TerminalSize { rows: 24, columns: 80 }),
            core: false,
            changes: true,
            lasts: true,
        }
    }

    #[test]
    fn messages_survive_the_way() {
        let run = ToGuest::Run { id: 7, command: command() };
        let bytes = encode(&run);
        assert_eq!(receive(&mut &bytes[..]).unwrap(), Some(run));
        assert_eq!(receive::<ToGuest>(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = encode(&ToGuest::Run { id: 7, command: command() });
        for len in 1..bytes.len() {
            assert!(receive::<ToGuest>(&mut &bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_allocate() {
        let mut seed = 42u64;
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = Vec::new();
            for _ in 0..round % 97 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                bytes.push((seed >> 56) as u8 & if round % 2 == 0 { 0xff } else { 0x0b });
            }
            let _ = decode::<ToHost>(&bytes);
            let _ = decode::<ToGuest>(&bytes);
        }
        assert!(receive::<ToHost>(&mut &u32::MAX.to_le_bytes()[..]).is_err());
    }

    #[test]
    fn one_chunk_of_output_fits_one_write() {
        let data = Bytes(vec![0; MAX_CHUNK]);
        assert!(encode(&ToHost::Output { id: 1, stream: Stream::Stdout {}, data }).len() <= MAX_WRITE);
    }
}
