//! The `LVH_*` variables that change the configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Config;
use super::env::Env;
use super::value::{Accel, Channel, Expected, Share};
use crate::Result;

/// What the environment asks for. A variable that is unset or empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `LVH_KERNELS=5.10,6.1`: replaces `default-kernels`.
    pub kernels: Option<Vec<String>>,
    /// `LVH_DATA_DIR`, relative to the working directory.
    pub data_dir: Option<PathBuf>,
    /// `LVH_ACCEL=auto|kvm|tcg`.
    pub accel: Option<Accel>,
    /// `LVH_CHANNEL=vhost-vsock|vhost-user-vsock|virtio-serial|serial`.
    pub channel: Option<Channel>,
    /// `LVH_SHARE=virtiofs|9p|packed`.
    pub share: Option<Share>,
    /// `LVH_OFFLINE=1`.
    pub offline: Option<bool>,
    /// `LVH_LOCKED=1`.
    pub locked: Option<bool>,
    /// `LVH_CACHE_PUSH=1`.
    pub cache_push: Option<bool>,
    /// `LVH_DEBIAN_MIRROR=URL`.
    pub debian_mirror: Option<String>,
    /// `LVH_WARM_START=1` or `0`.
    pub warm_start: Option<bool>,
    /// `LVH_VERBOSE=1`.
    pub verbose: Option<bool>,
    /// `LVH_VMS=8`.
    pub vms: Option<usize>,
}

impl Overrides {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// As [`Overrides::from_env`].
    pub fn from_process() -> Result<Self> {
        Self::from_env(|name| std::env::var_os(name))
    }

    /// Reads the variables that `lookup` knows.
    ///
    /// # Errors
    ///
    /// Where a value is not one of those allowed; the message names the variable and them.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let env = Env::new(&lookup);
        Ok(Self {
            kernels: env.parse("LVH_KERNELS", parse_kernels)?,
            data_dir: env.raw("LVH_DATA_DIR").map(PathBuf::from),
            accel: env.parse("LVH_ACCEL", Accel::from_str)?,
            channel: env.parse("LVH_CHANNEL", Channel::from_str)?,
            share: env.parse("LVH_SHARE", Share::from_str)?,
            offline: env.switch("LVH_OFFLINE")?,
            locked: env.switch("LVH_LOCKED")?,
            cache_push: env.switch("LVH_CACHE_PUSH")?,
            debian_mirror: env.raw("LVH_DEBIAN_MIRROR").map(|url| url.to_string_lossy().into_owned()),
            warm_start: env.switch("LVH_WARM_START")?,
            verbose: env.switch("LVH_VERBOSE")?,
            vms: env.parse("LVH_VMS", parse_count)?,
        })
    }
}

fn parse_kernels(text: &str) -> std::result::Result<Vec<String>, Expected> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().any(String::is_empty) {
        true => Err(Expected("kernels with commas between them, such as `5.10,6.1`".to_owned())),
        false => Ok(names),
    }
}

fn parse_count(text: &str) -> std::result::Result<usize, Expected> {
    let count = text.parse().ok().filter(|&count| count > 0);
    count.ok_or_else(|| Expected("a number from 1".to_owned()))
}

impl Config {
    /// What [`Config::discover`] finds from `start`, with the environment of this process on top.
    ///
    /// # Errors
    ///
    /// As [`Config::discover`], [`Overrides::from_env`] and [`Config::override_with`].
    pub fn for_process(start: &Path) -> Result<Self> {
        let mut config = Self::find(start)?;
        config.override_with(Overrides::from_process()?)?;
        Ok(config)
    }

    /// Lets the environment have its way.
    ///
    /// # Errors
    ///
    /// Where the file or `LVH_KERNELS` names a kernel that nothing knows.
    pub fn override_with(&mut self, overrides: Overrides) -> Result<()> {
        let Overrides {
            kernels,
            data_dir,
            accel,
            channel,
            share,
            offline,
            locked,
            cache_push,
            debian_mirror,
            warm_start,
            verbose,
            vms,
        } = overrides;
        // Which kernels there are depends on where they are kept.
        self.data_dir = data_dir.or(self.data_dir.take());
        self.check_default_kernels()?;
        if let Some(kernels) = kernels {
            self.default_kernel_places = vec!["LVH_KERNELS".to_owned(); kernels.len()];
            self.default_kernels = kernels;
            self.check_default_kernels()?;
        }
        self.vm.accel = accel.unwrap_or(self.vm.accel);
        self.channel = channel.or(self.channel);
        self.share = share.or(self.share);
        self.offline = offline.unwrap_or(self.offline);
        self.locked = locked.unwrap_or(self.locked);
        self.cache_push = cache_push.unwrap_or(self.cache_push);
        self.debian_mirror = debian_mirror.or(self.debian_mirror.take());
        self.verbose = verbose.unwrap_or(self.verbose);
        self.vms = vms.or(self.vms);
        self.vm.warm_start = warm_start.unwrap_or(self.vm.warm_start);
        Ok(())
    }
}
