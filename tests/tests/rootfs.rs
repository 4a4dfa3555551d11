//! What a test finds around itself in the guest, on every kernel of `lvh.toml`.
//!
//! What can only be told from outside is in `tests/long/transports.rs`.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use std::{env, thread};

/// The file systems that every guest has: type, where.
const MOUNTS: [(&str, &str); 16] = [
    ("overlay", "/"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    // A module of Debian's kernels.
    ("configfs", "/sys/kernel/config"),
    ("mqueue", "/dev/mqueue"),
    ("hugetlbfs", "/dev/hugepages"),
];

/// What reaches the guest of the host's variables, and what lvh sets. A star stands for any rest.
const VARIABLES: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "RUST_*",
    "CARGO",
    "CARGO_*",
    "NEXTEST*",
    "INSTA_*",
    "TERM",
    "NO_COLOR",
    "CLICOLOR*",
    "COLORTERM",
    "LVH_TEST_*",
];

/// Runs a program that must succeed; what it printed.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[lvh::test]
fn device_nodes_are_there_before_their_modules() {
    let list = read(Path::new("/lib/modules").join(lvh::kernel_release()).join("modules.devname"));
    let nodes: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(nodes.len() > 10, "{list}");
    for node in nodes {
        let [_, name, device] = node.split(' ').collect::<Vec<_>>()[..] else { panic!("{node}") };
        let metadata = fs::metadata(Path::new("/dev").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
        assert!(metadata.file_type().is_char_device(), "{name}");
        assert_eq!(format!("c{major}:{minor}"), device, "{name}");
    }
    let for_all = |name: &str| fs::metadata(name).unwrap().mode() & 0o777 == 0o666;
    assert!(for_all("/dev/net/tun") && for_all("/dev/fuse") && !for_all("/dev/loop-control"));
    assert_eq!(fs::read_link("/dev/core").unwrap(), Path::new("/proc/kcore"));
    assert_eq!(fs::metadata("/run/lock").unwrap().mode() & 0o7777, 0o1777);
}

/// Opens a device, whose module the kernel loads for that.
#[track_caller]
fn open_device(name: &str) -> File {
    let opened = File::options().read(true).write(true).open(name);
    opened.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[lvh::test]
fn opening_a_device_loads_its_module() -> io::Result<()> {
    let tun = open_device("/dev/net/tun");
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is what TUNSETIFF reads and writes.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    assert!(Path::new("/sys/class/net/tun0").exists());
    for name in ["/dev/fuse", "/dev/cuse", "/dev/uinput", "/dev/uhid", "/dev/mapper/control", "/dev/vhost-net"] {
        open_device(name);
    }
    let list = read("/proc/modules");
    assert!(list.contains("\ntun ") || list.starts_with("tun "), "{list}");
    Ok(())
}

/// As losetup(8) does.
#[lvh::test]
fn a_file_becomes_a_block_device() -> io::Result<()> {
    const LOOP_SET_FD: libc::c_ulong = 0x4c00;
    const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
    let path = env::temp_dir().join("disk");
    fs::write(&path, [b"on the disk", &[0; (64 << 10) - 11][..]].concat())?;
    let control = open_device("/dev/loop-control");
    // SAFETY: plain numbers.
    let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })?;
    let mut device = open_device(&format!("/dev/loop{number}"));
    // SAFETY: as above.
    check(unsafe {
        libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, open_device(path.to_str().unwrap()).as_raw_fd())
    })?;
    let mut start = [0; 11];
    device.read_exact(&mut start)?;
    assert_eq!(&start, b"on the disk");
    // SAFETY: as above.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD as _, 0) }).map(drop)
}

#[lvh::test]
fn every_file_system_is_mounted_once() {
    let mounts = read("/proc/mounts");
    let found: Vec<Vec<&str>> = mounts.lines().map(|line| line.split(' ').collect()).collect();
    for (fstype, target) in MOUNTS {
        let at: Vec<&str> = found.iter().filter(|fields| fields[1] == target).map(|fields| fields[2]).collect();
        assert_eq!(at, [fstype], "{target} in\n{mounts}");
    }
    assert!(found.iter().all(|fields| !fields[1].starts_with("/run/lvh")), "lvh-init's own mounts show:\n{mounts}");
}

