//! How much memory a piece of code uses, which the allocator of our unit tests counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// Bytes in use since `peak_of` began, and the most there were. What an outer piece of code lent may come back.
    static USED: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Runs `work`; returns how many bytes it had in use at most.
pub(super) fn peak_of(work: impl FnOnce()) -> usize {
    USED.set((0, 0));
    work();
    USED.get().1.cast_unsigned()
}

fn count(bytes: isize) {
    // Err: the thread ends.
    let _ = USED.try_with(|used| {
        let (now, peak) = used.get();
        used.set((now + bytes, peak.max(now + bytes)));
    });
}

// SAFETY: all work is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as our caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as our caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn memory_is_counted() {
    assert_eq!(peak_of(|| drop((vec![0_u8; 1000], vec![0_u8; 500]))), 1500);
    assert_eq!(peak_of(|| (0..3).for_each(|_| drop(vec![0_u8; 1000]))), 1000);
}
