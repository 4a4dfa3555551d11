//! `lvh.toml` and the `LVH_*` variables: read once, checked at the edge, typed from there on.
//!
//! ```no_run
//! # fn main() -> lvh_core::Result<()> {
//! use lvh_core::Config;
//!
//! let config = Config::for_process(&std::env::current_dir().expect("a working directory"))?;
//! let source = config.kernel("6.12")?;
//! # Ok(()) }
//! ```
//!
//! [`Config::discover`] and [`Config::load`] read the file alone; [`Config::override_with`] is the one place where the
//! environment changes a setting; [`Config::for_process`] does both.

mod env;
mod file;
mod images;
mod kernels;
pub mod kernels_json;
mod model;
mod overrides;
mod published;
#[cfg(test)]
mod tests;
mod value;

pub use env::Env;
pub use kernels_json::{KernelEntry, KernelsFile};
pub use model::{Config, KERNEL_REPOSITORY, VmDefaults};
pub use overrides::Overrides;
pub(crate) use value::pattern_matches;
pub use value::{Accel, Channel, EnvPattern, Expected, Init, KernelEventKind, Memory, Share, parse_duration};
