use crate::{Events, Store};

/// A kernel, or an image, that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// What the user calls it.
    pub(crate) name: &'a str,
    /// What events and errors call it.
    pub(crate) subject: &'a str,
    pub(crate) store: &'a Store,
    pub(crate) events: &'a Events,
    /// What is remembered does not count.
    pub(crate) newest: bool,
    /// What `lvh.lock` says that it is.
    pub(crate) pin: Option<&'a [String]>,
    /// What it is resolved to goes to `lvh.lock`.
    pub(crate) records: bool,
}
