//! The guest's memory, mapped here. The guest writes into it while we read: nothing is looked at in place, and whatever it holds
//! is copied before it is judged. All of this module's `unsafe` rests on one fact: a part from [`Memory::find`] lies in a mapping
//! that stays for as long as the memory is borrowed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::chain::Buffer;

/// How many regions a front end may share: vhost-user's limit for one table.
pub(super) const MAX_REGIONS: usize = 8;

/// How many pieces preadv(2) takes (`UIO_MAXIOV`).
const MAX_PIECES: usize = 1024;

/// Where a region of the guest's memory lies, in the guest, in QEMU and in the file that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) guest: u64,
    pub(super) size: u64,
    pub(super) user: u64,
    pub(super) offset: u64,
}

impl Place {
    fn ends_somewhere(&self) -> bool {
        let fits = |start: u64| start.checked_add(self.size).is_some_and(|end| end <= i64::MAX.cast_unsigned());
        self.size > 0 && fits(self.guest) && fits(self.offset) && self.user.checked_add(self.size).is_some()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.guest < other.guest + other.size && other.guest < self.guest + self.size
    }
}

/// The memory of a guest.
#[derive(Debug, Default)]
pub(super) struct Memory {
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    place: Place,
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to the region alone and is bound to no thread.
unsafe impl Send for Region {}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `start` and the size are those of a mapping that nobody borrows any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.place.size as usize) };
    }
}

impl Region {
    fn map(place: Place, file: &OwnedFd) -> io::Result<Self> {
        // A touch beyond the end of a file is SIGBUS.
        let length = rustix::fs::fstat(file)?.st_size.cast_unsigned();
        if place.offset + place.size > length {
            return Err(invalid("a region of memory beyond its file"));
        }
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: the kernel chooses a free place.
        let start = unsafe { mmap(ptr::null_mut(), place.size as usize, access, flags, file, place.offset)? };
        Ok(Self { place, start: NonNull::new(start.cast()).expect("a mapping is not at zero") })
    }
}

