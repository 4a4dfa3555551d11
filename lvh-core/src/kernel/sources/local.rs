//! Kernels that lie on this machine: a file, a build tree, an installed tree, the running kernel.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::system::uname;

use crate::kernel::KernelRelease;
use crate::kernel::image::bzimage::BzImage;
use crate::kernel::image::compression::Compression;
use crate::kernel::image::elf::Elf;
use crate::kernel::image::payload;
use crate::kernel::image::search::find;
use crate::{Arch, Error, ErrorKind, Result};

/// A kernel's files, found but not yet looked into.
#[derive(Debug)]
pub(crate) struct LocalKernel {
    pub(crate) image: PathBuf,
    pub(crate) arch: Arch,
    pub(crate) release: KernelRelease,
    pub(crate) config: Option<PathBuf>,
    pub(crate) modules: LocalModules,
    /// The image is packed as a whole, which QEMU does not take.
    pub(crate) packed: bool,
}

/// Where a local kernel's modules are.
#[derive(Debug)]
pub(crate) enum LocalModules {
    /// It has none, or they are not where they belong.
    None,
    /// A directory that is `/lib/modules/RELEASE`.
    Installed(PathBuf),
    /// All over the build tree at this root.
    Built(PathBuf),
}

/// The kernel at `path`, which is any of the above.
pub(crate) fn at(path: &Path) -> Result<LocalKernel> {
    let found = path.canonicalize().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => usage(format!("the kernel path `{}` does not exist", path.display())),
        _ => Error::path("find the kernel", path, e),
    })?;
    if found.is_file() {
        return file(&found);
    }
    if !found.is_dir() {
        return Err(usage(format!("the kernel path `{}` is neither a file nor a directory", path.display())));
    }
    if is_build_tree(&found) {
        return build_tree(&found);
    }
    installed_tree(&found)
}

/// The running kernel.
pub(crate) fn running() -> Result<LocalKernel> {
    let release = running_release();
    let places = [
        format!("/boot/vmlinuz-{release}"),
        format!("/lib/modules/{release}/vmlinuz"),
        format!("/usr/lib/modules/{release}/vmlinuz"),
        format!("/boot/Image-{release}"),
        format!("/boot/kernel-{release}"),
        "/run/booted-system/kernel".to_owned(),
    ];
    let image = places.iter().map(Path::new).find(|place| place.exists()).ok_or_else(|| {
        let message = format!("the image of the running kernel `{release}` is in none of {}", places.join(", "));
        Error::new(ErrorKind::Missing, message)
            .with_hint("containers and some clouds keep it outside: use a kernel from lvh.toml instead of `host`")
    })?;
    let mut kernel = file(&image.canonicalize().map_err(|e| Error::path("find", image, e))?)?;
    let proc_config = Path::new("/proc/config.gz");
    kernel.config = kernel.config.or_else(|| proc_config.is_file().then(|| proc_config.to_owned()));
    if let LocalModules::None = kernel.modules {
        kernel.modules = installed_modules([PathBuf::from("/lib/modules").join(release.as_str())]);
    }
    Ok(kernel)
}

fn running_release() -> KernelRelease {
    KernelRelease::new(uname().release().to_string_lossy())
}

fn is_build_tree(dir: &Path) -> bool {
    dir.join("include/config").is_dir() || (dir.join("Kbuild").is_file() && dir.join("Kconfig").is_file())
}

fn build_tree(root: &Path) -> Result<LocalKernel> {
    let images = ["arch/x86/boot/bzImage", "arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"];
    let image = images.iter().map(|image| root.join(image)).find(|image| image.is_file()).ok_or_else(|| {
        usage(format!("the build tree `{}` holds no kernel image (none of {})", root.display(), images.join(", ")))
            .with_hint(format!("build it: make -C {} -j$(nproc)", root.display()))
    })?;
    built(root, image)
}

