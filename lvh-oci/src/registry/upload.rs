use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use oci_client::errors::OciDistributionError;

use super::remote::Remote;
use crate::Result;
use crate::manifest::Descriptor;
use crate::progress::Meter;

const CHUNK: usize = 256 << 10;

impl Remote {
    /// Uploads the blob that lies at `path`, unless it is there; says whether it had to.
    pub(crate) async fn upload(&self, blob: &Descriptor, path: &Path, meter: &Meter<'_>) -> Result<bool> {
        let what = blob.digest.as_str();
        let there = self.retry(what, || self.oci.blob_exists(self.reference.oci(), what)).await?;
        if !there {
            self.retry(what, || self.put(blob, path, meter)).await?;
        } else {
            meter.add(blob.size);
        }
        Ok(!there)
    }

    async fn put(
        &self,
        blob: &Descriptor,
        path: &Path,
        meter: &Meter<'_>,
    ) -> std::result::Result<(), OciDistributionError> {
        let file = File::open(path)?;
        let sent = Arc::new(AtomicU64::new(0));
        let chunks = stream::unfold((file, sent.clone()), |(mut file, sent)| async move {
            let chunk = read_chunk(&mut file).transpose()?;
            let length = chunk.as_ref().map_or(0, Bytes::len) as u64;
            sent.fetch_add(length, Ordering::Relaxed);
            Some((chunk.map_err(OciDistributionError::from), (file, sent)))
        });
        let upload = self.oci.push_blob_stream(self.reference.oci(), chunks, blob.digest.as_str(), Some(blob.size));
        report(upload, &sent, meter).await.map(drop)
    }
}

/// Awaits the upload, and tells the meter meanwhile what was read for it; takes that back where it failed.
async fn report<T, E>(
    upload: impl Future<Output = std::result::Result<T, E>>,
    sent: &AtomicU64,
    meter: &Meter<'_>,
) -> std::result::Result<T, E> {
    let mut told = 0;
    let mut tell = || {
        let now = sent.load(Ordering::Relaxed);
        meter.add(now - told);
        told = now;
        now
    };
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
    let mut upload = std::pin::pin!(upload);
    loop {
        tokio::select! {
            result = &mut upload => {
                let all = tell();
                if result.is_err() {
                    meter.take_back(all);
                }
                return result;
            }
            _ = tick.tick() => drop(tell()),
        }
    }
}

fn read_chunk(file: &mut File) -> io::Result<Option<Bytes>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then(|| chunk.into()))
}
