//! What the kernel remembers of files that the host shares.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Writing here has the kernel forget (Documentation/admin-guide/sysctl/vm.rst).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Has the kernel forget without a line in its log each time; for this it writes one, which belongs to the boot.
pub fn forget_quietly() {
    // A kernel that cannot remembers more than it should.
    let _ = std::fs::write(DROP_CACHES, "4");
}

/// The way to forget, whatever commands do to `/proc`.
pub struct Caches(Option<File>);

impl Caches {
    pub fn new() -> Self {
        Self(File::options().write(true).open(DROP_CACHES).ok())
    }

    /// Forgets the names and the content of all files that nobody has open. An overlay knows no better way to find that a
    /// layer of it has changed: the names that it knows it never looks up again, and where the layer says that one is out
    /// of date, it only fails (fs/overlayfs/super.c, `ovl_revalidate_real`).
    pub fn forget(&self) {
        if let Some(file) = &self.0 {
            // Content and names; then names again, for those that were used of late are only marked at first (fs/dcache.c,
            // `dentry_lru_isolate`). Anywhere but at its start the file takes nothing.
            let _ = file.write_all_at(b"3", 0).and_then(|()| file.write_all_at(b"2", 0));
        }
    }
}
