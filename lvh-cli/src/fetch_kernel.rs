//! `lvh fetch-kernel`: what lvh's core has done for it, in a process of its own, where a kernel is in a registry. Not for people.
//!
//! `lvh_core::kernel::oci` has the protocol.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lvh_core::kernel::FETCH_PROTOCOL;
use lvh_core::{Config, Error, Store};
use lvh_oci::{BlobStore, Destination, Digest, Options, Platform, Progress, Result, Source};

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
}

/// The store of `config`, which has this program fetch what is in registries.
pub(crate) fn store(config: &Config) -> lvh_core::Result<Store> {
    let program = std::env::current_exe().map_err(|error| Error::io("find the `lvh` that runs", error))?;
    Ok(config.store()?.with_fetcher(program))
}

/// Answers on standard output, also where it fails.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.context("failed to start a runtime")?.block_on(answer(args.call));
    let lines = match answer {
        Ok(digest) => format!("digest {}\n", digest.hex()),
        Err(error) => failure(&error),
    };
    terminal::output(&format!("{FETCH_PROTOCOL}\n{lines}")).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

async fn answer(call: Call) -> Result<Digest> {
    let options = Options::from_env();
    match call {
        Call::Resolve { image, blobs } => lvh_oci::resolve(&image.parse()?, &BlobStore::open(blobs)?, &options).await,
        Call::Pull { image, blobs, digest, into } => {
            let digest: Digest = format!("sha256:{digest}").parse()?;
            let source = pinned(&image, &digest)?;
            let (blobs, show) = (BlobStore::open(blobs)?, shown());
            let pulled =
                lvh_oci::pull_kernel(&source, Platform::host(), Destination::Staging(&into), &blobs, &options, &show)
                    .await?;
            match pulled.index.unwrap_or(pulled.digest) {
                found if found == digest => Ok(digest),
                // A layout is looked up by its tag.
                found => Err(lvh_oci::Error::WrongDigest { what: image, actual: found.hex().to_owned() }),
            }
        }
    }
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
