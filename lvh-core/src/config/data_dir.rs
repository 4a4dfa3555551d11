//! Where kernels and images are kept when nothing says otherwise.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// `$XDG_CACHE_HOME/lvh`, else `$HOME/.cache/lvh`. The XDG base directory specification ignores a relative
/// `XDG_CACHE_HOME`, and so do we.
pub(super) fn default_data_dir(lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let absolute = |name| lookup(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.as_deref().map(|cache| Path::join(cache, "lvh")).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "no data directory: neither `XDG_CACHE_HOME` nor `HOME` is an absolute path")
            .with_hint("set `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_absolute_directory_wins() {
        let check = |vars: &[(&str, &str)], expected: Option<&str>| {
            let lookup = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(default_data_dir(lookup).ok().as_deref(), expected.map(Path::new), "{vars:?}");
        };
        check(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/lvh"));
        check(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")], Some("/h/.cache/lvh"));
        check(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/lvh"));
        check(&[], None);
    }
}
