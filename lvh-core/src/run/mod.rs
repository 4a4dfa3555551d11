//! `lvh run`: one QEMU for an image, as people and scripts start it by hand.
//!
//! Another machine than the one that [`crate::vm`] boots: QEMU's default one, with a disk, a user network and a console, and no
//! lvh-init that talks to us: at most it leads to the disk, or is a service there. Nobody watches it: the caller becomes QEMU. What the two share is what the host can do.

mod accelerator;
mod agent;
mod check;
mod command_line;
mod config;
mod initramfs;
mod port;

pub use accelerator::accelerator;
pub use agent::{Agent, agent_unit};
pub use check::check;
pub use command_line::{arguments, for_a_shell, program};
pub use config::{BootKernel, Image, RootDevice, RunConfig};
pub use initramfs::Initramfs;
pub use port::Port;
