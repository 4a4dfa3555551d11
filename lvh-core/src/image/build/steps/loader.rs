//! The boot loader of an image for PCs: GRUB, whose core image is a file in the tree, which the disk's first sector leads to.
//!
//! The Go tool's is extlinux, which is put only on a file system that is mounted, and so by root. GRUB reads extlinux's configuration,
//! so what changes that in an image, or in one of the Go tool that another is made from, does here what it did there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::image::build::places::text;
use crate::image::build::sandbox::chroot::Chroot;
use crate::image::build::sandbox::namespace;
use crate::image::build::sandbox::place::Job;
use crate::image::has_boot_sector;
use crate::image::images_json::ImageEntry;
use crate::process::Tool;
use crate::{Error, ErrorKind, Result};

/// What boots, in the words of the Go tool. A tree without such a file gets no boot loader.
const CONFIG: &str = "
default linux
timeout 0

label linux
kernel /vmlinuz
append initrd=initrd.img root=/dev/vda rw console=ttyS0
";
/// What GRUB does first. The serial port is the only screen that VMs of `lvh run` have; `dumb` sends it no codes of a terminal. With
/// `timeout 0`, `syslinux_configfile` loads the kernel, but does not start it.
const COMMANDS: &str = "\
serial
terminfo serial dumb
terminal_output serial
terminal_input serial
syslinux_configfile /extlinux.conf
boot
";
/// What these need, beside what they say themselves: GRUB makes a script of the configuration, of `if`, `test` and `linux16`.
const MODULES: [&str; 6] = ["biosdisk", "ext2", "syslinuxcfg", "test", "linux16", "serial"];
/// Where Debian's grub-pc-bin has modules and boot sectors.
const GRUB: &str = "/usr/lib/grub/i386-pc";
const CORE: &str = "/boot/grub/i386-pc/core.img";
const WRITE: &str = r#"umask 022; mkdir -p "${1%/*}" && rm -f "$1" && cat >"$1""#;
/// Ubuntu has the links to the kernel where Debian has none.
const CONFIGURE: &str = "umask 022; cat >/extlinux.conf; \
    for link in vmlinuz initrd.img; do [ -e /$link ] || [ ! -e /boot/$link ] || ln -s boot/$link /$link; done";

const SECTOR: usize = 512;
/// How disk.sh makes file systems.
const SECTORS_OF_BLOCK: u64 = 8;
/// Of boot.img (include/grub/i386/pc/boot.h in GRUB, as all here): the sector that it loads.
const KERNEL_SECTOR: usize = 0x5c;
/// Of the core image's first sector: the list of what else is to be loaded, which grows downwards.
const LAST_ENTRY: usize = SECTOR - ENTRY;
const ENTRY: usize = 12;
/// Where in memory that goes, in the processor's paragraphs of 16 bytes.
const SEGMENT: u16 = 0x820;
const PARAGRAPHS_OF_SECTOR: u16 = 32;

/// Whether an image is to boot by itself: as it says, or as its parent.
pub(crate) fn is_wanted(image: &ImageEntry, parent: Option<&Path>) -> bool {
    let boots = || parent.map_or(image.bootable != Some(false), |parent| has_boot_sector(parent) == Some(true));
    cfg!(target_arch = "x86_64") && boots()
}

/// Sees that GRUB is there.
pub(crate) fn check_tools() -> Result<()> {
    namespace::need("grub-mkimage", "grub-common")?;
    let boot = Path::new(GRUB).join("boot.img");
    let missing = || Error::new(ErrorKind::Missing, format!("`{}` was not found", boot.display()));
    if boot.is_file() { Ok(()) } else { Err(missing().with_hint("apt install grub-pc-bin")) }
}

/// Has an image boot by itself, unless something takes its configuration away.
pub(crate) fn configure(chroot: &Chroot<'_>) -> Result<()> {
    chroot.write("configuring the boot loader", CONFIGURE, &[], CONFIG.as_bytes())
}

/// A boot loader in a tree.
#[derive(Debug)]
pub(crate) struct Loader {
    core: Vec<u8>,
}

impl Loader {
    /// Puts it into the tree, where that has its configuration.
    pub(crate) fn put(chroot: &Chroot<'_>) -> Result<Option<Self>> {
        if !cfg!(target_arch = "x86_64") || !is_configured(chroot)? {
            return Ok(None);
        }
        check_tools()?;
        let core = core_image(chroot)?;
        chroot.write("writing the boot loader", WRITE, &[CORE], &core)?;
        Ok(Some(Self { core }))
    }

    /// Leads from the first sector of the tree's disk, a raw one, to it.
    pub(crate) fn connect(&self, disk: &Path, chroot: &Chroot<'_>) -> Result<()> {
        let (request, stop) = (format!("blocks {CORE}"), chroot.stop.flag());
        let blocks = Tool::new("debugfs", "e2fsprogs")?.args(["-R", &request]).args([disk]).stop_on(stop).run()?;
        let sectors = sectors(&blocks, self.core.len())?;
        let boot = Path::new(GRUB).join("boot.img");
        let mut boot = fs::read(&boot).map_err(|error| Error::path("read", &boot, error))?;
        lead_to(sectors[0], &mut boot);
        let mut first = self.core[..SECTOR].to_owned();
        list(&runs(&sectors[1..]), &mut first)?;
        let write = || {
            let disk = File::options().write(true).open(disk)?;
            disk.write_all_at(&boot, 0)?;
            disk.write_all_at(&first, sectors[0] * SECTOR as u64)
        };
        write().map_err(|error| Error::path("write", disk, error))
    }
}

