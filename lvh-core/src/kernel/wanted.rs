use crate::{Events, Store};

/// A kernel that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What the user calls it.
    pub(super) name: &'a str,
    /// What events and errors call it.
    pub(super) subject: &'a str,
    pub(super) store: &'a Store,
    pub(super) events: &'a Events,
    /// What is remembered does not count.
    pub(super) newest: bool,
    /// What `lvh.lock` says that it is.
    pub(super) pin: Option<&'a [String]>,
    /// What it is resolved to goes to `lvh.lock`.
    pub(super) records: bool,
}
