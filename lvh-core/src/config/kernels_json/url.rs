use crate::{Error, ErrorKind, Result};

/// Whence lvh can fetch.
const SCHEMES: &[&str] = &["git", "https", "http", "ssh", "file"];

/// Refuses what no kernel can be fetched from.
pub(super) fn check(url: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::new(ErrorKind::Usage, why.to_owned()));
    let location = url.split(['?', '#']).next().unwrap_or_default();
    match location.split_once("://") {
        None if location.contains('/') => {}
        Some((scheme, place)) if SCHEMES.contains(&scheme) && !place.trim_matches('/').is_empty() => {}
        _ => return wrong(&format!("unsupported URL `{url}` (expected one of {}, or a path)", SCHEMES.join(", "))),
    }
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let depths: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("depth=")).collect();
    match depths.as_slice() {
        [] => Ok(()),
        [depth] if depth.parse::<u32>().is_ok() => Ok(()),
        _ => wrong(&format!("invalid depth value: `{}` (expected a whole number)", depths.join("`, `"))),
    }
}
