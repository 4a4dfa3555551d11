use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::registry::{Operation, Remote};
use crate::{Error, KernelTag, Options, Reference, Result};

/// How many tags are asked for at a time; registries may give fewer.
const PAGE: usize = 1000;

/// More pages than this are a registry that goes in circles.
const MOST_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    // Some registries write null for none.
    tags: Option<Vec<String>>,
}

/// All tags of the repository, in the registry's order; the tag of `reference` does not matter.
///
/// # Errors
/// Those of talking to the registry.
pub async fn tags(reference: &Reference, options: &Options) -> Result<Vec<String>> {
    let remote = Remote::connect(reference, options, Operation::Pull).await?;
    let mut next = Some(format!("/v2/{}/tags/list?n={PAGE}", reference.repository()));
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(path) = next else { return Ok(all) };
        let (page, link) = remote.json::<Page>(&path).await?;
        all.extend(page.tags.unwrap_or_default());
        next = link.as_deref().and_then(next_page).map(str::to_owned);
    }
    Err(Error::invalid(reference, format!("its list of tags has more than {MOST_PAGES} pages")))
}

/// The address in `<…>; rel="next"` (RFC 5988).
fn next_page(link: &str) -> Option<&str> {
    let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    (parameters.contains("rel=\"next\"") || parameters.contains("rel=next")).then_some(address)
}

/// The published kernels among the tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog(BTreeMap<String, Vec<String>>);

impl Catalog {
    /// Takes the tags that are `VERSION-main` or `VERSION-DIGITS.DIGITS`; a version with `-latest` in it is none.
    pub fn of(tags: &[String]) -> Self {
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for tag in tags.iter().filter_map(|tag| tag.parse::<KernelTag>().ok()) {
            if !tag.version().contains("-latest") {
                versions.entry(tag.version().to_owned()).or_default().push(tag.to_string());
            }
        }
        Self(versions)
    }

    /// The versions: names that are no version, such as `bpf-next`, come first, then versions ascending.
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<_> = self.0.keys().map(String::as_str).collect();
        versions.sort_by(|a, b| compare(a, b));
        versions
    }

    /// The tags of one version, sorted as text: dates ascending, `main` last.
    ///
    /// # Errors
    /// When there is no such version; the error lists those that there are.
    pub fn tags(&self, version: &str) -> Result<Vec<String>> {
        let Some(tags) = self.0.get(version) else {
            let known = format!(" (try: {})", self.versions().join(", "));
            return Err(Error::NotFound { what: format!("kernel version `{version}`"), known });
        };
        let mut tags = tags.clone();
        tags.sort();
        Ok(tags)
    }
}

/// As Go's `semver` compares `v` and the name; what is equal to it, by the text.
fn compare(a: &str, b: &str) -> Ordering {
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

/// `6`, `6.12` or `6.12.3`, perhaps with `-rc1` at its end, which comes before the release; none is less than any.
fn numbers(version: &str) -> Option<([u64; 3], bool)> {
    let (release, candidate) = version.split_once('-').map_or((version, None), |(release, rest)| (release, Some(rest)));
    let parts: Vec<_> = release.split('.').collect();
    if parts.len() > 3 || candidate.is_some() && parts.len() < 3 {
        return None;
    }
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(&parts) {
        let canonical = part.bytes().all(|b| b.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'));
        *number = part.parse().ok().filter(|_| canonical)?;
    }
    Some((numbers, candidate.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(tags: &[&str]) -> Catalog {
        Catalog::of(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn versions_are_sorted_as_the_go_tool_does() {
        let all = [
            "6.12-main",
            "6.6-main",
            "4.19-main",
            "bpf-next-main",
            "rhel8.9-main",
            "bpf-main",
            "5.10-20250101.000000",
            "5.4-main",
        ];
        assert_eq!(catalog(&all).versions(), ["bpf", "bpf-next", "rhel8.9", "4.19", "5.4", "5.10", "6.6", "6.12"]);
    }

    #[test]
    fn release_candidates_come_before_their_release() {
        let all = ["6.12.1-main", "6.12.1-rc2-main", "6.12-main", "6.12-rc1-main"];
        // Go's semver takes no `v6.12-rc1`: a short version has no suffix.
        assert_eq!(catalog(&all).versions(), ["6.12-rc1", "6.12", "6.12.1-rc2", "6.12.1"]);
    }

    #[test]
    fn other_tags_are_left_out() {
        let all = ["latest", "6.6", "6.6-main-amd64", "6.6-latest-main", "6.6-v0.0.1", "6.6-main"];
        let catalog = catalog(&all);
        assert_eq!(catalog.versions(), ["6.6"]);
        assert_eq!(catalog.tags("6.6").unwrap(), ["6.6-main"]);
    }

    #[test]
    fn a_versions_tags_end_with_main_and_an_unknown_version_lists_the_known() {
        let catalog = catalog(&["6.6-main", "6.6-20250202.000000", "6.6-20250101.000000", "6.12-main"]);
        assert_eq!(catalog.tags("6.6").unwrap(), ["6.6-20250101.000000", "6.6-20250202.000000", "6.6-main"]);
        assert_eq!(catalog.tags("6.7").unwrap_err().to_string(), "kernel version `6.7` was not found (try: 6.6, 6.12)");
    }

    #[test]
    fn the_next_page_is_what_the_header_says() {
        assert_eq!(next_page(r#"</v2/a/tags/list?last=x&n=2>; rel="next""#), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next_page(r#"</v2/a>; rel="prev""#), None);
        assert_eq!(next_page(""), None);
    }
}
