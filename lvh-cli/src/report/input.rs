//! What the command line names: JUnit files, and the logs of VMs that lie beside them.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::junit::{self, TestRun};

/// All results, and where logs are.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Each JUnit file with what it holds.
    pub(super) reports: Vec<(PathBuf, Vec<TestRun>)>,
    /// The directories of VMs: with a `console.log` or `kernel.log`.
    log_dirs: Vec<PathBuf>,
}

/// The files of a VM, as lvh calls them.
const LOGS: [&str; 2] = ["kernel.log", "console.log"];

impl Inputs {
    /// Reads all that `paths` name; in directories, what is no JUnit file is left alone.
    pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut inputs = Self::default();
        for path in paths {
            let metadata = fs::metadata(path).with_context(|| format!("failed to read `{}`", path.display()))?;
            if metadata.is_dir() {
                inputs.walk(path)?;
            } else {
                let Some(runs) = read_report(path)? else { bail!("`{}` is no JUnit file", path.display()) };
                inputs.reports.push((path.clone(), runs));
            }
        }
        // Named twice, as by a directory and a file in it, it is one file.
        inputs.reports.sort_by(|(a, _), (b, _)| a.cmp(b));
        inputs.reports.dedup_by_key(|(path, _)| fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
        if inputs.reports.is_empty() {
            bail!("{}", no_results(paths));
        }
        Ok(inputs)
    }

    fn walk(&mut self, dir: &Path) -> anyhow::Result<()> {
        let entries = fs::read_dir(dir).with_context(|| format!("failed to read `{}`", dir.display()))?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                self.walk(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "xml") {
                self.reports.extend(read_report(&path)?.map(|runs| (path, runs)));
            } else if LOGS.iter().any(|name| entry.file_name() == *name)
                && self.log_dirs.last().is_none_or(|last| last != dir)
            {
                self.log_dirs.push(dir.to_owned());
            }
        }
        Ok(())
    }

    /// The directory here that holds the logs which the test's machine had at `named`: the one of that binary and VM, and of
    /// several, as shards have them, the one nearest to `report`.
    pub(super) fn log_dir(&self, named: &str, report: &Path) -> Option<&Path> {
        let last_two = |path: &Path| {
            let mut names = path.components().rev().map(|part| part.as_os_str().to_owned());
            Some((names.next()?, names.next()?))
        };
        let wanted = last_two(Path::new(named))?;
        let shared = |dir: &Path| dir.components().zip(report.components()).take_while(|(a, b)| a == b).count();
        let candidates = self.log_dirs.iter().filter(|dir| last_two(dir).as_ref() == Some(&wanted));
        candidates.map(PathBuf::as_path).max_by_key(|dir| shared(dir))
    }
}

fn no_results(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    format!(
        "no test results in {}\n\nhint: `LVH_JUNIT=target/lvh/ cargo test` leaves some there; cargo-nextest writes a JUnit file where its \
         configuration names one",
        names.join(", ")
    )
}

/// What a file holds; `None` where it is XML of another kind.
fn read_report(path: &Path) -> anyhow::Result<Option<Vec<TestRun>>> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    junit::read(&text).with_context(|| format!("failed to read `{}`", path.display()))
}

/// The end of each log that says anything in `dir`, of at most `limit` bytes: its name, how much is left out in front, and the text.
pub(super) fn read_logs(dir: &Path, limit: u64) -> Vec<(&'static str, u64, String)> {
    let ends = LOGS.into_iter().filter_map(|name| Some((name, read_end(&dir.join(name), limit).ok()?)));
    ends.filter(|(_, (_, text))| !text.trim().is_empty()).map(|(name, (cut, text))| (name, cut, text)).collect()
}

fn read_end(path: &Path, limit: u64) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let cut = file.metadata()?.len().saturating_sub(limit);
    file.seek(SeekFrom::Start(cut))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((cut, String::from_utf8_lossy(&bytes).into_owned()))
}
