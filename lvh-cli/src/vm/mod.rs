//! Commands in VMs: `lvh exec`, `lvh runner`, `lvh attach`.

pub(crate) mod attach;
pub(crate) mod exec;
pub(crate) mod relay;
pub(crate) mod runner;
pub(crate) mod vm_command;
