//! The queues of the virtiofs device.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::exports::FsExports;
use super::filesystem::Reply;
use super::share::Share;
use super::wire::{OUT_HEADER, Request, out_header};
use crate::Result;
use crate::vhost::chain::Chain;
use crate::vhost::device::{self, Device, Handler};
use crate::vhost::memory::Memory;
use crate::vhost::queue::Queue;

/// The longest request: a header, and a name or two. Longer ones write, and nobody may.
const MAX_REQUEST: usize = 64 << 10;

/// How many requests make a fair share.
const SHARE: usize = 256;

/// Serves a virtiofs device.
///
/// The names, links and permissions are the host's, as far as the user of this process reaches them. A guest cannot
/// change anything, leave the shared directory, or have the host open a device, FIFO or socket. The host needs `/proc`.
///
/// # Errors
///
/// If a directory cannot be opened, if the host lacks `openat2` (Linux 5.6), or if the operating system has no more
/// descriptors or threads.
pub(crate) fn serve_fs(exports: FsExports) -> Result<Device> {
    device::serve(Fs::new(Share::new(&exports)?))
}

/// A virtiofs device.
pub(super) struct Fs {
    share: Share,
}

impl Handler for Fs {
    const NAME: &str = "lvh-virtiofs";
    /// One for forgetting, which goes first, and one for everything else.
    const QUEUES: usize = 2;
    const QUEUE_SIZE: u16 = 1024;

    fn config(&self) -> Vec<u8> {
        // QEMU knows the tag and the number of queues.
        Vec::new()
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn work(&mut self, memory: &Memory, queues: &mut [Queue]) -> bool {
        let mut left = SHARE;
        while left > 0 {
            let before = left;
            for queue in &mut *queues {
                // Asked for before we look, so that no kick is missed in between.
                queue.listen(memory);
                while left > 0 && self.serve_next(memory, queue) {
                    left -= 1;
                }
            }
            if left == before {
                return false;
            }
        }
        true
    }
}

impl Fs {
    pub(super) fn new(share: Share) -> Self {
        Self { share }
    }

    /// Serves one request, if there is one.
    fn serve_next(&self, memory: &Memory, queue: &mut Queue) -> bool {
        let Some(chain) = queue.pop(memory) else { return false };
        let length = self.answer(memory, &chain);
        if queue.push(memory, chain.head, length).is_some() {
            queue.signal(memory);
        }
        true
    }

    /// Answers one request; returns the length of the answer.
    fn answer(&self, memory: &Memory, chain: &Chain) -> u32 {
        let length = chain.readable.len();
        let mut bytes = vec![0; length.min(MAX_REQUEST)];
        let read = chain.readable.read(memory, 0, &mut bytes);
        let Some(request) = read.and_then(|()| Request::parse(&bytes)) else { return 0 };
        let (unique, refusal) = (request.unique, || Err(io::Error::from_raw_os_error(libc::EIO)));
        let serve = AssertUnwindSafe(|| self.reply(memory, chain, request));
        // After a panic of ours the guest would wait for good.
        let reply = if length > MAX_REQUEST { refusal() } else { catch_unwind(serve).unwrap_or_else(|_| refusal()) };
        send(memory, chain, unique, reply).unwrap_or(0)
    }

    fn reply(&self, memory: &Memory, chain: &Chain, request: Request<'_>) -> io::Result<Reply> {
        self.share.serve(request, chain.writable.len(), &mut |file, length, offset| {
            chain.writable.read_file(memory, (OUT_HEADER, length), file, offset)
        })
    }
}

/// Writes an answer; returns its length. `None`: there is no room for it.
fn send(memory: &Memory, chain: &Chain, unique: u64, reply: io::Result<Reply>) -> Option<u32> {
    let answer = match &reply {
        Ok(Reply::Nothing) => return Some(0),
        Ok(Reply::Answer(answer)) => &answer.0[..],
        _ => &[],
    };
    let (length, error) = match &reply {
        Ok(Reply::Content(length)) => (*length, 0),
        // An answer that the guest has no room for.
        Ok(_) if OUT_HEADER + answer.len() > chain.writable.len() => (0, libc::EIO),
        Ok(_) => (answer.len(), 0),
        Err(error) => (0, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let mut bytes = out_header(length, error, unique).to_vec();
    bytes.extend(answer.iter().take(length));
    chain.writable.write(memory, 0, &bytes)?;
    Some((OUT_HEADER + length) as u32)
}