/// An error of the front end.
pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Memory {
    /// Maps the regions, each from its own file.
    ///
    /// # Errors
    ///
    /// Regions that overlap, are empty, or are not in their files.
    pub(super) fn map(places: &[Place], files: &[OwnedFd]) -> io::Result<Self> {
        if places.len() != files.len() || places.len() > MAX_REGIONS {
            return Err(invalid("as many regions of memory as descriptors, eight at most"));
        }
        let clash = |(index, place): (usize, &Place)| places[..index].iter().any(|other| place.overlaps(other));
        if !places.iter().all(Place::ends_somewhere) || places.iter().enumerate().any(clash) {
            return Err(invalid("regions of memory that overlap or have no end"));
        }
        let regions = places.iter().zip(files).map(|(place, file)| Region::map(*place, file));
        Ok(Self { regions: regions.collect::<io::Result<_>>()? })
    }

    /// The guest's address of what QEMU has at `user`.
    pub(super) fn guest_address(&self, user: u64) -> Option<u64> {
        let holds = |place: &Place| user.checked_sub(place.user).filter(|&offset| offset < place.size);
        self.regions.iter().find_map(|region| Some(region.place.guest + holds(&region.place)?))
    }

    /// Copies from the guest. `None`: not all of it is memory.
    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let mut to = bytes.as_mut_ptr();
        self.each_part(address, bytes.len(), |part, length| {
            // SAFETY: `part` has `length` bytes, and so has `to`: the parts add up to the slice.
            to = unsafe {
                ptr::copy_nonoverlapping(part.cast_const(), to, length);
                to.add(length)
            };
        })
    }

    /// Copies to the guest. `None`: not all of it is memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Option<()> {
        let mut from = bytes.as_ptr();
        self.each_part(address, bytes.len(), |part, length| {
            // SAFETY: `part` has `length` bytes, and so has `from`: the parts add up to the slice.
            from = unsafe {
                ptr::copy_nonoverlapping(from, part, length);
                from.add(length)
            };
        })
    }

    /// Reads an index; what the guest wrote before it is seen after it.
    pub(super) fn load(&self, address: u64) -> Option<u16> {
        Some(u16::from_le(self.index(address)?.load(Ordering::Acquire)))
    }

    /// Writes an index, after all that was written before.
    pub(super) fn store(&self, address: u64, value: u16) -> Option<()> {
        self.index(address)?.store(value.to_le(), Ordering::Release);
        Some(())
    }

    fn index(&self, address: u64) -> Option<&AtomicU16> {
        let (part, length) = self.find(address)?;
        let index = part.cast::<u16>();
        // SAFETY: two bytes of a mapping that lives as long as `self`, aligned; everyone else is another process.
        (length >= 2 && index.is_aligned()).then(|| unsafe { AtomicU16::from_ptr(index) })
    }

    /// Reads from `offset` of a file into the buffers, without a copy in between; returns how many bytes there were. `None`: not
    /// all of the buffers is memory.
    pub(super) fn read_file(&self, buffers: &[Buffer], file: &File, mut offset: u64) -> Option<io::Result<usize>> {
        let mut parts = Vec::with_capacity(buffers.len());
        for buffer in buffers {
            self.each_part(buffer.address, buffer.length as usize, |part, length| {
                parts.push(libc::iovec { iov_base: part.cast(), iov_len: length });
            })?;
        }
        let mut total = 0;
        for parts in parts.chunks(MAX_PIECES) {
            let room: usize = parts.iter().map(|part| part.iov_len).sum();
            let start = offset.cast_signed();
            // SAFETY: each part is in a mapping that lives as long as `self`.
            let count = unsafe { libc::preadv(file.as_fd().as_raw_fd(), parts.as_ptr(), parts.len() as i32, start) };
            let Ok(count) = usize::try_from(count) else { return Some(Err(io::Error::last_os_error())) };
            (total, offset) = (total + count, offset.wrapping_add(count as u64));
            if count < room {
                break;
            }
        }
        Some(Ok(total))
    }

    /// Calls `each` for the parts of a buffer, which may lie in regions side by side.
    fn each_part(&self, mut address: u64, mut length: usize, mut each: impl FnMut(*mut u8, usize)) -> Option<()> {
        while length > 0 {
            let (start, room) = self.find(address)?;
            let part = length.min(room);
            each(start, part);
            (address, length) = (address.checked_add(part as u64)?, length - part);
        }
        Some(())
    }

    /// Where `address` is mapped, and how many bytes are left from there to the end of its region: at least one.
    fn find(&self, address: u64) -> Option<(*mut u8, usize)> {
        self.regions.iter().find_map(|Region { place, start }| {
            let offset = address.checked_sub(place.guest).filter(|&offset| offset < place.size)?;
            // SAFETY: the offset is within the mapping.
            Some((unsafe { start.as_ptr().add(offset as usize) }, (place.size - offset) as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: u64) -> OwnedFd {
        let file = rustix::fs::memfd_create("lvh-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, length).unwrap();
        file
    }

    fn place(guest: u64, size: u64) -> Place {
        Place { guest, size, user: 0x7000_0000_u64.wrapping_add(guest), offset: 0 }
    }

    #[test]
    fn a_buffer_may_lie_in_two_regions() {
        let memory =
            Memory::map(&[place(0x2000, 0x1000), place(0x1000, 0x1000)], &[file(0x1000), file(0x1000)]).unwrap();
        memory.write(0x1ffe, b"abcd").unwrap();
        let mut bytes = [0; 4];
        memory.read(0x1ffe, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcd");
        assert_eq!(memory.guest_address(0x7000_2004), Some(0x2004));
        assert_eq!(memory.guest_address(0x7000_3000), None);
        let source = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &source, b"0123456789").unwrap();
        let buffers = [Buffer { address: 0x1ffd, length: 6 }, Buffer { address: 0x1100, length: 100 }];
        assert_eq!(memory.read_file(&buffers, &source, 2).unwrap().unwrap(), 8);
        memory.read(0x2000, &mut bytes[..3]).unwrap();
        assert_eq!(&bytes[..3], b"567");
    }

    #[test]
    fn nothing_beyond_the_regions_is_touched() {
        let memory = Memory::map(&[place(0x1000, 0x1000)], &[file(0x1000)]).unwrap();
        let mut bytes = [0; 4];
        for address in [0, 0xffd, 0x1ffd, 0x2000, u64::MAX - 1, u64::MAX] {
            assert!(memory.read(address, &mut bytes).is_none(), "{address:#x}");
            assert!(memory.write(address, &bytes).is_none(), "{address:#x}");
        }
        for address in [0xfff, 0x1001, 0x1fff, u64::MAX] {
            assert!(memory.load(address).is_none() && memory.store(address, 1).is_none(), "{address:#x}");
        }
        let buffers = [Buffer { address: 0x1fff, length: 2 }];
        assert!(memory.read_file(&buffers, &tempfile::tempfile().unwrap(), 0).is_none());
        assert_eq!(memory.store(0x1ffe, 7).and_then(|()| memory.load(0x1ffe)), Some(7));
    }

    #[test]
    fn absurd_regions_are_refused() {
        let page = 0x1000;
        let odd = [
            vec![place(0, 0)],
            vec![place(u64::MAX - 10, page)],
            vec![place(0, u64::MAX)],
            vec![Place { offset: u64::MAX - 1, ..place(0, page) }],
            vec![Place { user: u64::MAX, ..place(0, page) }],
            vec![Place { offset: 1, ..place(0, page) }],
            vec![place(0, 2 * page)],
            vec![place(0, page), place(page - 1, page)],
            vec![place(0, page); 2],
            (0..9).map(|number| place(number * page, page)).collect(),
        ];
        for places in odd {
            let files: Vec<_> = places.iter().map(|_| file(page)).collect();
            assert!(Memory::map(&places, &files).is_err(), "{places:x?}");
        }
        assert!(Memory::map(&[place(0, page)], &[]).is_err());
    }
}
