use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Platform, Result};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What a registry may answer with.
pub(crate) const MEDIA_TYPES: &[&str] = &[OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// A manifest, index or configuration larger than this is none.
pub(crate) const LARGEST_DOCUMENT: u64 = 8 << 20;

/// Names a blob or a manifest by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) urls: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<PlatformWords>,
}

/// A platform as a manifest writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlatformWords {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// The image for one platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// The images of several platforms under one name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// What a name leads to.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde_json::Value>,
    layers: Option<serde_json::Value>,
}

impl Descriptor {
    /// A descriptor without platform and annotations.
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, urls: None, annotations: None, platform: None }
    }

    /// Refuses what is not in the registry itself, and what is larger than `limit`.
    pub(crate) fn check(&self, limit: u64) -> Result<()> {
        if self.urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
            return Err(Error::invalid(
                &self.digest,
                "it is a foreign layer, whose bytes are elsewhere; lvh follows no such URLs",
            ));
        }
        match self.size > limit {
            true => Err(Error::TooLarge { what: format!("`{}`", self.digest), limit }),
            false => Ok(()),
        }
    }
}

impl PlatformWords {
    pub(crate) fn of(platform: Platform) -> Self {
        Self { architecture: platform.architecture().as_str().to_owned(), os: "linux".to_owned(), variant: None }
    }

    pub(crate) fn is(&self, platform: Platform) -> bool {
        self.os == "linux" && self.architecture == platform.architecture().as_str()
    }
}

impl std::fmt::Display for PlatformWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl Document {
    /// Reads a manifest or index, OCI's or Docker's version 2; `what` is for errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let invalid = |e: serde_json::Error| Error::invalid(what, format!("not a manifest: {e}"));
        let outline: Outline = serde_json::from_slice(bytes).map_err(invalid)?;
        let media_type = outline.media_type.unwrap_or_default();
        if outline.schema_version != 2 || !(media_type.is_empty() || MEDIA_TYPES.contains(&media_type.as_str())) {
            let media_type =
                if media_type.is_empty() { format!("schema {}", outline.schema_version) } else { media_type };
            return Err(Error::UnsupportedMediaType { what: what.to_owned(), media_type });
        }
        // One that is both would be one thing for us and another for others (CVE-2021-41190).
        match (outline.manifests.is_some(), outline.layers.is_some()) {
            (true, false) => serde_json::from_slice(bytes).map(Self::Index).map_err(invalid),
            (false, true) => serde_json::from_slice(bytes).map(Self::Manifest).map_err(invalid),
            _ => Err(Error::invalid(what, "it is neither a manifest nor an index, or both")),
        }
    }
}

impl Index {
    /// The manifest for `platform`. Attestations (`unknown/unknown`) are no images; the only entry of all may leave its platform out.
    pub(crate) fn select(&self, platform: Platform, what: &str) -> Result<&Descriptor> {
        let of = |entry: &Descriptor| entry.platform.as_ref().is_some_and(|words| words.is(platform));
        match self.manifests.as_slice() {
            [entry] if entry.platform.is_none() => Ok(entry),
            entries => entries.iter().find(|entry| of(entry)).ok_or_else(|| self.nothing_for(platform, what)),
        }
    }

    fn nothing_for(&self, platform: Platform, what: &str) -> Error {
        let words = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let mut available: Vec<_> = words.filter(|words| words.os != "unknown").map(ToString::to_string).collect();
        available.dedup();
        let available = match (available.is_empty(), self.manifests.is_empty()) {
            (false, _) => available.join(", "),
            (true, false) => "none that says for what it is".to_owned(),
            (true, true) => "no image at all".to_owned(),
        };
        Error::NoPlatform { what: what.to_owned(), wanted: platform.to_string(), available }
    }
}

/// The part of an image's configuration that we look at.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageConfig {
    #[serde(flatten)]
    pub(crate) platform: PlatformWords,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let entry = |platform: &&str| {
            let (os, architecture) = platform.split_once('/').unwrap();
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
                Digest::of(platform.as_bytes())
            )
        };
        let entries: Vec<_> = platforms.iter().map(entry).collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        match Document::parse(text.as_bytes(), "x").unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("an index"),
        }
    }

    #[test]
    fn the_platform_is_chosen_and_attestations_are_not() {
        let index = index(&["unknown/unknown", "linux/arm64", "linux/amd64", "unknown/unknown"]);
        let chosen = |platform: &str| index.select(platform.parse().unwrap(), "x").unwrap().digest.clone();
        assert_eq!(chosen("linux/amd64"), Digest::of(b"linux/amd64"));
        assert_eq!(chosen("linux/arm64"), Digest::of(b"linux/arm64"));
    }

    #[test]
    fn a_missing_platform_is_told_with_those_that_are_there() {
        let error = index(&["linux/amd64", "linux/s390x", "unknown/unknown"])
            .select("arm64".parse().unwrap(), "r/i:t")
            .unwrap_err();
        assert_eq!(error.to_string(), "`r/i:t` has nothing for linux/arm64 (it has: linux/amd64, linux/s390x)");
        let words =
            |platforms: &[&str]| index(platforms).select("amd64".parse().unwrap(), "r/i:t").unwrap_err().to_string();
        assert_eq!(words(&[]), "`r/i:t` has nothing for linux/amd64 (it has: no image at all)");
        let unknown = "`r/i:t` has nothing for linux/amd64 (it has: none that says for what it is)";
        assert_eq!(words(&["unknown/unknown"]), unknown);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, words) in [
            ("{", "not a manifest"),
            (
                r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#,
                "manifest.v1+json",
            ),
            (r#"{"schemaVersion":1}"#, "schema 1"),
            (r#"{"schemaVersion":2,"mediaType":"application/x"}"#, "application/x"),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "or both"),
            (r#"{"schemaVersion":2}"#, "neither"),
            (r#"{"schemaVersion":2,"layers":[],"config":{"digest":"md5:1","size":1}}"#, "sha256"),
            (r#"{"schemaVersion":2,"layers":[],"config":{"digest":"x","size":-1}}"#, "not a manifest"),
        ] {
            let error = Document::parse(text.as_bytes(), "x").unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn foreign_and_large_blobs_are_refused() {
        let mut blob = Descriptor::new(OCI_LAYER_TAR, Digest::of(b"x"), 10);
        assert!(blob.check(10).is_ok());
        assert!(matches!(blob.check(9), Err(Error::TooLarge { limit: 9, .. })));
        blob.urls = Some(vec!["https://elsewhere.example/x".to_owned()]);
        assert!(blob.check(10).unwrap_err().to_string().contains("foreign layer"));
    }
}
