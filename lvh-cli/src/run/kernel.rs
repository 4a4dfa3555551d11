//! Which kernel boots, and what it needs to find the disk.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lvh_core::kernel::{self, Kernel};
use lvh_core::run::{BootKernel, Image, Initramfs, RootDevice};
use lvh_core::{Arch, Config, Error, ErrorKind, Events, Result};

use super::image::begins_with_a_registry;
use super::own_kernel::OwnKernel;
use crate::terminal;
use crate::vm::vm_command::from_here;

/// What the kernel is for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) arch: Arch,
    pub(super) device: RootDevice,
    pub(super) append: Vec<String>,
    /// The modules that the user has for it.
    pub(super) modules: Option<PathBuf>,
    /// The service of lvh's agent, where the guest is to have it.
    pub(super) agent: Option<String>,
    /// Its call is only shown: it need not exist.
    pub(super) shown_only: bool,
}

/// What boots, and the modules that the guest can mount.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) kernel: BootKernel,
    pub(super) modules: Option<PathBuf>,
}

impl Wanted {
    /// The kernel called `name`: a file, or what `lvh exec --kernel` takes.
    pub(super) fn find(self, name: &OsStr, config: &Config) -> Result<Boot> {
        let (file, events) = (Path::new(name), terminal::events());
        if file.is_file() {
            return self.of_file(file, config, &events);
        }
        match self.named(name, config, &events) {
            Ok(kernel) => self.of_kernel(&kernel, config),
            Err(_unknown) if self.shown_only => Ok(self.plain(file)),
            Err(error) => Err(error),
        }
    }

    /// The kernel of the image itself, whose own modules it has; none where its boot loader has to start it.
    pub(super) fn of_image(mut self, image: &Image, config: &Config) -> Result<Option<Boot>> {
        let store = config.store()?;
        let Some(own) = OwnKernel::of(image, &store)? else { return Ok(None) };
        let kernel = kernel::look_at(&own.file, &store)?;
        self.check_arch(&image.path.display().to_string(), &kernel)?;
        let modules = self.modules.take();
        let initramfs = self.initramfs(Some(&kernel));
        initramfs.is_needed()?;
        let initrd = initramfs.file(&store)?;
        let append = [&own.words[..], &self.append].concat();
        Ok(Some(Self::boot(&own.file, Some(initrd), append, modules)))
    }

    fn named(&self, name: &OsStr, config: &Config, events: &Events) -> Result<Kernel> {
        let text = name.to_str().ok_or_else(|| usage(format!("kernel `{}` is no file", name.display())))?;
        let text = &match begins_with_a_registry(text) {
            true => format!("oci:{text}"),
            false => text.to_owned(),
        };
        let source = config.kernel(&from_here(text.clone()))?;
        let kernel = kernel::resolve_blocking(text, &source, &crate::fetch_kernel::store(config)?, events)?;
        self.check_arch(text, &kernel).map(|()| kernel)
    }

    /// QEMU would start another architecture's kernel, and nothing would ever be heard of it.
    fn check_arch(&self, name: &str, kernel: &Kernel) -> Result<()> {
        match kernel.arch == self.arch {
            true => Ok(()),
            false => Err(usage(format!("kernel `{name}` is of {}, and the guest of {}", kernel.arch, self.arch))
                .with_hint(format!("`--qemu-arch {}` makes a guest for it", kernel.arch.debian()))),
        }
    }

    /// A file boots as it is, unless what lies beside it shows that it cannot.
    fn of_file(self, file: &Path, config: &Config, events: &Events) -> Result<Boot> {
        // Without a home directory there is no store, and without a store no initramfs.
        let Ok(store) = config.store() else { return Ok(self.plain(file)) };
        let known = kernel::look_at(file, &store).ok();
        let checked = known.iter().filter(|_| !self.shown_only);
        checked.into_iter().try_for_each(|kernel| self.check_arch(&file.display().to_string(), kernel))?;
        let known = known.filter(|kernel| kernel.arch == self.arch);
        let needed = self.initramfs(known.as_ref()).is_needed().unwrap_or_else(|error| {
            events.note(error.to_string());
            false
        });
        let beside = known.as_ref().filter(|_| needed).and_then(|kernel| kernel.modules.clone());
        let modules = self.modules.clone().or(beside);
        let shared = Self { modules, ..self };
        let has_agent = shared.agent.is_some();
        let initrd = match needed || has_agent || shared.modules.is_some() {
            true => shared.initramfs(known.as_ref()).file(&store).map(Some),
            false => Ok(None),
        };
        match initrd {
            Err(error) if !needed && !has_agent => {
                events.note(format!("the guest has to mount `kernel_modules` itself: {error}"));
                Ok(shared.plain(file))
            }
            initrd => Ok(Self::boot(file, initrd?, shared.append, shared.modules)),
        }
    }

    /// A kernel that we have brought along finds its modules.
    fn of_kernel(self, kernel: &Kernel, config: &Config) -> Result<Boot> {
        let modules = self.modules.clone().or_else(|| kernel.modules.clone());
        let shared = Self { modules, ..self };
        let initramfs = shared.initramfs(Some(kernel));
        let wanted = initramfs.is_needed()? || initramfs.shares_modules || initramfs.agent.is_some();
        let initrd = wanted.then(|| initramfs.file(&config.store()?)).transpose()?;
        let file = kernel.vmlinux.as_ref().unwrap_or(&kernel.image);
        Ok(Self::boot(file, initrd, shared.append, shared.modules))
    }

    fn initramfs<'k>(&'k self, kernel: Option<&'k Kernel>) -> Initramfs<'k> {
        let Self { arch, device, modules, agent, .. } = self;
        Initramfs { arch: *arch, kernel, device: *device, shares_modules: modules.is_some(), agent: agent.as_deref() }
    }

    fn plain(self, file: &Path) -> Boot {
        Self::boot(file, None, self.append, self.modules)
    }

    fn boot(file: &Path, initrd: Option<PathBuf>, append: Vec<String>, modules: Option<PathBuf>) -> Boot {
        Boot { kernel: BootKernel { file: file.to_owned(), initrd, append }, modules }
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}
