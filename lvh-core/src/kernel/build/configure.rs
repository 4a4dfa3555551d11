use std::fs;
use std::path::{Path, PathBuf};

use super::log::BuildLog;
use super::make::Make;
use super::site::Site;
use super::target::Target;
use super::{BuildSpec, standing, tools};
use crate::kernel::KernelConfig;
use crate::kernel::git::Checkouts;
use crate::kernel::options::{Base, Kconfig, OptionOutcome, edit, fragment, judge, refuse_lost};
use crate::store::whole_file::replace;
use crate::{Error, ErrorKind, Events, Result};

/// What was configured last: the specification, the commit, what is not committed, the digest of the result.
const CONFIGURED: &str = "configured";
/// The mark of a configuring that is under way.
const CONFIGURING: &str = "configuring";
/// Ends that note where people changed the result.
const BY_HAND: &str = "\nby hand";

/// A configuration, and what became of what was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Configured {
    /// The `.config`.
    pub config: PathBuf,
    /// Each option, in the order of the specification.
    pub outcomes: Vec<OptionOutcome>,
}

/// Configures the kernel `name`, whose tree is there, anew.
///
/// # Errors
/// When a tool is missing, make fails, or, where that is asked for, an option is not honoured.
pub fn configure(checkouts: &Checkouts, name: &str, spec: &BuildSpec, events: &Events) -> Result<Configured> {
    tools::check_for_configuring(spec)?;
    let open = checkouts.open(name, events)?;
    let site = Site::new(&open, spec, events)?;
    let outcomes = site.configure()?;
    site.show()?;
    Ok(Configured { config: site.tree().join(".config"), outcomes })
}

