//! The queues of the virtiofs device.

use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fuse_backend_rs::abi::fuse_abi::{InHeader, OutHeader};
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{Reader, VirtioFsWriter};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::VringT;
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::GuestMemoryMmap;

use super::exports::FsExports;
use super::share::Share;
use crate::Result;
use crate::vhost::device::{self, Device, Handler};
use crate::vhost::vring::Vring;

/// The longest request: one of Linux holds at most 1 MiB of data, a header, and a name or two.
const MAX_REQUEST: usize = (1 << 20) + (64 << 10);

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
    server: Server<Share>,
}

impl Handler for Fs {
    const NAME: &str = "lvh-virtiofs";
    /// One for forgetting, which goes first, and one for everything else.
    const QUEUES: usize = 2;
    const QUEUE_SIZE: usize = 1024;
    const PROTOCOL: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
        .union(VhostUserProtocolFeatures::REPLY_ACK)
        .union(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS);

    fn config(&self) -> Vec<u8> {
        // QEMU knows the tag and the number of queues.
        Vec::new()
    }

    fn wake(&self) -> Option<RawFd> {
        None
    }

    fn work(&mut self, memory: &GuestMemoryMmap, queues: &[Vring]) -> bool {
        let mut left = SHARE;
        while left > 0 {
            let before = left;
            for queue in queues {
                // Asked for before we look, so that no kick is missed in between. An error is the guest's ring out of
                // its memory.
                let _ = queue.enable_notification();
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
        Self { server: Server::new(share) }
    }

    /// Serves one request, if there is one.
    fn serve_next(&self, memory: &GuestMemoryMmap, queue: &Vring) -> bool {
        // Locked until the answer is given: QEMU, which stops a queue before it takes the memory away, waits for that.
        let mut queue = queue.get_mut();
        let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) else { return false };
        let head = chain.head_index();
        let length = self.answer(memory, chain);
        // Where the ring is unreadable a superfluous interrupt does no harm; QEMU is gone if nobody takes it.
        if queue.add_used(head, length).is_ok() && queue.needs_notification().unwrap_or(true) {
            let _ = queue.signal_used_queue();
        }
        true
    }

    /// Answers one request; returns the length of the answer.
    pub(super) fn answer(&self, memory: &GuestMemoryMmap, chain: DescriptorChain<&GuestMemoryMmap>) -> u32 {
        let Ok(request) = Reader::from_descriptor_chain(memory, chain.clone()) else { return 0 };
        let Ok(answer) = VirtioFsWriter::new(memory, chain) else { return 0 };
        if request.available_bytes() > MAX_REQUEST {
            return refuse(request, answer);
        }
        let refusal = (request.clone(), answer.clone());
        let serve = AssertUnwindSafe(|| self.server.handle_message(request, answer.into(), None, None));
        match catch_unwind(serve) {
            Ok(Ok(length)) => length as u32,
            // Malformed, or a panic of ours: without an answer the guest would wait for good.
            Ok(Err(_)) | Err(_) => refuse(refusal.0, refusal.1),
        }
    }
}

/// Answers a request with `EIO`, if there is room for that.
fn refuse(mut request: Reader<'_>, mut answer: VirtioFsWriter<'_>) -> u32 {
    let Ok(header) = request.read_obj::<InHeader>() else { return 0 };
    let len = size_of::<OutHeader>() as u32;
    let refusal = OutHeader { len, error: -libc::EIO, unique: header.unique };
    if answer.write_obj(refusal).is_ok() { len } else { 0 }
}
