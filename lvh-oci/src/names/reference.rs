use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error, Result};

/// The name of an image in a registry: `[REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]`.
///
/// As for Docker, a name without a registry is one of `docker.io`, a single word there is `library/WORD`, and a name with neither tag nor
/// digest has the tag `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(oci_client::Reference);

impl Reference {
    /// The registry: host and, where given, port. `docker.io` for names without one.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The tag; none where the image is named by its digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The digest that the image must have, where one is named.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest().map(|digest| digest.parse().expect("`from_str` looked at it"))
    }

    /// The same repository's image of that digest.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        let (registry, repository) = (self.registry().to_owned(), self.repository().to_owned());
        Self(oci_client::Reference::with_digest(registry, repository, digest.to_string()))
    }

    /// The same repository's image of that tag.
    ///
    /// # Errors
    /// When `tag` is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        format!("{}/{}:{tag}", self.registry(), self.repository()).parse()
    }

    /// The host that is asked, which for Docker's registry has another name.
    pub(crate) fn host(&self) -> &str {
        self.0.resolve_registry()
    }

    pub(crate) fn oci(&self) -> &oci_client::Reference {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = |why: &str| {
            let expected = format!("`[REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]` ({why})");
            Error::Malformed { what: "reference of an image", text: text.to_owned(), expected }
        };
        if text.contains("://") {
            return Err(malformed("without a scheme"));
        }
        let reference: oci_client::Reference =
            text.parse().map_err(|e: oci_client::ParseError| malformed(&e.to_string()))?;
        match reference.digest().map(str::parse::<Digest>) {
            Some(Err(_)) => Err(malformed("a digest is `sha256:` and 64 lower-case hex digits")),
            _ => Ok(Self(reference)),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, registry: &str, repository: &str, tag: Option<&str>) {
        let reference: Reference = text.parse().unwrap();
        let parts = (reference.registry(), reference.repository(), reference.tag());
        assert_eq!(parts, (registry, repository, tag), "{text}");
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        check("busybox", "docker.io", "library/busybox", Some("latest"));
        check("me/kernels:6.12", "docker.io", "me/kernels", Some("6.12"));
        check("quay.io/lvh-images/kernel-images:6.12-main", "quay.io", "lvh-images/kernel-images", Some("6.12-main"));
        check("localhost:5000/k", "localhost:5000", "k", Some("latest"));
        check("127.0.0.1:5000/a/b:c", "127.0.0.1:5000", "a/b", Some("c"));
        assert_eq!("busybox".parse::<Reference>().unwrap().host(), "index.docker.io");
    }

    #[test]
    fn a_digest_takes_the_place_of_a_tag() {
        let digest = Digest::of(b"x");
        check(&format!("quay.io/a/b@{digest}"), "quay.io", "a/b", None);
        let reference: Reference = format!("quay.io/a/b:t@{digest}").parse().unwrap();
        assert_eq!(reference.digest(), Some(digest.clone()));
        assert_eq!(reference.with_digest(&digest).to_string(), format!("quay.io/a/b@{digest}"));
    }

    #[test]
    fn errors_say_what_is_expected() {
        for bad in [
            "",
            "https://quay.io/a",
            "quay.io/A/b",
            "a b",
            "a:b:c",
            "a@sha256:12",
            &format!("a@sha512:{}", "a".repeat(128)),
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")) && error.contains("[REGISTRY/]REPOSITORY[:TAG]"), "{error}");
        }
    }
}
