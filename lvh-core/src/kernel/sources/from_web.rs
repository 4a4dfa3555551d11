//! Kernel files that are downloaded.

use std::fs;

use super::download::{download, undeclared};
use crate::kernel::FileSource;
use crate::kernel::wanted::Wanted;
use crate::store::Entry;
use crate::{Error, Result};

/// The kind of the store's entries for them: the file, and where it is from.
const KIND: &str = "file";

/// The entry that holds the file, called `kernel`. Blocks.
pub(crate) fn fetch(wanted: &Wanted<'_>, source: &FileSource) -> Result<Entry> {
    let Wanted { subject, store, events, .. } = *wanted;
    let waiting = || events.step(subject, "waiting for another process that downloads it");
    let Some(sha256) = &source.sha256 else { return Err(undeclared(wanted, &source.url)) };
    store.populate(KIND, sha256, &waiting, |staging| {
        let downloaded = download(wanted, &source.url, sha256)?;
        let (file, identity) = (staging.entry().join("kernel"), staging.entry().join("identity"));
        let text = format!("{} sha256:{sha256}", source.url);
        fs::write(&identity, text).map_err(|e| Error::path("write", &identity, e))?;
        fs::rename(&downloaded.path, &file).map_err(|e| Error::path("move", &downloaded.path, e))
    })
}
