//! The system calls that `std` does not offer.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub const MS_RDONLY: c_ulong = 1;
pub const MS_NOSUID: c_ulong = 2;
pub const MS_NODEV: c_ulong = 4;
pub const MS_NOEXEC: c_ulong = 8;
pub const MS_BIND: c_ulong = 4096;
pub const MS_MOVE: c_ulong = 8192;

pub const S_IFCHR: c_uint = 0o020_000;
pub const S_IFBLK: c_uint = 0o060_000;

pub const EBUSY: i32 = 16;
pub const EEXIST: i32 = 17;
pub const ENODEV: i32 = 19;
pub const EINVAL: i32 = 22;
pub const EPIPE: i32 = 32;
pub const SIGKILL: c_int = 9;
pub const O_NOCTTY: c_int = 0o400;
pub const O_NONBLOCK: c_int = 0o4000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: c_int = 0o400_000;
#[cfg(not(target_arch = "x86_64"))]
pub const O_NOFOLLOW: c_int = 0o100_000; // arm64

const AF_VSOCK: c_int = 40;
const VMADDR_CID_HOST: c_uint = 2;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        fstype: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn setsid() -> c_int;
    #[link_name = "fork"]
    fn fork_process() -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn setrlimit(resource: c_int, limit: *const [c_ulong; 2]) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    fn reboot(how: c_int) -> c_int;
    fn sethostname(name: *const c_char, len: usize) -> c_int;
    fn clock_settime(clock: c_int, time: *const [c_long; 2]) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const c_void, len: c_uint) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    fn fsetxattr(fd: c_int, name: *const c_char, value: *const c_void, size: usize, flags: c_int) -> c_int;
    fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
    fn tcgetattr(fd: c_int, termios: *mut c_void) -> c_int;
    fn tcsetattr(fd: c_int, when: c_int, termios: *const c_void) -> c_int;
    fn cfmakeraw(termios: *mut c_void);
    #[link_name = "sync"]
    fn sync_all();
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// mount(2).
pub fn mount_at(source: &Path, target: &Path, fstype: &str, flags: c_ulong, data: &str) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let (fstype, data) = (CString::new(fstype)?, CString::new(data)?);
    // SAFETY: four NUL-terminated strings that outlive the call.
    check(unsafe { mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast()) })?;
    Ok(())
}

/// mknod(2): `mode` holds the kind too.
pub fn make_node(path: &Path, mode: c_uint, major: c_uint, minor: c_uint) -> io::Result<()> {
    let path = c_path(path)?;
    // As makedev(3) does it, for both C libraries.
    let (major, minor) = (u64::from(major), u64::from(minor));
    let device = (major & 0xfff) << 8 | (major & !0xfff) << 32 | minor & 0xff | (minor & !0xff) << 12;
    // SAFETY: a NUL-terminated string that outlives the call.
    check(unsafe { mknod(path.as_ptr(), mode, device) }).map(drop)
}

/// chroot(2).
pub fn chroot_to(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a NUL-terminated string that outlives the call.
    check(unsafe { chroot(path.as_ptr()) })?;
    Ok(())
}

/// kill(2); a negative `pid` names a process group.
pub fn send_signal(pid: i32, signal: c_int) {
    // SAFETY: no memory is involved.
    unsafe { kill(pid, signal) };
}

/// Gives up the handlers that the standard library has for faults. The first process gets no signal that it has no handler
/// for (kernel/signal.c, sig_task_ignored()), while a fault of its own still ends it.
pub fn drop_fault_handlers() {
    const SIGBUS: c_int = 7;
    const SIGSEGV: c_int = 11;
    const SIG_DFL: usize = 0;
    // SAFETY: no memory is involved.
    unsafe {
        signal(SIGBUS, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
    }
}

/// Makes the calling process the leader of a new group, but not of a session: the first terminal that a session leader
/// opens becomes its controlling terminal, whose end then kills it. Safe between fork and exec.
pub fn new_process_group() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { setpgid(0, 0) }).map(drop)
}

/// Makes the calling process the leader of a session of its own; harmless where it is that already.
pub fn lead_session() {
    // SAFETY: no memory is involved.
    unsafe { setsid() };
}

/// Makes the calling process the leader of a new session whose terminal is its standard input. Safe between fork and exec.
pub fn new_session() -> io::Result<()> {
    const TIOCSCTTY: c_ulong = 0x540e;
    // SAFETY: no memory is involved.
    check(unsafe { setsid() })?;
    // SAFETY: as above; the argument is a number.
    check(unsafe { ioctl(0, TIOCSCTTY, 0 as c_ulong) }).map(drop)
}

