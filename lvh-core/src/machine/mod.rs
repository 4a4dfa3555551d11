//! What this machine lets us have, and its time. It may be a container: the limits of control groups, of either version, are the machine.
//!
//! Not public API, but for what [`doctor`](crate::doctor) shows of it.

mod cgroup;
mod clock;
mod limits;
mod oom;
mod room;
mod slots;
mod thread;

pub(crate) use clock::local_time;
pub use limits::{Limit, Limits};
pub(crate) use oom::OomWatch;
pub use room::memory_of_vm;
pub(crate) use room::{Room, VM_TASKS, check_limits, check_room, default_memory, less_memory, need_of_vm};
pub(crate) use slots::Slot;
pub use slots::{has_room, room_is_wanted};
pub use thread::{no_thread, start_thread};
pub(crate) use thread::{on_a_thread, with_hint};