#[lvh::test]
fn we_are_root_in_the_package_directory() {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { (libc::getuid(), libc::geteuid(), libc::getgid()) }, (0, 0, 0));
    assert_eq!(env::current_dir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap());
    assert!(read("ui/pass/strict.rs").contains("fn "));
    assert!(read("../Cargo.toml").contains("[workspace]"));
    let status = read("/proc/self/status");
    assert!(status.contains("CapEff:\t000001ffffffffff") || status.contains("CapEff:\t000000ffffffffff"), "{status}");
}

#[lvh::test]
fn the_test_binary_is_where_it_is_on_the_host() {
    let exe = env::current_exe().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().canonicalize().unwrap();
    assert!(exe.starts_with(&target), "{} is not in {}", exe.display(), target.display());
    assert_eq!(Path::new(&env::args_os().next().unwrap()), exe);
    let listed = run(exe.to_str().unwrap(), &["--list", "--format=terse"]);
    let this = format!("the_test_binary_is_where_it_is_on_the_host::{}: test", kernel_name());
    assert!(listed.contains(&this), "no `{this}` in\n{listed}");
}

/// The kernel's name in `lvh.toml`.
fn kernel_name() -> &'static str {
    let release = lvh::kernel_release();
    let names = ["5.10", "6.1", "6.12"];
    names.into_iter().find(|name| release.starts_with(&format!("{name}."))).unwrap_or("7.x")
}

#[lvh::test]
fn only_variables_that_mean_something_here_are_set() {
    let known = |name: &str| {
        VARIABLES.iter().any(|known| known.strip_suffix('*').map_or(name == *known, |start| name.starts_with(start)))
    };
    let names: Vec<String> = env::vars().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| known(name)), "{names:?}");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "set twice: {names:?}");
    let path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap()).collect();
    for standard in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        assert!(path.contains(&PathBuf::from(standard)), "{path:?}");
    }
    assert!(path.iter().any(|dir| dir.join("rustc").exists()), "the host's programs are not found: {path:?}");
    assert_eq!((env::var("HOME").unwrap(), env::var("USER").unwrap()), ("/root".to_owned(), "root".to_owned()));
    if env::var_os("CARGO").is_some() {
        assert_eq!(env::var("CARGO_MANIFEST_DIR").unwrap(), env!("CARGO_MANIFEST_DIR"));
    }
}

#[lvh::test]
fn temporary_directories_can_be_written_to() {
    for dir in [env::temp_dir(), "/dev/shm".into(), "/run".into(), "/root".into(), "/var/tmp".into()] {
        let file = dir.join("world");
        fs::write(&file, "x").unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        assert_eq!(read(&file), "x");
        fs::remove_file(file).unwrap();
    }
    assert_eq!(fs::metadata("/tmp").unwrap().permissions().mode() & 0o7777, 0o1777);
}

#[lvh::test]
fn files_without_a_name_in_tmp() {
    // SAFETY: a NUL-terminated path; the descriptor is checked before it is owned.
    let fd = check(unsafe { libc::open(c"/tmp".as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o600) }).unwrap();
    // SAFETY: the kernel just gave us this descriptor.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(b"unnamed").unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}

#[lvh::test]
fn device_nodes_work() {
    fs::write("/dev/null", "x").unwrap();
    let mut zeros = [1; 8];
    File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
    assert_eq!(zeros, [0; 8]);
    File::open("/dev/urandom").unwrap().read_exact(&mut zeros).unwrap();
    assert_ne!(zeros, [0; 8]);
    assert!(fs::metadata("/dev/kmsg").unwrap().file_type().is_char_device());
}

#[lvh::test]
fn descriptors_have_names() {
    assert_eq!(run("sh", &["-c", "echo in | cat /dev/stdin"]), "in\n");
    assert_eq!(run("sh", &["-c", "echo out > /dev/stdout; echo err 2>/dev/null > /dev/stderr"]), "out\n");
    assert_eq!(run("bash", &["-c", "cat <(echo substituted)"]), "substituted\n");
    assert_eq!(fs::read_link("/dev/fd").unwrap(), Path::new("/proc/self/fd"));
}

#[lvh::test]
fn a_pseudo_terminal_can_be_had() {
    // SAFETY: no memory is involved.
    let master = check(unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) }).unwrap();
    // SAFETY: the descriptor is open and ours; ptsname gives a NUL-terminated string.
    let (mut master, slave) = unsafe {
        check(libc::grantpt(master)).unwrap();
        check(libc::unlockpt(master)).unwrap();
        let name = std::ffi::CStr::from_ptr(libc::ptsname(master)).to_str().unwrap();
        (File::from_raw_fd(master), PathBuf::from(name))
    };
    assert!(slave.starts_with("/dev/pts"), "{}", slave.display());
    // It does not become our controlling terminal, although we do not ask for that: its end would kill us.
    let mut slave = File::options().read(true).write(true).open(slave).unwrap();
    slave.write_all(b"hello").unwrap();
    let mut read = [0; 5];
    master.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello");
}

