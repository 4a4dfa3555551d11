//! What every call needs: blobs, settings, and a runtime that talks to registries.

use std::io;
use std::sync::Mutex;

use lvh_core::{Arch, Config, Error, ErrorKind, Event, Events, Overrides, Result};
use lvh_oci::{Architecture, BlobStore, Options, Platform, Progress, Source};
use tokio::runtime::Runtime;

/// The blobs in the user's data directory, and the way to registries.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) blobs: BlobStore,
    pub(super) options: Options,
    runtime: Runtime,
}

impl Session {
    /// Opens the data directory of `LVH_DATA_DIR` or the user's cache: these commands read no `lvh.toml`. `remote` is what is
    /// in a registry, which must not be asked where lvh is offline.
    pub(super) fn open(remote: Option<&str>) -> Result<Self> {
        let overrides = Overrides::from_process()?;
        if let Some(remote) = remote.filter(|_| overrides.offline == Some(true)) {
            let message = format!("`{remote}` is in a registry, and lvh is offline");
            return Err(Error::new(ErrorKind::Artifact, message).with_hint("run it without LVH_OFFLINE=1"));
        }
        let mut config = Config::default();
        config.data_dir = overrides.data_dir;
        let blobs = BlobStore::open(config.store()?.state("oci")?).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error: io::Error| Error::io("start a runtime", error))?;
        Ok(Self { blobs, options: Options::from_env(), runtime })
    }

    /// Opens it for what is in `source`.
    pub(super) fn of(source: &Source) -> Result<Self> {
        let name = source.to_string();
        Self::open(matches!(source, Source::Registry(_)).then_some(name.as_str()))
    }

    /// Runs `work` to its end.
    pub(super) fn run<T>(&self, work: impl Future<Output = lvh_oci::Result<T>>) -> Result<T> {
        self.runtime.block_on(work).map_err(failed)
    }
}

/// What runs on machines of `arch`.
pub(crate) fn platform(arch: Arch) -> Platform {
    Platform::linux(match arch {
        Arch::Aarch64 => Architecture::Arm64,
        _ => Architecture::Amd64,
    })
}

/// An error of the library's as one of ours.
pub(crate) fn failed(error: lvh_oci::Error) -> Error {
    let kind = match error {
        lvh_oci::Error::Malformed { .. } => ErrorKind::Usage,
        lvh_oci::Error::Io { .. } => ErrorKind::Io,
        _ => ErrorKind::Artifact,
    };
    let hint = error.hint();
    hint.into_iter().fold(Error::new(kind, error.words()), Error::with_hint)
}

/// Shows how far a download is; what is there as a whole is unpacked next.
pub(super) fn shown(subject: &str, events: &Events) -> impl Fn(Progress) + Sync + use<> {
    let (subject, events, unpacking) = (subject.to_owned(), events.clone(), Mutex::new(false));
    move |Progress { done, total }| {
        let mut unpacking = unpacking.lock().expect("nothing panics with it");
        if done < total {
            let (subject, step) = (subject.clone(), "downloading".to_owned());
            events.send(Event::Progress { subject, step, done, total: Some(total) });
        } else if !*unpacking {
            *unpacking = true;
            events.step(&subject, "unpacking");
        }
    }
}