/// Whether a tree has the configuration. It need not have a shell, and no link leads out of it.
fn is_configured(chroot: &Chroot<'_>) -> Result<bool> {
    let path = chroot.tree().join("extlinux.conf");
    let script = r#"[ -L "$1" ] || [ ! -f "$1" ] || echo yes"#;
    let said = chroot.place.run(Job::of_host(&["sh", "-c", script, "sh", text(&path)?]), chroot.stop)?;
    Ok(!said.is_empty())
}

/// GRUB without what an installed one reads from its disk.
fn core_image(chroot: &Chroot<'_>) -> Result<Vec<u8>> {
    let [commands, core] = ["grub.cfg", "core.img"].map(|name| chroot.work.join(name));
    fs::write(&commands, COMMANDS).map_err(|error| Error::path("write", &commands, error))?;
    let tool = Tool::new("grub-mkimage", "grub-common")?.args(["-O", "i386-pc", "-d", GRUB, "-p", "/boot/grub"]);
    let tool = tool.args([Path::new("-c"), &commands, Path::new("-o"), &core]).args(MODULES);
    chroot.on_host("making the boot loader", tool)?;
    fs::read(&core).map_err(|error| Error::path("read", &core, error))
}

/// The sectors of a file of `length` bytes, of the blocks that debugfs prints.
fn sectors(blocks: &str, length: usize) -> Result<Vec<u64>> {
    let blocks: Vec<u64> = blocks.split_whitespace().map_while(|block| block.parse().ok()).collect();
    let count = length.div_ceil(SECTOR);
    // There are fewer where the file has holes, and more where it is in so many parts that a block tells where they are.
    if blocks.len() != count.div_ceil(SECTORS_OF_BLOCK as usize) {
        let message = format!("the boot loader, of {count} sectors, has {} blocks in the file system", blocks.len());
        return Err(Error::new(ErrorKind::Artifact, message));
    }
    let sectors =
        blocks.iter().flat_map(|block| (0..SECTORS_OF_BLOCK).map(move |sector| block * SECTORS_OF_BLOCK + sector));
    Ok(sectors.take(count).collect())
}

/// Those that follow each other, as the first and how many.
fn runs(sectors: &[u64]) -> Vec<(u64, u16)> {
    let mut runs: Vec<(u64, u16)> = Vec::new();
    for &sector in sectors {
        match runs.last_mut() {
            Some((start, count)) if *start + u64::from(*count) == sector => *count += 1,
            _ => runs.push((sector, 1)),
        }
    }
    runs
}

/// Has a boot sector load `sector`.
fn lead_to(sector: u64, boot: &mut [u8]) {
    boot[KERNEL_SECTOR..][..8].copy_from_slice(&sector.to_le_bytes());
}

/// Writes the list of what is to be loaded into the core image's first sector; zeros end it.
fn list(runs: &[(u64, u16)], first: &mut [u8]) -> Result<()> {
    let mut segment = SEGMENT;
    for (index, &(start, count)) in runs.iter().chain([&(0, 0)]).enumerate() {
        let entry = &mut first[LAST_ENTRY - index * ENTRY..][..ENTRY];
        // Below the one entry that is there, what is not zero is a program.
        if index > 0 && entry.iter().any(|byte| *byte != 0) {
            let message = format!("the boot loader is in too many parts of the file system: {}", runs.len());
            return Err(Error::new(ErrorKind::Artifact, message));
        }
        entry[..8].copy_from_slice(&start.to_le_bytes());
        entry[8..10].copy_from_slice(&count.to_le_bytes());
        entry[10..].copy_from_slice(&if count == 0 { 0 } else { segment }.to_le_bytes());
        segment += count * PARAGRAPHS_OF_SECTOR;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_where_its_blocks_are() {
        let check = |blocks: &str, length: usize, expected: &[(u64, u16)]| {
            assert_eq!(runs(&sectors(blocks, length).unwrap()), expected, "{blocks}");
        };
        check("100 \n", 1, &[(800, 1)]);
        check("100 101 102 \n", 3 * 4096, &[(800, 24)]);
        check("100 101 7 \n", 2 * 4096 + 513, &[(800, 16), (56, 2)]);
        let refused = |blocks: &str, length: usize| sectors(blocks, length).unwrap_err().to_string();
        assert_eq!(refused("", 1), "the boot loader, of 1 sectors, has 0 blocks in the file system");
        assert_eq!(refused("100 101 \n", 4096), "the boot loader, of 8 sectors, has 2 blocks in the file system");
    }

    #[test]
    fn a_boot_sector_loads_another_sector() {
        let mut boot = [0xee; SECTOR];
        lead_to(0x0102_0304_0506, &mut boot);
        assert_eq!(boot[0x5b..0x65], [0xee, 6, 5, 4, 3, 2, 1, 0, 0, 0xee]);
    }

    #[test]
    fn a_list_grows_down_to_the_program() {
        let mut first = [0; SECTOR];
        first[..0x1f4 - 3 * 12].fill(0xee);
        first[0x1f4..].fill(0xdd);
        let two = [(0x1122, 0x10), (0x33, 2)];
        list(&two, &mut first).unwrap();
        assert_eq!(first[0x1f4..], [0x22, 0x11, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x20, 8]);
        assert_eq!(first[0x1e8..0x1f4], [0x33, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 0xa]);
        assert_eq!(first[0x1d0..0x1e8], [0; 24]);
        assert_eq!(first[0x1cf], 0xee);
        let error = list(&[(1, 1), (3, 1), (5, 1), (7, 1)], &mut [0xee; SECTOR]).unwrap_err();
        assert_eq!(error.to_string(), "the boot loader is in too many parts of the file system: 4");
    }
}
