//! The Debian mirror that this machine uses, from its apt configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Names of Debian's suites. An archive that has one of them need not be Debian's, but one that has none is not.
const SUITES: &[&str] = &[
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
];

/// One source of packages, from either file format.
#[derive(Debug, Default, PartialEq, Eq)]
struct SourceEntry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// A keyring's path, or an embedded key.
    signed_by: Option<String>,
}

impl SourceEntry {
    /// How sure it is that this is Debian's main archive; `None` if it is not.
    fn rank(&self) -> Option<u8> {
        let debian = self.suites.iter().any(|suite| SUITES.contains(&suite.as_str()));
        if !debian || self.uris.is_empty() || !self.components.iter().any(|component| component == "main") {
            return None;
        }
        match self.signed_by.as_deref() {
            // Others serve suites of the same names (`stable main`) but sign with keys of their own.
            Some(by) if by.contains("debian-archive") => Some(2),
            Some(_) => None,
            None => Some(u8::from(self.uris.iter().any(|uri| uri.trim_end_matches('/').ends_with("/debian")))),
        }
    }
}

/// The address of the archive that serves this machine's Debian suites.
pub(crate) fn of_this_machine() -> Result<String> {
    in_configuration(Path::new("/etc/apt"))
}

/// Whether `name` is one of Debian's suites.
pub(crate) fn is_suite(name: &str) -> bool {
    let base = name.split('-').next().unwrap_or(name);
    SUITES.contains(&base) || base == "experimental"
}

/// The address as [`of_this_machine`], for the configuration in the directory `etc`, which is `/etc/apt`.
pub(crate) fn in_configuration(etc: &Path) -> Result<String> {
    let entries: Vec<_> = source_files(etc).iter().flat_map(|file| read(file)).collect();
    // The first of the best: `max_by_key` alone would take the last.
    let best = entries.iter().rev().filter_map(|entry| Some((entry.rank()?, entry))).max_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry.uris[0].trim_end_matches('/').to_owned()).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "this machine's apt configuration names no Debian mirror").with_hint(
            "set LVH_DEBIAN_MIRROR, or `mirror` beside `deb` in lvh.toml, to the base URL of a Debian archive",
        )
    })
}

fn source_files(etc: &Path) -> Vec<PathBuf> {
    let parts = fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = parts.map(|found| found.path()).collect();
    files.sort();
    files.insert(0, etc.join("sources.list"));
    files
}

/// The entries of one file; a file that cannot be read counts as empty, as apt may be fine without it.
fn read(file: &Path) -> Vec<SourceEntry> {
    let text = fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => deb822(&text),
        Some("list") => text.lines().filter_map(one_line).collect(),
        _ => Vec::new(),
    }
}

/// `deb [arch=amd64 signed-by=/a.gpg] URI suite component…`
fn one_line(line: &str) -> Option<SourceEntry> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let line = line.strip_prefix([' ', '\t'])?.trim_start();
    let (options, line) = match line.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", line),
    };
    let mut words = line.split_whitespace().map(str::to_owned);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(SourceEntry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Stanzas of `Field: value` lines, apart by empty lines; a value goes on in lines that start with a space.
fn deb822(text: &str) -> Vec<SourceEntry> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Option<SourceEntry> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with([' ', '\t']), line.split_once(':'), fields.last_mut()) {
            (true, _, Some((_, value))) => value.extend([" ", line.trim()]),
            (false, Some((field, value)), _) => fields.push((field.to_ascii_lowercase(), value.trim().to_owned())),
            _ => {}
        }
    }
    let get = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words = |name| get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let disabled = matches!(get("enabled"), Some("no" | "false" | "off" | "0" | "without" | "disable"));
    (!disabled && words("types").iter().any(|kind| kind == "deb")).then(|| SourceEntry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: get("signed-by").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::check_reader;

    /// What `in_configuration` finds where `/etc/apt` has these files.
    fn check(test: &str, files: &[(&str, &str)], expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path();
        fs::create_dir(etc.join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(etc.join(name), text).unwrap();
        }
        let found = in_configuration(etc);
        match expected {
            Some(expected) => assert_eq!(found.unwrap(), expected, "{test}"),
            None => assert!(found.unwrap_err().hint().unwrap().contains("mirror"), "{test}"),
        }
    }

    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: http://m.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://m.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    #[test]
    fn both_formats_are_read() {
        let main = Some("http://m.example/debian");
        check("deb822", &[("sources.list.d/debian.sources", DEB822)], main);
        let list = "# c\ndeb-src http://s.example/debian trixie main\n\
                    deb http://m.example/debian-security trixie-security main\n\
                    deb [arch=amd64,arm64 trusted=no] http://m.example/debian trixie main contrib # here\n";
        check("list", &[("sources.list", list)], main);
        check("disabled-suffix", &[("sources.list.d/debian.sources.disabled", DEB822)], None);
        let off = DEB822.replacen("Components", "Enabled: no\nComponents", 1);
        check("disabled", &[("sources.list.d/debian.sources", &off)], None);
    }

    #[test]
    fn values_go_on_in_indented_lines() {
        let text = "types: deb\nuris:\n http://m.example/debian\nSuites: sid\nComponents:\n main\n contrib\n";
        check("continuation", &[("sources.list.d/a.sources", text)], Some("http://m.example/debian"));
    }

    #[test]
    fn others_with_suites_of_the_same_name_are_not_debian() {
        let other = "deb [signed-by=/usr/share/keyrings/other.gpg] http://other.example/apt stable main\n";
        check("other", &[("sources.list.d/a.list", other)], None);
        let unsigned = "deb http://other.example/apt stable main\n";
        let both = [("sources.list.d/a.list", unsigned), ("sources.list.d/debian.sources", DEB822)];
        check("both", &both, Some("http://m.example/debian"));
        let ubuntu = "deb http://m.example/ubuntu noble main universe\n";
        check("ubuntu", &[("sources.list", ubuntu)], None);
        check("empty", &[], None);
    }

    #[test]
    fn a_mirror_list_is_passed_on_to_apt() {
        let text = DEB822.replace("http://m.example/debian/", "mirror+file:/etc/apt/mirrors/debian.list");
        let expected = Some("mirror+file:/etc/apt/mirrors/debian.list");
        check("mirror-list", &[("sources.list.d/debian.sources", &text)], expected);
    }

    #[test]
    fn any_configuration_is_read() {
        let list = b"deb [arch=amd64,arm64 trusted=no] http://m.example/debian trixie main contrib # here\n";
        check_reader(20_000, &[DEB822.as_bytes(), list], (4096, 100), |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let found = text.lines().filter_map(one_line).chain(deb822(&text));
            let _ = found.filter_map(|entry| entry.rank()).count();
        });
    }
}
