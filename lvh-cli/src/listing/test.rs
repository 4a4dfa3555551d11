use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Place;

/// The tests that a run would have, by binary and name.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) tests: Vec<Test>,
    /// What they run on, by the directory of the package whose `lvh.toml` knows the names.
    pub(crate) places: BTreeSet<(PathBuf, Place)>,
}

/// A test as cargo-nextest knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) binary: Binary,
    pub(crate) name: String,
    /// What lvh's own reports may call it.
    pub(crate) aliases: Vec<String>,
    /// What it runs on, one after the other; nothing for the host.
    pub(crate) places: Vec<Place>,
}

/// How a filter names a test binary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Binary {
    /// By nextest's id, `PACKAGE::BINARY`.
    Id(String),
    /// By its name: of a lone binary, the package is not known.
    Name(String),
}

impl Binary {
    pub(crate) fn name(&self) -> &str {
        let (Self::Id(name) | Self::Name(name)) = self;
        name
    }
}
