//! From addresses back to functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

use crate::Function;

/// Where functions begin.
pub(crate) struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// Reads where the functions are.
    pub(crate) fn of(functions: &[Function]) -> Result<Self> {
        let path = "/proc/kallsyms";
        let text = fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        let names: BTreeSet<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        let symbol = |line: &str| {
            let mut fields = line.split(' ');
            let (address, _kind, name) = (fields.next()?, fields.next()?, fields.next()?);
            let address = names.contains(name).then(|| u64::from_str_radix(address, 16))?;
            Some((address.ok()?, name.to_owned()))
        };
        Ok(Self(text.lines().filter_map(symbol).collect()))
    }

    /// The function that an instruction belongs to. How far from its start a probe sits differs between kernels.
    pub(crate) fn function(&self, instruction: u64) -> Option<&str> {
        self.0.range(..=instruction).next_back().map(|(_, name)| name.as_str())
    }
}
