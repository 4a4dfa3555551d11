//! Images on the disk: OCI layout directories, and archives, which become such.

mod archive;
mod layout;

pub(crate) use archive::{open_archive, open_docker_archive};
pub(crate) use layout::{Layout, publish, to_json};
