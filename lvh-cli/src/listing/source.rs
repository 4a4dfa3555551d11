use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::nextest::{self, Suite};
use super::{Binary, Listing, places};

/// Where tests are found.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Source {
    /// What `cargo nextest list --message-format json` printed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["archive_file", "binaries", "nextest"])]
    list: Option<PathBuf>,
    /// An archive that `cargo nextest archive` made
    #[arg(long, value_name = "FILE", conflicts_with = "binaries")]
    archive_file: Option<PathBuf>,
    /// Where the workspace of the archive is on this machine
    #[arg(long, value_name = "DIR", requires = "archive_file")]
    workspace_remap: Option<PathBuf>,
    /// A test binary; may be given several times
    #[arg(long = "binary", value_name = "FILE")]
    binaries: Vec<PathBuf>,
    /// What else goes to `cargo nextest list`, such as -p PACKAGE, --release or -E FILTER
    #[arg(last = true, value_name = "NEXTEST ARGS")]
    nextest: Vec<OsString>,
}

impl Source {
    /// The tests, with what they run on.
    pub(crate) fn read(&self) -> anyhow::Result<Listing> {
        // What an archive holds is there for as long as its binaries are asked.
        let unpacked = tempfile::tempdir().context("failed to make a temporary directory")?;
        let suites = match (&self.list, self.binaries.is_empty()) {
            (Some(file), _) => nextest::parse(&std::fs::read(file).with_context(|| cannot_read(file))?)
                .with_context(|| cannot_read(file))?,
            (None, true) => nextest::list(&self.arguments(unpacked.path()))?,
            (None, false) => self.binaries.iter().map(|binary| lone(binary)).collect::<anyhow::Result<_>>()?,
        };
        places::ask(suites)
    }

    fn arguments(&self, unpacked: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(archive) = &self.archive_file {
            arguments.extend(["--archive-file".into(), archive.into(), "--extract-to".into(), unpacked.into()]);
        }
        if let Some(workspace) = &self.workspace_remap {
            arguments.extend(["--workspace-remap".into(), workspace.into()]);
        }
        arguments.extend_from_slice(&self.nextest);
        arguments
    }
}

fn cannot_read(file: &Path) -> String {
    format!("failed to read the tests of `{}`", file.display())
}

/// A binary that nothing tells more of; it runs where we are.
fn lone(file: &Path) -> anyhow::Result<Suite> {
    let path = file.canonicalize().with_context(|| format!("failed to find the test binary `{}`", file.display()))?;
    let cwd = std::env::current_dir().context("failed to find the working directory")?;
    let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = stem.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map_or(&*stem, |(name, _)| name).to_owned();
    let tests = places::names(&path, &cwd)?;
    Ok(Suite { binary: Binary::Name(name), path, cwd, tests })
}
