//! How host and guest are connected: the channel on which they talk, the share by which the guest sees the host's files.

pub(crate) mod candidates;
pub(crate) mod channel;
pub(crate) mod drivers;
pub(crate) mod served;
pub(crate) mod share;
