//! Credentials: which a registry gets, from which file or helper; and the tokens that they are exchanged for.

mod credential_helper;
mod credentials;
mod file;
mod places;
mod token;

pub use credentials::Credentials;
pub(crate) use places::{Found, Places};
pub(crate) use token::{Token, TokenError, challenge, token};
