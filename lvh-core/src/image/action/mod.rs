//! What is done to an image after its packages are there: the ten actions of `images.json`, with the semantics that
//! virt-customize gave them.

mod hosts;
mod json;
mod kernel;
mod line;
mod op;
mod permissions;
#[cfg(test)]
mod tests;

pub(crate) use hosts::renamed as renamed_in_hosts;
pub(crate) use json::{from_json, tidy, to_json};
pub(crate) use kernel::find as find_kernel;
pub(crate) use line::to_append;
pub use op::{Action, Op};
pub(crate) use permissions::parse as permissions;
