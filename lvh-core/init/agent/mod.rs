//! What the host talks to: the channel, commands and their streams, files that come back, the kernel log. It need not be
//! the first process.

pub mod channel;
mod collect;
mod command;
mod cores;
mod host;
pub mod kernel_log;
pub mod serve;
mod terminal;
mod window;
