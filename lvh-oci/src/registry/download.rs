use std::path::PathBuf;

use futures_util::StreamExt;
use oci_client::client::{BlobResponse, SizedStream};
use oci_client::errors::{DigestError, OciDistributionError};

use super::fault::{Fault, Next};
use super::pace::Pace;
use super::remote::Remote;
use crate::blob::{BlobStore, Partial};
use crate::manifest::Descriptor;
use crate::progress::Meter;
use crate::{Error, Result};

/// So much more, and failures count anew.
const PROGRESS: u64 = 1 << 20;

impl Remote {
    /// Gets a blob into the store, going on where an earlier run was ended.
    pub(crate) async fn download(&self, blob: &Descriptor, store: &BlobStore, meter: &Meter<'_>) -> Result<PathBuf> {
        blob.check(self.options.largest_blob)?;
        if let Some(path) = store.get(blob)? {
            meter.add(blob.size);
            return Ok(path);
        }
        let mut partial = store.begin(&blob.digest).await?;
        // The one that held the lock may have finished it.
        if let Some(path) = store.get(blob)? {
            meter.add(blob.size);
            return Ok(path);
        }
        meter.add(partial.length());
        match self.fill(blob, &mut partial, meter).await {
            Ok(()) => partial.publish().await,
            Err(error) => {
                if matches!(error, Error::WrongDigest { .. } | Error::TooLarge { .. }) {
                    partial.restart()?;
                }
                Err(error)
            }
        }
    }

    /// The bytes of a small blob, such as a configuration.
    pub(crate) async fn small_blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        blob.check(limit)?;
        let scratch = tempfile::tempdir().map_err(|e| Error::io("create a directory in", &std::env::temp_dir(), e))?;
        let store = BlobStore::open(scratch.path())?;
        let path = self.download(blob, &store, &Meter::new(blob.size, &|_| ())).await?;
        std::fs::read(&path).map_err(|e| Error::io("read", &path, e))
    }

    async fn fill(&self, blob: &Descriptor, partial: &mut Partial, meter: &Meter<'_>) -> Result<()> {
        let mut pace = Pace::new(&self.options);
        let mut second_chance = true;
        loop {
            let before = partial.length();
            if before < blob.size
                && let Err(fault) = self.stream(blob, partial, meter).await
            {
                if partial.length() >= before + PROGRESS {
                    pace.reset();
                }
                self.recover(fault, &mut pace).await?;
                continue;
            }
            match partial.verify(blob) {
                // What an earlier run left may be bad, or what came just now.
                Err(_) if second_chance => {
                    second_chance = false;
                    meter.take_back(partial.length());
                    partial.restart()?;
                }
                verdict => return verdict,
            }
        }
    }

    /// Streams the blob, or the rest of it, to its end.
    async fn stream(
        &self,
        blob: &Descriptor,
        partial: &mut Partial,
        meter: &Meter<'_>,
    ) -> std::result::Result<(), Fault> {
        let what = blob.digest.as_str();
        let fault = |error| self.asked(what).fault(error);
        let (mut stream, from) = self.open(blob, partial.length()).await.map_err(fault)?;
        if from < partial.length() {
            meter.take_back(partial.length());
            partial.restart()?;
        }
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                // oci-client's verdict at the end of a whole blob; ours follows.
                Err(error) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<DigestError>) => {
                    break;
                }
                Err(error) => return Err(self.asked(what).of_stream(error)),
            };
            let length = chunk.len() as u64;
            if partial.length() + length > blob.size {
                return Err(Error::TooLarge { what: format!("`{}`", blob.digest), limit: blob.size }.into());
            }
            partial.append(&chunk)?;
            meter.add(length);
        }
        let got = partial.length();
        let error = Error::Truncated { what: blob.digest.to_string(), got, expected: blob.size };
        if got < blob.size { Err(Fault { error, next: Next::Retry }) } else { Ok(()) }
    }

    /// Asks for the blob from byte `from` on; says from where on it comes.
    async fn open(
        &self,
        blob: &Descriptor,
        from: u64,
    ) -> std::result::Result<(SizedStream, u64), OciDistributionError> {
        let (reference, digest) = (self.reference.oci(), blob.digest.as_str());
        if from == 0 {
            return Ok((self.oci.pull_blob_stream(reference, digest).await?, 0));
        }
        Ok(match self.oci.pull_blob_stream_partial(reference, digest, from, None).await? {
            BlobResponse::Partial(stream) => (stream, from),
            BlobResponse::Full(stream) => (stream, 0),
        })
    }
}
