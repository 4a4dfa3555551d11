//! What was made, and of what: so it need not be made again.

pub(crate) mod foreign;
pub(crate) mod fresh;
pub(crate) mod key;
pub(crate) mod product;
pub(crate) mod record;
pub(crate) mod shared;
