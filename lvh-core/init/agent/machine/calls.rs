//! Looking at the kernel with few system calls: a test waits for each.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

unsafe extern "C" {
    fn statfs(path: *const c_char, buffer: *mut c_void) -> c_int;
    fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// The text of a file of the kernel's, however long; none where it cannot be read.
pub fn read(path: &str) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let (mut text, mut chunk) = (Vec::new(), [0; 16 << 10]);
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(String::from_utf8_lossy(&text).into_owned()),
            len => text.extend_from_slice(&chunk[..len]),
        }
    }
}

/// What a setting is: one read, and not for more than that, because the kernel clears a buffer of as much as it is asked for.
pub fn read_setting(path: &str) -> Option<String> {
    let mut text = [0; 256];
    let len = File::open(path).ok()?.read(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// Whether this process has any children, ended ones too.
pub fn has_children() -> bool {
    const P_ALL: c_int = 0;
    // WEXITED, WNOHANG, WNOWAIT.
    const LOOK: c_int = 4 | 1 | 0x0100_0000;
    let mut info = [0_i32; 32];
    // SAFETY: `info` is as large as siginfo_t (128 bytes) and outlives the call.
    unsafe { waitid(P_ALL, 0, info.as_mut_ptr().cast(), LOOK) == 0 }
}

/// What the file system at `path` has free for everybody: bytes, and inodes. Nothing where it does not tell.
pub fn free(path: &str) -> (u64, u64) {
    // struct statfs of 64-bit Linux: type, bsize, blocks, bfree, bavail, files, ffree and more, 120 bytes in all.
    let mut buffer = [0_u64; 16];
    let path = CString::new(path).expect("our paths have no NUL");
    // SAFETY: a NUL-terminated string, and a buffer larger than struct statfs; both outlive the call.
    let result = unsafe { statfs(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if result == 0 { (buffer[1] * buffer[4], buffer[6]) } else { (0, 0) }
}

/// A kind of object that bpf(2) numbers.
#[derive(Clone, Copy)]
pub enum BpfKind {
    Program,
    Map,
    Link,
}

/// The numbers of all objects of a kind; none where the kernel has no bpf(2).
pub fn bpf_objects(kind: BpfKind) -> impl Iterator<Item = u32> {
    // BPF_*_GET_NEXT_ID of enum bpf_cmd in include/uapi/linux/bpf.h.
    let command = match kind {
        BpfKind::Program => 11,
        BpfKind::Map => 12,
        BpfKind::Link => 31,
    };
    std::iter::successors(Some(0), move |&id| {
        // union bpf_attr for them: start_id, next_id, open_flags.
        let mut attr = [id, 0, 0];
        (bpf(command, &mut attr) == 0).then_some(attr[1])
    })
    .skip(1)
}

/// The name that the maker of a program or map gave it; empty where there is none.
pub fn bpf_name(kind: BpfKind, id: u32) -> String {
    // BPF_*_GET_FD_BY_ID, and where `name` is in struct bpf_prog_info and bpf_map_info.
    let (command, offset) = match kind {
        BpfKind::Program => (13, 64),
        BpfKind::Map => (14, 24),
        BpfKind::Link => return String::new(),
    };
    let fd = bpf(command, &mut [id, 0, 0]);
    if fd < 0 {
        return String::new();
    }
    // SAFETY: the kernel just gave us this descriptor.
    let object = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
    const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
    let mut info = [0_u8; 80];
    let at = (info.as_mut_ptr() as u64).to_ne_bytes();
    let half = |range: std::ops::Range<usize>| u32::from_ne_bytes(at[range].try_into().expect("four bytes"));
    // bpf_fd, info_len, info.
    let mut attr = [object.as_raw_fd() as u32, info.len() as u32, half(0..4), half(4..8)];
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr);
    let name = info[offset..offset + 16].split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// bpf(2); a negative number where it failed.
fn bpf(command: c_int, attr: &mut [u32]) -> c_long {
    #[cfg(target_arch = "x86_64")]
    const BPF: c_long = 321;
    #[cfg(not(target_arch = "x86_64"))]
    const BPF: c_long = 280; // the generic table: arm64, riscv64
    // SAFETY: pointer and size of one buffer that outlives the call; what it points to does too.
    unsafe { syscall(BPF, command, attr.as_mut_ptr(), size_of_val(attr) as c_uint) }
}