/// The kernel `image` of the build tree `root`.
fn built(root: &Path, image: PathBuf) -> Result<LocalKernel> {
    let written = fs::read_to_string(root.join("include/config/kernel.release")).unwrap_or_default();
    let mut content = Image::open(&image)?;
    let release = KernelRelease::parse(written.trim()).map_or_else(|| content.release(), Ok)?;
    let arch = content.arch()?;
    let config = Some(root.join(".config")).filter(|config| config.is_file());
    Ok(LocalKernel {
        packed: content.packed,
        image,
        arch,
        release,
        config,
        modules: LocalModules::Built(root.to_owned()),
    })
}

fn installed_tree(root: &Path) -> Result<LocalKernel> {
    let mut images = numbered(&root.join("boot"));
    images.extend(numbered(root));
    for modules in [root.join("lib/modules"), root.join("usr/lib/modules")] {
        let releases = fs::read_dir(modules).into_iter().flatten().flatten();
        images.extend(releases.map(|release| release.path().join("vmlinuz")));
    }
    images.push(root.join("vmlinuz"));
    images.retain(|image| image.is_file());
    match &images[..] {
        [image] => file(&image.canonicalize().map_err(|e| Error::path("find", image, e))?),
        [] => Err(usage(format!("there is no kernel in the directory `{}`", root.display()))
            .with_hint("name a build tree, a tree with `boot/vmlinuz-…`, or a kernel file")),
        several => {
            let names: Vec<_> = several.iter().map(|image| image.display().to_string()).collect();
            let message = format!("there are several kernels in the directory `{}`", root.display());
            Err(usage(message).with_hint(format!("name one of {}", names.join(", "))))
        }
    }
}

/// The files `vmlinuz-RELEASE` in `dir`.
fn numbered(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    found.filter(|file| file.file_name().to_string_lossy().starts_with("vmlinuz-")).map(|file| file.path()).collect()
}

fn file(image: &Path) -> Result<LocalKernel> {
    if let Some(root) = image.ancestors().skip(1).find(|dir| is_build_tree(dir)) {
        return built(root, image.to_owned());
    }
    let mut content = Image::open(image)?;
    let (release, arch) = (content.release()?, content.arch()?);
    let dir = image.parent().unwrap_or(Path::new("/"));
    let root = dir.parent().unwrap_or(dir);
    let named = release.as_str();
    let configs = [dir.join(format!("config-{named}")), dir.join("config"), root.join(format!("boot/config-{named}"))];
    let config = configs.into_iter().find(|config| config.is_file());
    let below = |root: &Path| ["lib/modules", "usr/lib/modules"].map(|modules| root.join(modules).join(named));
    // `lib/modules/RELEASE/vmlinuz`, `boot/vmlinuz-RELEASE`, and an image beside its `lib`.
    let modules = [dir.to_owned()].into_iter().chain(below(root)).chain(below(dir));
    let (image, packed) = (image.to_owned(), content.packed);
    Ok(LocalKernel { image, arch, release, config, modules: installed_modules(modules), packed })
}

fn installed_modules(places: impl IntoIterator<Item = PathBuf>) -> LocalModules {
    let holds_modules =
        |dir: &PathBuf| ["modules.order", "modules.builtin", "modules.dep"].iter().any(|f| dir.join(f).is_file());
    places.into_iter().find(holds_modules).map_or(LocalModules::None, LocalModules::Installed)
}

/// A kernel image that is looked into: a bzImage, an arm64 Image or an ELF file.
struct Image<'a> {
    path: &'a Path,
    file: File,
    /// What was read of it so far, without the compression of the whole.
    bytes: Vec<u8>,
    /// The whole is packed.
    packed: bool,
}