#[lvh::test]
fn a_cgroup_can_be_made_and_entered() {
    let cgroup = Path::new("/sys/fs/cgroup/world");
    fs::create_dir(cgroup).unwrap();
    let controllers = read(cgroup.join("../cgroup.controllers"));
    assert!(controllers.contains("memory") && controllers.contains("pids"), "{controllers}");
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+pids").unwrap();
    assert!(cgroup.join("pids.max").exists());
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
    assert_eq!(read(format!("/proc/{}/cgroup", child.id())), "0::/world\n");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "-pids").unwrap();
    fs::remove_dir(cgroup).unwrap();
}

#[lvh::test]
fn a_map_can_be_pinned_in_bpffs() {
    /// The fields of `union bpf_attr` that BPF_OBJ_PIN reads.
    #[repr(C)]
    struct Pin(u64, u32, u32);
    // BPF_MAP_CREATE: BPF_MAP_TYPE_ARRAY, key and value of 4 bytes, 1 entry.
    let map = bpf(0, &[2u32, 4, 4, 1]).unwrap();
    // SAFETY: the kernel just gave us this descriptor.
    let map = unsafe { OwnedFd::from_raw_fd(map) };
    fs::create_dir("/sys/fs/bpf/world").unwrap();
    let path = CString::new("/sys/fs/bpf/world/map").unwrap();
    bpf(6, &Pin(path.as_ptr() as u64, map.as_raw_fd() as u32, 0)).unwrap();
    assert!(Path::new("/sys/fs/bpf/world/map").exists());
    fs::remove_dir_all("/sys/fs/bpf/world").unwrap();
}

/// bpf(2) with attributes that have no padding.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: pointer and size of attributes that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) } as i32)
}

#[lvh::test]
fn the_kernel_can_be_traced() {
    assert!(read("/sys/kernel/tracing/available_tracers").contains("nop"));
    assert!(Path::new("/sys/kernel/tracing/events/sched/sched_switch/id").exists());
    assert!(Path::new("/sys/kernel/debug/tracing/events").is_dir());
    assert!(read("/sys/kernel/security/lsm").contains("capability"));
    assert!(read("/proc/kallsyms").lines().any(|line| !line.starts_with("0000000000000000")));
    let btf = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    assert_eq!(btf[..2], 0xeb9f_u16.to_ne_bytes());
}

#[lvh::test]
fn loopback_is_up() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _peer) = listener.accept().unwrap();
        client.write_all(b"ping").unwrap();
        let mut read = [0; 4];
        server.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"ping");
    }
    let mut localhost = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").unwrap();
    assert!(localhost.any(|address| address.ip().is_loopback()));
}

#[lvh::test]
fn the_host_name_is_ours() {
    assert_eq!(read("/proc/sys/kernel/hostname"), "lvh\n");
}

#[lvh::test]
fn the_clock_is_right() {
    // From outside the transports test looks more closely.
    let built = env::current_exe().unwrap().metadata().unwrap().modified().unwrap();
    let since = SystemTime::now().duration_since(built).expect("the clock is behind the time of our build");
    assert!(since.as_secs() < 10 * 365 * 86400, "built {since:?} ago");
}

#[lvh::test]
fn the_configuration_is_that_of_this_kernel() {
    let config = read(format!("/boot/config-{}", lvh::kernel_release()));
    let compiler = config.lines().find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=")).unwrap();
    let version = read("/proc/version");
    assert!(version.contains(compiler.trim_matches('"')), "{compiler} did not build {version}");
    let series: Vec<&str> = version.split(['.', ' ']).skip(2).take(2).collect();
    assert!(config.contains(&format!("# Linux/x86 {}.", series.join("."))) || cfg!(not(target_arch = "x86_64")));
}

#[lvh::test]
fn modules_can_be_loaded() {
    let release = lvh::kernel_release();
    assert!(Path::new("/lib/modules").join(&release).join("kernel").is_dir());
    assert!(run("modinfo", &["-F", "vermagic", "dummy"]).starts_with(&format!("{release} ")));
    run("modprobe", &["dummy"]);
    assert!(read("/proc/modules").lines().any(|line| line.starts_with("dummy ")));
    // One that needs others.
    run("modprobe", &["nf_tables"]);
    assert!(read("/proc/modules").lines().any(|line| line.starts_with("nf_tables ")));
    run("modprobe", &["-r", "dummy"]);
}