/// Sets the options of `spec` in the `.config` of the tree `dir`, which is not lvh's, and stays as it is otherwise.
///
/// # Errors
/// As [`configure`].
pub fn configure_in_place(dir: &Path, spec: &BuildSpec, events: &Events) -> Result<Configured> {
    tools::check_for_configuring(spec)?;
    if !dir.join("Kconfig").is_file() {
        let message = format!("`{}` is no kernel's source tree: it has no `Kconfig`", dir.display());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let config = dir.join(".config");
    let text = if config.exists() { read(&config)? } else { String::new() };
    write(&config, &edit(&text, &spec.options))?;
    let subject = format!("kernel tree `{}`", dir.display());
    let log = tempfile_path()?;
    let mut build_log = BuildLog::begin(log.clone())?;
    let make = Make { source: dir, out: None, spec, date: "", subject: &subject, events, lock: None };
    let made = make.run("configuring", &["olddefconfig"], &mut build_log, None);
    // After a failure it is named by the error.
    made.map(|()| drop(fs::remove_file(log)))?;
    let outcomes = judge_file(&config, dir, spec)?;
    if spec.strict {
        refuse_lost(&subject, &outcomes)?;
    }
    Ok(Configured { config, outcomes })
}

impl Site<'_> {
    /// Makes sure that the configuration is that of the specification; what came of the options where it was made.
    ///
    /// One that people changed stays until the specification changes.
    pub(super) fn ensure_configured(&self) -> Result<Option<Vec<OptionOutcome>>> {
        self.forget_half()?;
        standing::take_config(self.tree(), &self.config())?;
        let (before, digest) = (self.noted(CONFIGURED), self.config_digest()?);
        let now = self.configured(&digest, before.ends_with(BY_HAND));
        if !digest.is_empty() && before == now {
            return Ok(None);
        }
        let line = |text: &str, at: usize| text.lines().nth(at).map(str::to_owned);
        let specified = before.is_empty() || line(&before, 0) == line(&now, 0);
        let by_hand = before.ends_with(BY_HAND) || line(&before, 3) != line(&now, 3);
        if !digest.is_empty() && specified && by_hand {
            self.events.note(format!("{}: the `.config` was changed by hand, and stays so", self.open.subject));
            return self.complete().map(|()| None);
        }
        tools::check_for_configuring(self.spec)?;
        self.configure().map(Some)
    }

    /// Whether nobody has configured anything here yet.
    pub(in crate::kernel) fn is_untouched(&self) -> bool {
        let is_configured = self.tree().join(".config").exists() || self.config().exists();
        !is_configured && self.noted(CONFIGURED).is_empty() && self.checkout.changes.is_empty()
    }

    /// Whether people changed what was configured.
    pub(in crate::kernel) fn is_configured_by_hand(&self) -> bool {
        self.noted(CONFIGURED).ends_with(BY_HAND)
    }

    /// Removes what a configuring left that was broken off or refused: nobody wrote that.
    fn forget_half(&self) -> Result<()> {
        let Some(mark) = self.open.places.broken_off(CONFIGURING) else { return Ok(()) };
        standing::remove_file(&self.config())?;
        mark.clear()
    }

    /// Configures anew.
    pub(super) fn configure(&self) -> Result<Vec<OptionOutcome>> {
        self.clear_tree()?;
        let mark = self.open.places.mark(CONFIGURING)?;
        let mut log = BuildLog::begin(self.note_path("configure.log"))?;
        match self.spec.base {
            Base::Defconfig => {
                self.make().run("configuring", &["defconfig"], &mut log, None)?;
                write(&self.config(), &edit(&read(&self.config())?, &self.spec.options))?;
                self.make().run("configuring", &["olddefconfig"], &mut log, None)?;
            }
            Base::Nothing => {
                let all = self.note_path("options");
                write(&all, &fragment(&self.spec.options))?;
                let all = all.canonicalize().map_err(|e| Error::path("find", &all, e))?;
                let named = format!("KCONFIG_ALLCONFIG={}", all.display());
                self.make().run("configuring", &[&named, "allnoconfig"], &mut log, None)?;
            }
        }
        let outcomes = judge_file(&self.config(), self.tree(), self.spec)?;
        if self.spec.strict {
            refuse_lost(&self.open.subject, &outcomes)?;
        }
        self.note(CONFIGURED, &self.configured(&self.config_digest()?, false))?;
        mark.clear()?;
        Ok(outcomes)
    }

    /// Lets Kconfig complete what people wrote.
    fn complete(&self) -> Result<()> {
        self.clear_tree()?;
        let mut log = BuildLog::begin(self.note_path("configure.log"))?;
        self.make().run("configuring", &["olddefconfig"], &mut log, None)?;
        self.note(CONFIGURED, &self.configured(&self.config_digest()?, true))
    }

    /// Notes what the configuration now is; make itself has completed it.
    pub(super) fn note_completed(&self) -> Result<()> {
        let by_hand = self.noted(CONFIGURED).ends_with(BY_HAND);
        self.note(CONFIGURED, &self.configured(&self.config_digest()?, by_hand))
    }

    /// What the configuration is made of, and its digest.
    fn configured(&self, digest: &str, by_hand: bool) -> String {
        let changes = format!("changes {}", self.checkout.changes);
        let parts = [self.spec.key().as_str(), &self.checkout.commit, &changes, digest].join("\n");
        if by_hand { parts + BY_HAND } else { parts }
    }
}

fn judge_file(config: &Path, tree: &Path, spec: &BuildSpec) -> Result<Vec<OptionOutcome>> {
    let srcarch = Target::of(spec.arch).srcarch();
    Ok(judge(&spec.options, &KernelConfig::load(config)?, || Kconfig::load(tree, srcarch)))
}

/// A log beside no tree of ours.
fn tempfile_path() -> Result<PathBuf> {
    let dir = std::env::temp_dir();
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(dir.join(format!("lvh-configure-{}-{}.log", std::process::id(), now.as_nanos())))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::path("read", path, e))
}

fn write(path: &Path, text: &str) -> Result<()> {
    replace(path, &path.with_extension("new"), text).map_err(|e| Error::path("write", path, e))
}
