//! How a program of lvh reads the `LVH_*` variables.

use std::ffi::OsString;
use std::fmt;

use super::value::Expected;
use crate::{Error, ErrorKind, Result};

/// Variables to ask for. One that is unset or empty asks for nothing.
pub struct Env<'l>(&'l dyn Fn(&str) -> Option<OsString>);

impl<'l> Env<'l> {
    /// The variables that `lookup` knows.
    pub fn new(lookup: &'l dyn Fn(&str) -> Option<OsString>) -> Self {
        Self(lookup)
    }

    /// The variables of this process.
    pub fn of_process() -> Env<'static> {
        Env(&|name| std::env::var_os(name))
    }

    /// The value of the variable `name`, whatever it is.
    pub fn raw(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of the variable `name`, as `parse` reads it.
    ///
    /// # Errors
    ///
    /// Where `parse` refuses it; the message names the variable, its value and what is expected.
    pub fn parse<T>(&self, name: &str, parse: fn(&str) -> std::result::Result<T, Expected>) -> Result<Option<T>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        // What is not UTF-8 is no value of ours either: its lossy form goes into the error.
        let value = value.to_string_lossy();
        parse(&value).map(Some).map_err(|expected| {
            Error::new(ErrorKind::Usage, format!("the environment variable `{name}` is `{value}` ({expected})"))
        })
    }

    /// Whether the variable `name`, `1` or `0`, switches something on.
    ///
    /// # Errors
    ///
    /// As [`Env::parse`].
    pub fn switch(&self, name: &str) -> Result<Option<bool>> {
        self.parse(name, |text| match text {
            "1" => Ok(true),
            "0" => Ok(false),
            _ => Err(Expected::one_of(&["1", "0"])),
        })
    }
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Env").finish_non_exhaustive()
    }
}
