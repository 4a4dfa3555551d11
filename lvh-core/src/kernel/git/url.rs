use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Where a kernel's source is: `REPOSITORY[?depth=N][#REFERENCE]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    /// What `git fetch` takes: a URL, `user@host:path` or an absolute path.
    pub repository: String,
    /// A branch, a tag or a commit. Default: the branch `master` or, where there is none, the remote's own default.
    pub reference: Option<String>,
    /// How many commits of its history to fetch. Default: all.
    pub depth: Option<u32>,
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.depth.map_or(Ok(()), |depth| write!(f, "?depth={depth}"))?;
        self.reference.as_ref().map_or(Ok(()), |reference| write!(f, "#{reference}"))
    }
}

impl GitUrl {
    /// Reads `text`; a relative path starts at `base`.
    ///
    /// # Errors
    /// When `text` is nothing that git can fetch from, or its depth or reference is none.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        let (rest, reference) = match text.split_once('#') {
            Some((rest, reference)) if !reference.is_empty() => (rest, Some(reference.to_owned())),
            Some((rest, _)) => (rest, None),
            None => (text, None),
        };
        let (repository, query) = rest.split_once('?').unwrap_or((rest, ""));
        let url = Self { repository: repository_of(repository, base)?, reference: None, depth: depth_of(query)? };
        match reference {
            Some(reference) => url.with_reference(&reference),
            None => Ok(url),
        }
    }

    /// Whether another machine is asked for it.
    pub fn is_remote(&self) -> bool {
        !self.repository.starts_with('/') && !self.repository.starts_with("file:")
    }

    /// The same repository at the branch, tag or commit `reference`.
    ///
    /// # Errors
    /// When git would not take `reference` for a name.
    pub fn with_reference(self, reference: &str) -> Result<Self> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
        let wrong = reference.is_empty()
            || reference.starts_with(['-', '/', '.'])
            || reference.ends_with(['/', '.'])
            || [".lock", "..", "@{", "//", "/."].iter().any(|part| reference.contains(part))
            || reference.contains(odd);
        match wrong {
            true => Err(usage(format!("`{reference}` cannot be the name of a branch, tag or commit"))),
            false => Ok(Self { reference: Some(reference.to_owned()), ..self }),
        }
    }
}

/// The repository part, as git takes it.
fn repository_of(text: &str, base: &Path) -> Result<String> {
    const SCHEMES: &[&str] = &["git", "http", "https", "ssh", "git+ssh", "ssh+git", "file"];
    let unsupported = || {
        Err(usage(format!("Unsupported URL: '{text}'")).with_hint(
            "a kernel's source is a git repository: git://, https://, ssh://, file://, user@host:path or a directory",
        ))
    };
    // A remote helper such as `ext::` runs any command.
    if text.is_empty() || text.starts_with('-') || text.contains("::") || text.contains(char::is_control) {
        return unsupported();
    }
    if is_archive(text) {
        let message = format!("`{text}` is an archive, and no git repository");
        return Err(
            usage(message).with_hint("in `lvh.toml`, `tarball` and `sha256` in a table [kernels.NAME] take one")
        );
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let whole = SCHEMES.contains(&scheme) && !rest.is_empty() && !rest.starts_with('-');
        return if whole { Ok(text.to_owned()) } else { unsupported() };
    }
    if text.split_once(':').is_some_and(|(host, path)| !host.is_empty() && !host.contains('/') && !path.is_empty()) {
        return Ok(text.to_owned());
    }
    let path = base.join(text);
    if !text.contains('/') && !path.exists() && !matches!(text, "." | "..") {
        return unsupported();
    }
    let absolute: PathBuf = std::path::absolute(&path).map_err(|e| Error::path("find", &path, e))?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// Whether the web has a packed tar archive there.
fn is_archive(url: &str) -> bool {
    let packed = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tar.zst"];
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && packed.iter().any(|end| url.ends_with(end))
}

fn depth_of(query: &str) -> Result<Option<u32>> {
    let Some(depth) = query.split('&').find_map(|pair| pair.strip_prefix("depth=")) else { return Ok(None) };
    let depth: u32 = depth.parse().map_err(|e| usage(format!("invalid depth value: {depth}")).with_source(e))?;
    Ok((depth > 0).then_some(depth))
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match GitUrl::parse(text, Path::new("/base")) {
            Ok(url) => format!("{} {:?} {:?}", url.repository, url.reference, url.depth),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), expected, "{text}");
        check("git://host/bpf-next.git", "git://host/bpf-next.git None None");
        check("https://host:8443/l.git?depth=1#linux-5.15.y", "https://host:8443/l.git Some(\"linux-5.15.y\") Some(1)");
        check("http://host/l.git?x=1&depth=3", "http://host/l.git None Some(3)");
        check("ssh://git@host/l.git#v6.1", "ssh://git@host/l.git Some(\"v6.1\") None");
        check("file:///src/linux#", "file:///src/linux None None");
        check("git@host:linux.git#net/main", "git@host:linux.git Some(\"net/main\") None");
        check("/src/linux?depth=0", "/src/linux None None");
        check("../linux#main", "/base/../linux Some(\"main\") None");
    }

    #[test]
    fn other_machines_are_remote() {
        let check = |text: &str, expected: bool| {
            assert_eq!(GitUrl::parse(text, Path::new("/base")).unwrap().is_remote(), expected, "{text}");
        };
        for text in ["git://host/x", "https://host/x", "ssh://host/x", "git@host:x"] {
            check(text, true);
        }
        for text in ["file:///x", "/x", "./x"] {
            check(text, false);
        }
    }

    #[test]
    fn what_git_cannot_fetch_is_refused() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), expected, "{text}");
        for text in ["", "linux", "ftp://host/x", "ext::sh -c true", "-u", "https://", "ssh://-oProxyCommand=x/y"] {
            check(text, &format!("Unsupported URL: '{text}'"));
        }
        for url in ["https://h/linux-6.6.tar.xz", "http://h/linux.tgz"] {
            check(url, &format!("`{url}` is an archive, and no git repository"));
        }
        check("https://h/x?depth=one", "invalid depth value: one");
        check("https://h/x?depth=-1", "invalid depth value: -1");
        for reference in ["-x", "a..b", "a b", "a:b", "x.lock", "@{u}", "/x"] {
            check(
                &format!("https://h/x#{reference}"),
                &format!("`{reference}` cannot be the name of a branch, tag or commit"),
            );
        }
    }
}
