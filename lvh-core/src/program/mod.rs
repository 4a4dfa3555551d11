//! Programs of the host: what they need to run, and how they run with the host's loader and libraries where those are not
//! at their places.

pub(crate) mod needs;
pub(crate) mod patch;