#[lvh::test]
fn what_is_written_to_the_root_stays_here() {
    // Whether it does is checked by transports.rs, on the host.
    fs::write("/etc/hostname", "changed-in-a-guest\n").unwrap();
    assert_eq!(read("/etc/hostname"), "changed-in-a-guest\n");
    fs::write("written-by-a-guest", "x").unwrap();
    fs::rename("written-by-a-guest", "../renamed-by-a-guest").unwrap();
    assert_eq!(read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../renamed-by-a-guest")), "x");
    fs::remove_file("/etc/passwd").unwrap();
    assert!(!Path::new("/etc/passwd").exists());
    fs::create_dir("/made-by-a-guest").unwrap();
}

#[lvh::test]
fn shared_files_can_be_mapped() {
    let file = File::open("Cargo.toml").unwrap();
    let len = file.metadata().unwrap().len() as usize;
    // SAFETY: a mapping of an open file, checked before it is read; nobody changes the file.
    let mapped = unsafe {
        let pointer = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(pointer, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        std::slice::from_raw_parts(pointer.cast::<u8>(), len)
    };
    assert_eq!(mapped, read("Cargo.toml").as_bytes());
}

#[lvh::test]
fn sockets_have_names() {
    let path = "/tmp/world.socket";
    let listener = UnixListener::bind(path).unwrap();
    let mut client = UnixStream::connect(path).unwrap();
    let (mut server, _peer) = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    drop(client);
    assert_eq!(io::read_to_string(&mut server).unwrap(), "ping");
    fs::remove_file(path).unwrap();
}

#[lvh::test]
fn children_and_signals() {
    static RECEIVED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_signal: i32) {
        RECEIVED.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: the handler does nothing but an atomic addition.
    unsafe {
        libc::signal(libc::SIGUSR1, count as *const () as libc::sighandler_t);
        libc::raise(libc::SIGUSR1);
    }
    assert_eq!(RECEIVED.load(Ordering::SeqCst), 1);

    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(run("sh", &["-c", "yes | head -n 1"]), "y\n");
    // A child of ours may outlive us no longer than the test: transports.rs would hang on it.
    #[expect(clippy::zombie_processes, reason = "the next test looks that it is gone")]
    Command::new("setsid").args(["sleep", "3600"]).spawn().unwrap();
}

#[lvh::test]
fn orphans_of_earlier_tests_are_gone() {
    // Tests run in the order of their names: `children_and_signals` was before this one.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!command.starts_with(b"sleep\x003600"), "{}", entry.path().display());
    }
}

#[lvh::test]
fn many_threads() {
    let threads: Vec<_> = (0..100).map(|number| thread::spawn(move || number)).collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 4950);
}

#[lvh::test]
fn standard_streams_are_pipes_and_input_is_empty() {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input).unwrap();
    assert_eq!(input, b"");
    let stdout = fs::read_link("/proc/self/fd/1").unwrap();
    assert!(stdout.to_string_lossy().starts_with("pipe:"), "{}", stdout.display());
    let open: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().collect();
    // 0 to 2, the report pipe, and the directory itself.
    assert_eq!(open.len(), 5, "{open:?}");
    let inherited = run("ls", &["/proc/self/fd"]);
    assert_eq!(inherited, "0\n1\n2\n3\n", "a child's descriptors, the last being the directory");
}

#[lvh::test]
fn limits_are_ordinary() {
    let limits = read("/proc/self/limits");
    let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(limit("Max open files").starts_with("1024 "), "{limits}");
    assert!(limit("Max stack size").starts_with("8388608 "), "{limits}");
    assert_eq!(run("sh", &["-c", "umask"]), "0022\n");
    let status = read("/proc/self/status");
    for mask in ["SigBlk", "SigPnd"] {
        assert!(status.contains(&format!("{mask}:\t0000000000000000")), "{status}");
    }
}

#[lvh::test(memory = "512M")]
fn memory_is_what_was_asked_for() {
    let total = read("/proc/meminfo").lines().next().unwrap().split_whitespace().nth(1).unwrap().parse::<u32>();
    assert!((400_000..524_288).contains(&total.clone().unwrap()), "{total:?} KiB");
}

lvh::main!();
