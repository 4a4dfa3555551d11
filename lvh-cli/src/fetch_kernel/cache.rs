//! Kernels and images in the registry that a team shares: how one lies there, and how a kernel becomes an entry of the store again.
//!
//! ```text
//! the tag kernel-ASKED, for each digest that it is known by
//! /data/kernels/KEY/boot/{vmlinuz,config,System.map}-RELEASE
//! /data/kernels/KEY/lib/modules/RELEASE/
//! /data/kernels/KEY/made      what it is: see `Made`
//! ```
//!
//! So it is a kernel as any that is published, and `oci = "REPOSITORY:kernel-KEY"` takes it too. The same for the tags image-ASKED: what they
//! hold is `lvh_core::image::build`'s.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lvh_core::config::parse_duration;
use lvh_core::kernel::KernelRelease;
use lvh_core::store::Key;
use lvh_oci::{
    BlobStore, Compressed, Content, Destination, Digest, Error, Options, Pack, Place, Platform, Reference, Result,
    Source,
};

use super::shown;

/// How long a registry may send nothing. A build is never far.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many times that, and all of it has taken too long.
const PATIENCES: u32 = 60;
/// The first line of `made`: its number is raised when what follows means something else.
const VERSION: &str = "lvh-kernel 1";
/// How tags begin.
const KERNEL: &str = "kernel";
const IMAGE: &str = "image";
/// The files of an entry that go to `boot/`.
const BOOT: [&str; 3] = ["vmlinuz", "config", "System.map"];

/// A repository that is a cache.
#[derive(Debug)]
pub(super) struct Cache {
    repository: String,
    blobs: BlobStore,
    options: Options,
    patience: Duration,
}

impl Cache {
    pub(super) fn open(repository: String, blobs: PathBuf) -> Result<Self> {
        let patience = patience(std::env::var("LVH_CACHE_TIMEOUT").ok())?;
        let options = Options {
            connect_timeout: patience,
            read_timeout: patience,
            longest_pause: patience,
            helper_timeout: patience,
            attempts: 2,
            ..Options::from_env()
        };
        Ok(Self { repository, blobs: BlobStore::open(blobs)?, options, patience })
    }

    /// Brings the kernel `asked`, made from `commit`, to the directory `into`; says which it is.
    pub(super) async fn take(&self, asked: &str, commit: &str, into: &Path) -> Result<Option<String>> {
        let source: Source = self.name(KERNEL, asked).parse()?;
        self.in_time(async {
            if !self.has(&source).await? {
                return Ok(None);
            }
            let (show, into) = (shown(), Destination::Staging(into));
            lvh_oci::pull_kernel(&source, Platform::host(), into, &self.blobs, &self.options, &show).await.map(Some)
        })
        .await?
        .map(|_pulled| to_entry(into, &self.name(KERNEL, asked), asked, commit))
        .transpose()
    }

    /// Stores the kernel `key` of the directory `entry` under each of `asked`, as far as it is not there.
    pub(super) async fn put(&self, key: &str, entry: &Path, asked: &[String]) -> Result<Digest> {
        let scratch = self.blobs.scratch()?;
        let made = scratch.path().join("made");
        let release = read(&entry.join("release"))?;
        let commit = read(&entry.join("commit"))?;
        let text = Made { key: key.to_owned(), commit, release: release.clone(), asked: asked.to_vec() }.to_string();
        fs::write(&made, text).map_err(|error| failed("write", &made, error))?;
        let to = |name: String| format!("data/kernels/{key}/{name}");
        let boot = BOOT.iter().map(|file| (entry.join(file), to(format!("boot/{file}-{release}"))));
        let all = boot.chain([(entry.join("lib"), to("lib".to_owned())), (made, to("made".to_owned()))]);
        let contents = all.filter(|(from, _)| from.exists()).map(|(from, to)| Content { from, to }).collect();
        let pack = Pack { contents, platform: Platform::host(), annotations: Default::default(), tag: None };
        self.in_time(self.push(pack, &scratch.path().join("layout"), KERNEL, asked)).await
    }

    /// Brings the disks of the image `asked` to the directory `into`; says which it is.
    pub(super) async fn take_image(&self, asked: &str, into: &Path) -> Result<Option<Digest>> {
        let source: Source = self.name(IMAGE, asked).parse()?;
        self.in_time(async {
            if !self.has(&source).await? {
                return Ok(None);
            }
            let (host, removed, show) = (Platform::host(), Compressed::Removed, shown());
            let pulled = lvh_oci::pull_images(&source, host, into, removed, &self.blobs, &self.options, &show).await?;
            Ok(Some(pulled.digest))
        })
        .await
    }

    /// Stores an image under each of `asked`; its files are in the directory `dir`.
    pub(super) async fn put_image(&self, dir: PathBuf, asked: &[String]) -> Result<Digest> {
        let scratch = self.blobs.scratch()?;
        let contents = vec![Content { from: dir, to: "data/images".to_owned() }];
        let pack = Pack { contents, platform: Platform::host(), annotations: Default::default(), tag: None };
        self.in_time(self.push(pack, &scratch.path().join("layout"), IMAGE, asked)).await
    }