/// Unlocks the other end of a terminal, and gives its number.
pub fn unlock_terminal(master: &File) -> io::Result<u32> {
    const TIOCSPTLCK: c_ulong = 0x4004_5431;
    const TIOCGPTN: c_ulong = 0x8004_5430;
    let (locked, mut number): (c_int, c_uint) = (0, 0);
    // SAFETY: the first call reads one int, the second writes one; both outlive the calls.
    unsafe {
        check(ioctl(master.as_raw_fd(), TIOCSPTLCK, &raw const locked))?;
        check(ioctl(master.as_raw_fd(), TIOCGPTN, &raw mut number))?;
    }
    Ok(number)
}

/// Sets a terminal's size, in characters.
pub fn set_window_size(terminal: RawFd, rows: u16, columns: u16) -> io::Result<()> {
    const TIOCSWINSZ: c_ulong = 0x5414;
    // struct winsize: rows, columns, and a size in pixels that nobody uses.
    let size = [rows, columns, 0, 0];
    // SAFETY: `size` has the layout of winsize and outlives the call.
    check(unsafe { ioctl(terminal, TIOCSWINSZ, size.as_ptr()) }).map(drop)
}

/// Lets the calling process leave a core of at most `bytes`. Safe between fork and exec.
pub fn allow_core(bytes: u64) -> io::Result<()> {
    const RLIMIT_CORE: c_int = 4;
    let limit = [bytes as c_ulong; 2];
    // SAFETY: `limit` has the layout of rlimit on 64-bit Linux and outlives the call.
    check(unsafe { setrlimit(RLIMIT_CORE, &limit) }).map(drop)
}

/// Makes `to` a copy of `from` that survives exec. Safe between fork and exec.
pub fn place_fd(from: RawFd, to: RawFd) -> io::Result<()> {
    const F_SETFD: c_int = 2;
    if from == to {
        // SAFETY: no memory is involved.
        return check(unsafe { fcntl(to, F_SETFD, 0) }).map(drop);
    }
    // SAFETY: as above.
    check(unsafe { dup2(from, to) }).map(drop)
}

/// Waits until some child has ended, without reaping it; its process id.
pub fn wait_for_any() -> io::Result<i32> {
    const P_ALL: c_int = 0;
    const WEXITED: c_int = 4;
    const WNOWAIT: c_int = 0x0100_0000;
    // siginfo_t is 128 bytes; for SIGCHLD si_pid is the fourth int on 64-bit Linux.
    let mut info = [0i32; 32];
    // SAFETY: `info` is as large as siginfo_t and outlives the call.
    check(unsafe { waitid(P_ALL, 0, info.as_mut_ptr().cast(), WEXITED | WNOWAIT) })?;
    Ok(info[4])
}

/// Reaps the ended child `pid`; its wait status.
pub fn reap(pid: i32) -> io::Result<i32> {
    const WNOHANG: c_int = 1;
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    check(unsafe { waitpid(pid, &mut status, WNOHANG) })?;
    Ok(status)
}

/// fork(2); 0 in the child. For a process that has one thread.
pub fn fork() -> io::Result<i32> {
    // SAFETY: no other thread holds a lock that the child would wait for.
    check(unsafe { fork_process() })
}

/// Makes the calling process the parent of its descendants' orphans. That it cannot is no failure: the first process is.
pub fn adopt_orphans() {
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    // SAFETY: no memory is involved.
    unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong) };
}

