//! QEMU: its command line, the process and what it tells, who executes the guest.

pub(crate) mod accel;
pub(crate) mod command_line;
pub(crate) mod console;
pub(crate) mod device;
pub(crate) mod gdb;
pub(crate) mod kvm;
pub(crate) mod machine;
pub(crate) mod migration;
pub(crate) mod process;
pub(crate) mod qmp;
pub(crate) mod version;
