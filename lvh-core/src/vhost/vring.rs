//! A queue that does not lose the guest's first kick.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use vhost_user_backend::{VringMutex, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::Error;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// The library's queue, kicked once more when it is enabled.
///
/// QEMU does not wait for the answer to `SET_VRING_ENABLE`, so the guest may kick before our other thread has read that
/// message. The library (`event_loop.rs`, up to 0.24 at least) then takes the kick and does nothing. With event indexes
/// the guest does not kick again, since we have not asked it to: the device would be silent for ever.
#[derive(Clone)]
pub(super) struct Vring(VringMutex);

impl<'a> VringStateGuard<'a, Memory> for Vring {
    type G = <VringMutex as VringStateGuard<'a, Memory>>::G;
}

impl<'a> VringStateMutGuard<'a, Memory> for Vring {
    type G = <VringMutex as VringStateMutGuard<'a, Memory>>::G;
}

/// Passes calls on as they are.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $result {
            self.0.$name($($argument),*)
        })*
    };
}

impl VringT<Memory> for Vring {
    fn new(memory: Memory, max_queue_size: u16) -> Result<Self, Error> {
        VringMutex::new(memory, max_queue_size).map(Self)
    }

    fn set_enabled(&self, enabled: bool) {
        self.0.set_enabled(enabled);
        if let Some(kick) = self.0.get_ref().get_kick().as_ref().filter(|_| enabled) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: an open eventfd and eight bytes. It is full only if a kick is pending anyway.
            unsafe { libc::write(kick.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    fn get_ref(&self) -> <Self as VringStateGuard<'_, Memory>>::G {
        self.0.get_ref()
    }

    fn get_mut(&self) -> <Self as VringStateMutGuard<'_, Memory>>::G {
        self.0.get_mut()
    }

    pass_on! {
        add_used(index: u16, len: u32) -> Result<(), Error>;
        signal_used_queue() -> io::Result<()>;
        enable_notification() -> Result<bool, Error>;
        disable_notification() -> Result<(), Error>;
        needs_notification() -> Result<bool, Error>;
        set_queue_info(descriptors: u64, available: u64, used: u64) -> Result<(), Error>;
        queue_next_avail() -> u16;
        set_queue_next_avail(base: u16) -> ();
        set_queue_next_used(index: u16) -> ();
        queue_used_idx() -> Result<u16, Error>;
        set_queue_size(size: u16) -> ();
        set_queue_event_idx(enabled: bool) -> ();
        set_queue_ready(ready: bool) -> ();
        set_kick(file: Option<File>) -> ();
        read_kick() -> io::Result<bool>;
        set_call(file: Option<File>) -> ();
        set_err(file: Option<File>) -> ();
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;

    #[test]
    fn a_kick_before_the_queue_is_enabled_is_not_lost() {
        let vring = Vring::new(GuestMemoryAtomic::new(GuestMemoryMmap::new()), 16).unwrap();
        let kick = EventFd::new(EFD_NONBLOCK).unwrap();
        // SAFETY: `kick` is open.
        let copy = unsafe { std::os::fd::BorrowedFd::borrow_raw(kick.as_raw_fd()) }.try_clone_to_owned();
        vring.set_kick(Some(File::from(copy.unwrap())));
        kick.write(1).unwrap();
        assert!(!vring.read_kick().unwrap(), "the library takes it and does nothing");
        vring.set_enabled(true);
        assert_eq!(kick.read().unwrap(), 1, "the queue is looked at once more");
    }
}