/// A short extended attribute of a file; a link's is its own.
pub fn attribute(path: &Path, name: &CStr) -> io::Result<Vec<u8>> {
    let (path, mut value) = (c_path(path)?, [0; 64]);
    // SAFETY: two NUL-terminated strings, and a buffer of that length, which outlive the call.
    let len = unsafe { lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    if len < 0 { Err(io::Error::last_os_error()) } else { Ok(value[..len as usize].to_vec()) }
}

/// Sets an extended attribute of a file.
pub fn set_attribute(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: a NUL-terminated string and a value of that length, which outlive the call.
    check(unsafe { fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }).map(drop)
}

/// Where the next bytes of a file that are no hole are, at `offset` or behind; none: there are none.
pub fn data_from(file: &File, offset: u64) -> io::Result<Option<u64>> {
    const SEEK_DATA: c_int = 3;
    const ENXIO: i32 = 6;
    // SAFETY: no memory is involved. On 64-bit Linux an off_t has 64 bits.
    let start = unsafe { lseek(file.as_raw_fd(), offset as i64, SEEK_DATA) };
    if start >= 0 {
        return Ok(Some(start as u64));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(ENXIO) => Ok(None),
        error => Err(error),
    }
}

/// sync(2).
pub fn sync() {
    // SAFETY: no memory is involved.
    unsafe { sync_all() };
}

/// reboot(RB_POWER_OFF); returns only where it failed.
pub fn power_off() {
    const RB_POWER_OFF: c_int = 0x4321_fedc;
    // SAFETY: no memory is involved.
    unsafe { reboot(RB_POWER_OFF) };
}

/// sethostname(2).
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one string.
    check(unsafe { sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets the wall clock to nanoseconds since 1970.
pub fn set_clock(ns: u64) -> io::Result<()> {
    const CLOCK_REALTIME: c_int = 0;
    let time = [(ns / 1_000_000_000) as c_long, (ns % 1_000_000_000) as c_long];
    // SAFETY: `time` has the layout of timespec on 64-bit Linux and outlives the call.
    check(unsafe { clock_settime(CLOCK_REALTIME, &time) }).map(drop)
}

/// Makes the kernel's random numbers depend on `seed`, all of which counts as entropy, from now on.
pub fn seed(seed: &[u8]) -> io::Result<()> {
    const RNDADDENTROPY: c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: c_ulong = 0x5207;
    // struct rand_pool_info: bits of entropy, bytes of seed, the seed.
    let mut pool = [(seed.len() as u32 * 8).to_ne_bytes(), (seed.len() as u32).to_ne_bytes()].concat();
    pool.extend_from_slice(seed);
    let random = File::options().write(true).open("/dev/random")?;
    // SAFETY: the first call reads a rand_pool_info that outlives it; the second takes no argument.
    unsafe {
        check(ioctl(random.as_raw_fd(), RNDADDENTROPY, pool.as_ptr()))?;
        check(ioctl(random.as_raw_fd(), RNDRESEEDCRNG)).map(drop)
    }
}

/// Connects to `port` of the host over vsock.
pub fn connect_vsock(port: u32) -> io::Result<OwnedFd> {
    const SOCK_STREAM: c_int = 1;
    const SOCK_CLOEXEC: c_int = 0o2_000_000;
    // struct sockaddr_vm: family, reserved, port, cid, flags and padding.
    #[repr(C)]
    struct Address(u16, u16, u32, u32, [u8; 4]);
    // SAFETY: no memory is involved.
    let fd = check(unsafe { socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel just gave us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = Address(AF_VSOCK as u16, 0, port, VMADDR_CID_HOST, [0; 4]);
    // SAFETY: pointer and size of one address that outlives the call.
    check(unsafe { connect(fd.as_raw_fd(), (&raw const address).cast(), size_of::<Address>() as c_uint) })?;
    Ok(fd)
}

/// The number by which the host knows this machine on vsock.
pub fn vsock_cid() -> io::Result<u32> {
    const IOCTL_VM_SOCKETS_GET_LOCAL_CID: c_ulong = 0x07b9;
    let vsock = File::open("/dev/vsock")?;
    let mut cid: c_uint = 0;
    // SAFETY: the call writes one int, which outlives it.
    check(unsafe { ioctl(vsock.as_raw_fd(), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &raw mut cid) })?;
    Ok(cid)
}

/// Makes a terminal pass every byte as it is.
pub fn make_raw(tty: &File) -> io::Result<()> {
    // struct termios is 60 bytes on Linux (glibc and musl); leave room.
    let mut termios = [0u64; 16];
    let pointer: *mut c_void = termios.as_mut_ptr().cast();
    // SAFETY: `termios` is larger than struct termios and outlives the calls.
    unsafe {
        check(tcgetattr(tty.as_raw_fd(), pointer))?;
        cfmakeraw(pointer);
        check(tcsetattr(tty.as_raw_fd(), 0, pointer)).map(drop)
    }
}

/// Brings the loopback interface up.
pub fn loopback_up() -> io::Result<()> {
    interface_up(std::net::UdpSocket::bind("0.0.0.0:0")?.as_raw_fd(), OsStr::new("lo"))
}

/// Brings a network interface up, by any socket of IPv4.
pub fn interface_up(socket: RawFd, name: &OsStr) -> io::Result<()> {
    const SIOCSIFFLAGS: c_ulong = 0x8914;
    const IFF_UP: u16 = 1;
    change_interface(socket, SIOCSIFFLAGS, name, &IFF_UP.to_ne_bytes())
}

/// Gives a network interface its address, likewise.
pub fn set_interface_address(socket: RawFd, name: &OsStr, address: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    const SIOCSIFADDR: c_ulong = 0x8916;
    const SIOCSIFNETMASK: c_ulong = 0x891c;
    change_interface(socket, SIOCSIFADDR, name, &socket_address(address))?;
    change_interface(socket, SIOCSIFNETMASK, name, &socket_address(mask))
}

/// Sends all that has no nearer route to `gateway`, likewise.
pub fn add_default_route(socket: RawFd, gateway: Ipv4Addr) -> io::Result<()> {
    const SIOCADDRT: c_ulong = 0x890b;
    // RTF_UP and RTF_GATEWAY.
    const FLAGS: u16 = 1 | 2;
    // struct rtentry on 64-bit Linux: destination at 8, gateway at 24, mask at 40, flags at 56.
    let mut route = [0u64; 15];
    let all = socket_address(Ipv4Addr::UNSPECIFIED);
    for (at, address) in [(1, all), (3, socket_address(gateway)), (5, all)] {
        for (word, bytes) in route[at..at + 2].iter_mut().zip(address.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
    }
    route[7] = u64::from(FLAGS).to_le();
    // SAFETY: `route` has the layout of rtentry and outlives the call.
    check(unsafe { ioctl(socket, SIOCADDRT, route.as_ptr()) }).map(drop)
}

/// An ioctl on an interface, with what its union begins with.
fn change_interface(socket: RawFd, request: c_ulong, name: &OsStr, value: &[u8]) -> io::Result<()> {
    // struct ifreq: 16 bytes of name, then a union of 24 bytes.
    let mut interface = [0u8; 40];
    let name = name.as_bytes();
    interface[..15].iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    interface[16..16 + value.len()].copy_from_slice(value);
    // SAFETY: `interface` has the layout of ifreq and outlives the call.
    check(unsafe { ioctl(socket, request, interface.as_ptr()) }).map(drop)
}

/// struct sockaddr_in without a port.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    const AF_INET: u16 = 2;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

/// finit_module(2) without parameters.
pub fn load_module(file: &File) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    const FINIT_MODULE: c_long = 313;
    #[cfg(not(target_arch = "x86_64"))]
    const FINIT_MODULE: c_long = 273; // the generic table: arm64, riscv64
    // SAFETY: an open file, an empty NUL-terminated string, no flags.
    let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), c"".as_ptr(), 0 as c_int) };
    check(result as c_int).map(drop)
}

/// Lets the calling thread, but not what it starts, run before every ordinary one as soon as it can. That it cannot is no failure.
pub fn run_first() {
    #[cfg(target_arch = "x86_64")]
    const SCHED_SETSCHEDULER: c_long = 144;
    #[cfg(not(target_arch = "x86_64"))]
    const SCHED_SETSCHEDULER: c_long = 119; // the generic table
    const SCHED_FIFO: c_int = 1;
    const SCHED_RESET_ON_FORK: c_int = 0x4000_0000;
    // struct sched_param: the lowest of the real-time priorities. Not the C library's function: musl's does nothing.
    let priority: c_int = 1;
    // SAFETY: thread 0 is the caller; `priority` outlives the call.
    unsafe { syscall(SCHED_SETSCHEDULER, 0 as c_int, SCHED_FIFO | SCHED_RESET_ON_FORK, &raw const priority) };
}

/// Waits until `fd` can be read; a signal may be taken for that.
pub fn wait_readable(fd: RawFd) -> io::Result<()> {
    const POLLIN: i16 = 1;
    let mut fds = PollFd { fd, events: POLLIN, revents: 0 };
    // SAFETY: one struct pollfd that outlives the call.
    match check(unsafe { poll(&mut fds, 1, -1) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result.map(drop),
    }
}

/// The processor's time stamp counter.
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has one, and Linux lets user space read it.
    return unsafe { std::arch::x86_64::_rdtsc() };
    // arm64 has a counter that does not count cycles; nobody asks yet.
    #[cfg(not(target_arch = "x86_64"))]
    0
}
