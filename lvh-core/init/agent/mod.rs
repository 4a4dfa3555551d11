//! What the host talks to: the channel, commands and their streams, files that come back, the kernel log, what
//! a command changed of the machine, where its threads are. It need not be the first process.

pub mod caches;
mod cgroup;
pub mod channel;
pub mod clock;
mod command;
mod host;
pub mod kernel_log;
mod machine;
mod mirror;
mod pipes;
pub mod resident;
pub mod serve;
mod stacks;
mod window;
