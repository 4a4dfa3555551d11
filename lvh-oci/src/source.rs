use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Reference, Result};

/// Where an image is: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]`, or a registry's reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A registry.
    Registry(Reference),
    /// A directory of the OCI image layout.
    Layout {
        /// The directory.
        dir: PathBuf,
        /// The name of the image in it; may be left out where there is one.
        tag: Option<String>,
    },
    /// A layout in a tar file, compressed or not.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
    /// What `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
}

impl Source {
    /// The image's tag, where one is named. Those of Docker's archives are whole names: of them it is what follows the colon.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => reference.tag(),
            Self::Layout { tag, .. } | Self::OciArchive { tag, .. } => tag.as_deref(),
            Self::DockerArchive { tag, .. } => tag.as_deref().map(|tag| tag.rsplit(':').next().unwrap_or(tag)),
        }
    }
}

impl FromStr for Source {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("oci:") {
            let (dir, tag) = split(rest);
            return Ok(Self::Layout { dir, tag });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, tag) = split(rest);
            return Ok(Self::OciArchive { file, tag });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (file, tag) = split(rest);
            return Ok(Self::DockerArchive { file, tag });
        }
        text.parse().map(Self::Registry)
    }
}

/// A tag follows the last colon, unless a slash follows that: then the colon belongs to the path. Names in a Docker archive have
/// slashes and a colon themselves, so what exists as a whole is a path.
fn split(text: &str) -> (PathBuf, Option<String>) {
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') && !tag.is_empty() && !Path::new(text).exists() => {
            (path.into(), Some(tag.to_owned()))
        }
        _ => (text.into(), None),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { dir, tag } => ("oci", dir, tag),
            Self::OciArchive { file, tag } => ("oci-archive", file, tag),
            Self::DockerArchive { file, tag } => ("docker-archive", file, tag),
        };
        write!(f, "{kind}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_prefix() {
        let tag = Some("6.12-main".to_owned());
        for (text, expected) in [
            ("oci:/a/b:6.12-main", Source::Layout { dir: "/a/b".into(), tag: tag.clone() }),
            ("oci:b", Source::Layout { dir: "b".into(), tag: None }),
            ("oci:/a:b/c", Source::Layout { dir: "/a:b/c".into(), tag: None }),
            ("oci-archive:k.tar:6.12-main", Source::OciArchive { file: "k.tar".into(), tag: tag.clone() }),
            ("docker-archive:k.tar.gz", Source::DockerArchive { file: "k.tar.gz".into(), tag: None }),
        ] {
            assert_eq!(text.parse::<Source>().unwrap(), expected);
            assert_eq!(expected.to_string(), text);
        }
        assert!(matches!("quay.io/a/b:c".parse().unwrap(), Source::Registry(_)));
    }
}
