//! What a guest's kernel says.

pub(crate) mod event;
pub(crate) mod log_file;
pub(crate) mod record;
