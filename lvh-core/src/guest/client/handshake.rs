//! From a channel that is open to a guest that is ready.

use std::fmt;
use std::io;
use std::time::{Instant, SystemTime};

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::framing::{receive, send, skip_preamble};
use super::guest::Guest;
use crate::guest::kernel_log::log_file::LogFile;
use crate::guest::kernel_log::record::KernelRecord;
use crate::guest::protocol::{self, Failure, MAX_ANSWER, Preparation, Setup, ToGuest, ToHost, VERSION};
use crate::guest::wire::{Bytes, malformed};
use crate::kernel::KernelRelease;

/// A guest that has said hello.
#[derive(Debug)]
pub(crate) struct Handshake {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// `uname -r`.
    pub(crate) release: KernelRelease,
    /// When it said hello, or had its state from a snapshot.
    pub(crate) up: Instant,
}

/// A guest that is ready.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) guest: Guest,
    /// What optional parts of its rootfs it could not have.
    pub(crate) warnings: Vec<String>,
    /// When it had read what its rootfs is to be.
    pub(crate) answered: Instant,
}

/// What a guest could not be, and why.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Failure);

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Handshake {
    /// Waits for the guest's hello.
    ///
    /// # Errors
    /// Those of the channel; another protocol version.
    pub(crate) async fn begin(stream: UnixStream) -> io::Result<Self> {
        let (mut reader, writer) = stream.into_split();
        skip_preamble(&mut reader).await?;
        match receive(&mut reader, MAX_ANSWER).await? {
            Some(ToHost::Hello { version, release }) => {
                check_version(version)?;
                Ok(Self { reader, writer, release: KernelRelease::new(release), up: Instant::now() })
            }
            _ => Err(malformed("the guest did not begin with Hello")),
        }
    }

    /// Has the guest prepare what needs nothing of the host's. What its kernel said by then goes to `kernel_log` where that fails.
    ///
    /// # Errors
    /// Those of the channel; [`Refused`], what could not be prepared.
    pub(crate) async fn prepare(
        &mut self,
        preparation: Preparation,
        kernel_log: &mut Option<LogFile>,
    ) -> io::Result<()> {
        send(&mut self.writer, &protocol::encode(&ToGuest::Prepare { preparation })).await?;
        loop {
            match receive(&mut self.reader, MAX_ANSWER).await? {
                Some(ToHost::Kernel { records }) => append(kernel_log, &records),
                Some(ToHost::Prepared {}) => return Ok(()),
                Some(ToHost::Failed { failure }) => return Err(io::Error::other(Refused(failure))),
                Some(_) => return Err(malformed("neither Prepared nor Failed after Prepare")),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// A guest that was prepared before its snapshot was taken, and waits since.
    pub(crate) fn resumed(stream: UnixStream, release: KernelRelease) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader, writer, release, up: Instant::now() }
    }

    /// Has the guest build its rootfs. All that its kernel says, from its first line on, goes to `kernel_log`.
    ///
    /// # Errors
    /// Those of the channel; [`Refused`], what the guest could not build.
    pub(crate) async fn finish(mut self, setup: Setup, mut kernel_log: Option<LogFile>) -> io::Result<Ready> {
        let mut answered = None;
        send(&mut self.writer, &protocol::encode(&ToGuest::Setup { setup })).await?;
        loop {
            match receive(&mut self.reader, MAX_ANSWER).await? {
                Some(ToHost::Clock {}) => {
                    answered.get_or_insert_with(Instant::now);
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    let answer = ToGuest::Clock { ns: now.as_nanos() as u64 };
                    send(&mut self.writer, &protocol::encode(&answer)).await?;
                }
                Some(ToHost::Kernel { records }) => append(&mut kernel_log, &records),
                Some(ToHost::Ready { warnings }) => {
                    let answered = answered.unwrap_or_else(Instant::now);
                    return Ok(Ready { guest: Guest::serve(self.reader, self.writer, kernel_log), warnings, answered });
                }
                Some(ToHost::Failed { failure }) => return Err(io::Error::other(Refused(failure))),
                Some(_) => return Err(malformed("neither Ready nor Failed after Setup")),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

/// Both sides are to speak the same protocol.
pub(super) fn check_version(version: u32) -> io::Result<()> {
    match version {
        VERSION => Ok(()),
        _ => Err(io::Error::other(format!("lvh-init speaks version {version}, this program {VERSION}"))),
    }
}

fn append(log: &mut Option<LogFile>, records: &Bytes) {
    let records = KernelRecord::parse_all(&records.0);
    log.iter_mut().for_each(|log| log.append_records(&records));
}
