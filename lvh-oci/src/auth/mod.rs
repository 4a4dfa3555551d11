//! Credentials: which a registry gets, from which file or helper; and the tokens that they are exchanged for.

mod credentials;
mod file;
mod helper;
mod places;
mod token;

pub use credentials::Credentials;
pub(crate) use places::{Found, Places};
pub(crate) use token::{Token, TokenError, challenge, token};
