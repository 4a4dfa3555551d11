//! What people and tools see of libtest: its arguments, which tests they select, its output.
//!
//! ```text
//! arguments ─► Args ─► selection ─► printer ─► text, json
//! ```

mod arg_error;
mod args;
mod json;
mod printer;
mod selection;
mod status;
mod text;

pub(crate) use arg_error::Refusal;
pub(crate) use args::{Args, Format, parse};
pub(crate) use json::escape as json_text;
pub(crate) use printer::{Printer, listing, print};
pub(crate) use selection::{ignore_reason, select};
