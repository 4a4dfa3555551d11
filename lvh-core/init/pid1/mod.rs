//! What only the first process of a guest does: mounts, device nodes, modules, the root that commands see, another first process, orphans. It knows nothing of
//! the host.

pub mod devices;
pub mod disk;
pub mod handover;
pub mod layer;
mod libraries;
pub mod modules;
pub mod mounts;
pub mod network;
mod old_kernel;
pub mod reaper;
mod rest;
pub mod root;
mod systemd;