impl<'a> Image<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| unreadable(path, e))?;
        let mut image = Self { path, file, bytes: Vec::new(), packed: false };
        // The setup code of a bzImage, where its version is, has at most 64 sectors.
        image.read(64 << 10)?;
        if let Some(format) = Compression::detect(&image.bytes) {
            image.read(u64::MAX)?;
            image.bytes = unpack(path, format, &image.bytes)?;
            image.packed = true;
        }
        image.check_length()?;
        Ok(image)
    }

    /// Reads on, for at most `limit` bytes.
    fn read(&mut self, limit: u64) -> Result<()> {
        let read = self.file.by_ref().take(limit).read_to_end(&mut self.bytes);
        read.map(drop).map_err(|e| unreadable(self.path, e))
    }

    /// A bzImage says how long it is.
    fn check_length(&self) -> Result<()> {
        let length = match self.packed {
            true => self.bytes.len() as u64,
            false => self.file.metadata().map_err(|e| unreadable(self.path, e))?.len(),
        };
        match BzImage::parse(&self.bytes).and_then(|image| image.end()) {
            Some(end) if end as u64 > length => Err(usage(format!(
                "`{}` is a kernel that is cut short: it has {length} bytes of {end}",
                self.path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// What runs it.
    fn arch(&self) -> Result<Arch> {
        if BzImage::parse(&self.bytes).is_some() {
            return Ok(Arch::X86_64);
        }
        if self.is_arm64() {
            return Ok(Arch::Aarch64);
        }
        Arch::of_elf(&self.bytes).ok_or_else(|| unknown(self.path, &self.bytes))
    }

    fn is_arm64(&self) -> bool {
        payload::is_arm64(&self.bytes)
    }

    /// The release that it says it is.
    fn release(&mut self) -> Result<KernelRelease> {
        let release = match BzImage::parse(&self.bytes) {
            Some(bzimage) => bzimage.release(),
            None if self.is_arm64() || self.bytes.starts_with(b"\x7fELF") => {
                self.read(u64::MAX)?;
                banner(&self.bytes).filter(|_| self.is_arm64() || Elf::parse(&self.bytes).is_some())
            }
            None => None,
        };
        release.ok_or_else(|| unknown(self.path, &self.bytes))
    }
}

/// The release in `linux_banner`, init/version.c.
fn banner(kernel: &[u8]) -> Option<KernelRelease> {
    const MARK: &[u8] = b"Linux version ";
    let text = &kernel[find(kernel, MARK)? + MARK.len()..];
    let end = text.iter().take(256).position(|&byte| byte == b' ')?;
    KernelRelease::parse(std::str::from_utf8(&text[..end]).ok()?)
}

fn unreadable(image: &Path, e: io::Error) -> Error {
    let hint = (e.kind() == io::ErrorKind::PermissionDenied)
        .then(|| format!("distributions hide it from users; to share it: sudo chmod a+r {}", image.display()));
    hint.into_iter().fold(Error::path("read the kernel", image, e), Error::with_hint)
}

/// What is in the file `image`, which is packed as a whole.
pub(crate) fn unpacked(image: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(image).map_err(|e| unreadable(image, e))?;
    match Compression::detect(&bytes) {
        Some(format) => unpack(image, format, &bytes),
        None => Ok(bytes),
    }
}

fn unpack(image: &Path, format: Compression, bytes: &[u8]) -> Result<Vec<u8>> {
    format.decompress(bytes).map_err(|e| {
        let failed = usage(format!("the kernel `{}` cannot be unpacked", image.display())).with_source(e);
        failed.with_hint("unpack it by hand to see what is wrong, and name the result")
    })
}

fn unknown(image: &Path, bytes: &[u8]) -> Error {
    let is = match bytes {
        [] => "is empty",
        [0x7f, b'E', b'L', b'F', 1, ..] => "is an ELF file of 32 bits, and no kernel that lvh knows",
        [0x7f, b'E', b'L', b'F', 2, ..] => "is an ELF file, but no kernel of x86-64 or arm64",
        // initramfs-buffer-format.rst
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => "is an initramfs, and no kernel",
        _ => "is no kernel that lvh knows: neither bzImage, ELF nor arm64 Image",
    };
    usage(format!("`{}` {is}", image.display()))
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