    async fn has(&self, source: &Source) -> Result<bool> {
        match lvh_oci::resolve(source, &self.blobs, &self.options).await {
            Err(Error::NotFound { .. }) => Ok(false),
            other => other.map(|_digest| true),
        }
    }

    async fn push(&self, pack: Pack, layout: &Path, kind: &str, asked: &[String]) -> Result<Digest> {
        let packed = lvh_oci::pack(pack, layout).await?;
        for asked in asked {
            let name: Reference = self.name(kind, asked).parse()?;
            lvh_oci::push(&packed, &name, Place::Manifest, &self.options, &|_| ()).await?;
        }
        Ok(packed.digest)
    }

    fn name(&self, kind: &str, asked: &str) -> String {
        format!("{}:{kind}-{asked}", self.repository)
    }

    /// One that is slow without being silent would not be noticed.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let after = self.patience * PATIENCES;
        let late = |_| Error::Timeout { what: self.repository.clone(), after };
        tokio::time::timeout(after, work).await.map_err(late)?
    }
}

/// What `LVH_CACHE_TIMEOUT` says.
fn patience(variable: Option<String>) -> Result<Duration> {
    let Some(text) = variable.filter(|text| !text.is_empty()) else { return Ok(PATIENCE) };
    parse_duration(&text).map_err(|_such| {
        let expected = "a time such as `10s` or `1m`".to_owned();
        Error::Malformed { what: "time in LVH_CACHE_TIMEOUT", text, expected }
    })
}

/// Makes of the kernel in `dir` an entry of the store, if it is the one that was asked for; says its digest.
fn to_entry(dir: &Path, name: &str, asked: &str, commit: &str) -> Result<String> {
    let invalid = |why: &str| Error::Invalid { what: name.to_owned(), why: why.to_owned() };
    let path = dir.join("made");
    let text = fs::read_to_string(&path).map_err(|_none| invalid("it says not what it is"))?;
    let made = Made::parse(&text).ok_or_else(|| invalid("what it says of itself is not as agreed"))?;
    if !made.asked.iter().any(|known| known == asked) || made.commit != commit {
        return Err(invalid("it is another kernel than its tag says"));
    }
    if !dir.join(format!("boot/vmlinuz-{}", made.release)).is_file() {
        return Err(invalid("it has no image of a kernel"));
    }
    for file in BOOT {
        let from = dir.join(format!("boot/{file}-{}", made.release));
        if from.is_file() {
            fs::rename(&from, dir.join(file)).map_err(|error| failed("move", &from, error))?;
        }
    }
    let boot = dir.join("boot");
    fs::remove_dir_all(&boot).map_err(|error| failed("remove", &boot, error))?;
    fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
    for (file, text) in [("release", &made.release), ("commit", &made.commit)] {
        fs::write(dir.join(file), text).map_err(|error| failed("write", &dir.join(file), error))?;
    }
    Ok(made.key)
}

/// What a kernel of the cache says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    key: String,
    commit: String,
    release: String,
    asked: Vec<String>,
}

impl Made {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(VERSION)?.strip_prefix('\n')?.lines();
        let mut next = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let key = Key::parse(next("key")?)?.to_string();
        let (commit, release) = (next("commit")?.to_owned(), KernelRelease::parse(next("release")?)?.to_string());
        let asked = lines.map(|line| line.strip_prefix("asked ").map(str::to_owned)).collect::<Option<_>>()?;
        Some(Self { key, commit, release, asked })
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, commit, release, asked } = self;
        writeln!(f, "{VERSION}\nkey {key}\ncommit {commit}\nrelease {release}")?;
        asked.iter().try_for_each(|asked| writeln!(f, "asked {asked}"))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| failed("read", path, error))
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_say_what_they_are() {
        let key = "a".repeat(64);
        let made = Made {
            key: key.clone(),
            commit: "c".to_owned(),
            release: "6.1".to_owned(),
            asked: vec!["x".to_owned(), "y".to_owned()],
        };
        let text = made.to_string();
        assert_eq!(Made::parse(&text), Some(made));
        let check = |from: &str, to: &str| assert_eq!(Made::parse(&text.replace(from, to)), None, "{to}");
        check(&key, "../../x");
        check("6.1", "../6.1");
        check("kernel 1", "kernel 2");
        check("asked x", "x");
        check("release 6.1\n", "");
    }

    #[test]
    fn patience_is_a_time() {
        assert_eq!(patience(None).unwrap(), PATIENCE);
        assert_eq!(patience(Some("2s".to_owned())).unwrap(), Duration::from_secs(2));
        let error = patience(Some("2".to_owned())).unwrap_err().to_string();
        assert_eq!(error, "`2` is no time in LVH_CACHE_TIMEOUT: expected a time such as `10s` or `1m`");
    }
}
