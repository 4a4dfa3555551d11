//! `lvh fetch-kernel`: what lvh's core has done for it, in a process of its own, where a kernel or an image is in a registry. Not for people.
//!
//! `lvh_core::kernel::oci` has the protocol.

mod cache;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lvh_core::kernel::FETCH_PROTOCOL;
use lvh_core::{Config, Error, Store};
use lvh_oci::{BlobStore, Compressed, Destination, Digest, Options, Platform, Progress, Result, Source};

use cache::Cache;

use crate::terminal;

/// How often it is said how far a download is.
const INTERVAL: Duration = Duration::from_millis(100);

/// Fetch a kernel of a registry for another process of lvh.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, clap::Subcommand)]
enum Call {
    /// Say which image it is.
    Resolve { image: String, blobs: PathBuf },
    /// Unpack its kernel.
    Pull { image: String, blobs: PathBuf, digest: String, into: PathBuf },
    /// Unpack its disks.
    PullDisks { image: String, blobs: PathBuf, digest: String, into: PathBuf },
    /// Unpack a kernel that was built elsewhere.
    Cached { repository: String, blobs: PathBuf, asked: String, commit: String, into: PathBuf },
    /// Let others have a kernel that was built here.
    Store { repository: String, blobs: PathBuf, key: String, entry: PathBuf, asked: Vec<String> },
    /// Unpack an image that was built elsewhere.
    CachedImage { repository: String, blobs: PathBuf, asked: String, into: PathBuf },
    /// Let others have an image that was built here.
    StoreImage { repository: String, blobs: PathBuf, dir: PathBuf, asked: Vec<String> },
}

/// The store of `config`, which has this program fetch what is in registries.
pub(crate) fn store(config: &Config) -> lvh_core::Result<Store> {
    let program = std::env::current_exe().map_err(|error| Error::io("find the `lvh` that runs", error))?;
    Ok(config.store()?.with_fetcher(program))
}

/// Answers on standard output, also where it fails.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("failed to start a runtime")?;
    let answer = runtime.block_on(answer(args.call));
    // A name server that is silent holds up nobody.
    runtime.shutdown_background();
    let lines = match answer {
        Ok(Some(hex)) => format!("digest {hex}\n"),
        Ok(None) => "absent -\n".to_owned(),
        Err(error) => failure(&error),
    };
    terminal::output(&format!("{FETCH_PROTOCOL}\n{lines}")).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// The digest, without what precedes its digits, of what there is.
async fn answer(call: Call) -> Result<Option<String>> {
    let digest = match call {
        Call::Resolve { image, blobs } => {
            lvh_oci::resolve(&image.parse()?, &BlobStore::open(blobs)?, &Options::from_env()).await?
        }
        Call::Pull { image, blobs, digest, into } => pull(image, &BlobStore::open(blobs)?, &digest, &into).await?,
        Call::PullDisks { image, blobs, digest, into } => {
            pull_disks(image, &BlobStore::open(blobs)?, &digest, &into).await?
        }
        Call::Cached { repository, blobs, asked, commit, into } => {
            return Cache::open(repository, blobs)?.take(&asked, &commit, &into).await;
        }
        Call::Store { repository, blobs, key, entry, asked } => {
            Cache::open(repository, blobs)?.put(&key, &entry, &asked).await?
        }
        Call::CachedImage { repository, blobs, asked, into } => {
            let digest = Cache::open(repository, blobs)?.take_image(&asked, &into).await?;
            return Ok(digest.map(|digest| digest.hex().to_owned()));
        }
        Call::StoreImage { repository, blobs, dir, asked } => {
            Cache::open(repository, blobs)?.put_image(dir, &asked).await?
        }
    };
    Ok(Some(digest.hex().to_owned()))
}

async fn pull(image: String, blobs: &BlobStore, digest: &str, into: &Path) -> Result<Digest> {
    let digest: Digest = format!("sha256:{digest}").parse()?;
    let (source, into, show) = (pinned(&image, &digest)?, Destination::Staging(into), shown());
    let options = Options::from_env();
    let pulled = lvh_oci::pull_kernel(&source, Platform::host(), into, blobs, &options, &show).await?;
    expected(image, digest, pulled.index.unwrap_or(pulled.digest))
}

async fn pull_disks(image: String, blobs: &BlobStore, digest: &str, into: &Path) -> Result<Digest> {
    let digest: Digest = format!("sha256:{digest}").parse()?;
    let (source, options, show) = (pinned(&image, &digest)?, Options::from_env(), shown());
    let (host, removed) = (Platform::host(), Compressed::Removed);
    let pulled = lvh_oci::pull_images(&source, host, into, removed, blobs, &options, &show).await?;
    expected(image, digest, pulled.index.unwrap_or(pulled.digest))
}

fn expected(image: String, digest: Digest, found: Digest) -> Result<Digest> {
    if found == digest {
        return Ok(digest);
    }
    // A layout is looked up by its tag.
    Err(lvh_oci::Error::WrongDigest { what: image, actual: found.hex().to_owned() })
}

/// The image of that digest, whatever the tag names by now; it still says which kernel of it is wanted.
fn pinned(image: &str, digest: &Digest) -> Result<Source> {
    match image.parse()? {
        Source::Registry(reference) if reference.digest().is_none() => format!("{reference}@{digest}").parse(),
        source => Ok(source),
    }
}

/// Writes how far a download is to standard error.
fn shown() -> impl Fn(Progress) + Sync {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    move |Progress { done, total }| {
        let mut last = last.lock().expect("nothing panics with it");
        if done == total || last.is_none_or(|last| last.elapsed() > INTERVAL) {
            *last = Some(Instant::now());
            terminal::error(&format!("{done} {total}\n"));
        }
    }
}

fn failure(error: &lvh_oci::Error) -> String {
    use lvh_oci::Error::{DiskFull, Io, Malformed, NoPlatform, NotFound};
    let kind = match error {
        Malformed { .. } | NotFound { .. } | NoPlatform { .. } => "usage",
        Io { .. } | DiskFull { .. } => "io",
        _ => "artifact",
    };
    let hint = error.hint().map(|hint| format!("hint {}\n", one_line(&hint))).unwrap_or_default();
    format!("error {kind} {}\n{hint}", one_line(&error.words()))
}

fn one_line(words: &str) -> String {
    words.replace(['\n', '\r'], " ")
}
