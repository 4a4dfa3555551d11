//! What only the first process of a guest does: mounts, modules, the root that commands see, orphans. It knows nothing of
//! the host.

pub mod handover;
pub mod layer;
pub mod modules;
pub mod mounts;
pub mod reaper;
pub mod root;
