use std::path::Path;

use crate::kernel::git::GitUrl;
use crate::{Error, ErrorKind, Result};

/// Reads where a source comes from; a relative path starts at `base`.
pub(super) fn parse(url: &str, base: &Path) -> Result<GitUrl> {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let depths: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("depth=")).collect();
    if depths.len() > 1 {
        return Err(Error::new(ErrorKind::Usage, format!("invalid depth value: {}", depths.join(", "))));
    }
    GitUrl::parse(url, base)
}

/// What stands in the file for `url`: it is as it was given, but for a path, which starts at the root.
pub(super) fn lasting(url: &str) -> Result<String> {
    let parsed = parse(url, Path::new(""))?;
    let is_path = Path::new(&parsed.repository).is_absolute() && !Path::new(url).is_absolute();
    Ok(if is_path { parsed.to_string() } else { url.to_owned() })
}
