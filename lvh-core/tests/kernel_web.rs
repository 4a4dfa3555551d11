//! Kernels of the web, as files and as archives of their source, from a server that cuts, lies and refuses.

mod quick;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lvh_core::config::Config;
use lvh_core::kernel::resolve_blocking;
use lvh_core::store::Key;
use lvh_core::{Error, Events, Kernel};
use quick::{ALL, bzimage, write_source};

/// How the server answers for a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// As it should.
    Well,
    /// Each answer ends in its middle, the connection with it.
    Cut,
    /// The first answer ends in its middle, and the server does not go on from there.
    CutOnceWithoutRanges,
    /// It has moved.
    To(&'static str),
    /// It does not give it, with these words.
    Refused(&'static str),
    /// It gives it the second time.
    RefusedOnce(&'static str),
    /// In small parts, with pauses.
    Slow,
    /// Nothing comes after the first half.
    Silent,
}

type Files = BTreeMap<&'static str, (Way, Vec<u8>)>;

/// A server on loopback; what it was asked is noted as `PATH FIRST-BYTE`.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let asked = server.asked.clone();
        thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), &files, &asked)));
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was asked since the last call.
    fn asked(&self) -> String {
        std::mem::take(&mut *self.asked.lock().unwrap()).join(", ")
    }
}

fn answer(mut stream: TcpStream, files: &Files, asked: &Mutex<Vec<String>>) {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let range = lines.iter().find_map(|line| line.strip_prefix("Range: bytes=")?.trim_end_matches('-').parse().ok());
    let first: usize = range.unwrap_or(0);
    asked.lock().unwrap().push(format!("{path} {first}"));
    let (head, body) = match files.get(path.as_str()) {
        None => ("404 Not Found\r\nContent-Length: 3\r\n".to_owned(), b"no\n".as_slice()),
        Some((Way::Refused(head), _)) => refusal(head),
        Some((Way::RefusedOnce(head), _)) if asked.lock().unwrap().len() == 1 => refusal(head),
        Some((Way::To(place), _)) => {
            (format!("302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n"), b"".as_slice())
        }
        Some((way, bytes)) => part(*way, bytes, first),
    };
    let way = files.get(path.as_str()).map(|(way, _)| *way);
    // Who has enough goes away.
    let _ = stream
        .write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes())
        .and_then(|()| write_body(&mut stream, body, way));
}

fn write_body(stream: &mut TcpStream, body: &[u8], way: Option<Way>) -> std::io::Result<()> {
    match way {
        Some(Way::Slow) => body.chunks(260).try_for_each(|part| {
            thread::sleep(Duration::from_millis(300));
            stream.write_all(part)
        }),
        Some(Way::Silent) => {
            stream.write_all(&body[..body.len() / 2])?;
            thread::sleep(Duration::from_secs(300));
            Ok(())
        }
        _ => stream.write_all(body),
    }
}

fn refusal(head: &str) -> (String, &'static [u8]) {
    (format!("{head}\r\nContent-Length: 0\r\n"), b"")
}

fn part(way: Way, bytes: &[u8], first: usize) -> (String, &[u8]) {
    let whole = format!("200 OK\r\nContent-Length: {}\r\n", bytes.len());
    match way {
        Way::CutOnceWithoutRanges if first == 0 => (whole, bytes),
        Way::CutOnceWithoutRanges => (whole, bytes),
        _ if first >= bytes.len() => ("416 Range Not Satisfiable\r\nContent-Length: 0\r\n".to_owned(), b""),
        _ => {
            let rest = &bytes[first..];
            let (from, last, all, length) = (first, bytes.len() - 1, bytes.len(), rest.len());
            let end = if way == Way::Cut && length > 100 { length / 2 } else { length };
            let partial =
                format!("206 Partial\r\nContent-Range: bytes {from}-{last}/{all}\r\nContent-Length: {length}\r\n");
            (if first == 0 { whole } else { partial }, &rest[..end])
        }
    }
}

struct World {
    dir: tempfile::TempDir,
    server: Server,
}

impl World {
    fn new(files: &[(&'static str, Way, &[u8])]) -> Self {
        let files = files.iter().map(|(path, way, bytes)| (*path, (*way, bytes.to_vec()))).collect();
        Self { dir: tempfile::tempdir().unwrap(), server: Server::start(files) }
    }

    fn resolve(&self, table: &str, offline: bool) -> Result<Kernel, Error> {
        let text = format!("data-dir = 'data'\n[kernels.k]\n{table}\n");
        let mut config = Config::parse(&self.dir.path().join("lvh.toml"), &text)?;
        config.offline = offline;
        resolve_blocking("k", &config.kernel("k")?, &config.store()?, &Events::silent())
    }

    /// The table of the kernel file at `path`.
    fn file(&self, path: &str, sha256: &str) -> String {
        format!("url = '{}'\nsha256 = '{sha256}'", self.server.url(path))
    }

    #[track_caller]
    fn taken(&self, table: &str, asked: &str) -> Kernel {
        let kernel = self.resolve(table, false).unwrap_or_else(|error| panic!("{}", error.report()));
        assert_eq!(self.server.asked(), asked, "{table}");
        kernel
    }

    #[track_caller]
    fn refused(&self, table: &str, offline: bool, words: &[&str]) {
        let report = self.resolve(table, offline).unwrap_err().report();
        words.iter().for_each(|word| assert!(report.contains(word), "{word}: {report}"));
    }

    /// What is there of downloads.
    fn downloads(&self) -> PathBuf {
        self.dir.path().join("data/store/state/downloads")
    }
}

fn digest(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Key::of_file(file.path()).unwrap().to_string()
}

#[test]
fn a_file_comes_once_and_whole() {
    let image = bzimage();
    let sha256 = digest(&image);
    let places = [
        ("/bzImage", Way::Well),
        ("/cut", Way::Cut),
        ("/moved", Way::To("/bzImage")),
        ("/whole", Way::CutOnceWithoutRanges),
    ];
    let files: Vec<_> = places.iter().map(|(path, way)| (*path, *way, image.as_slice())).collect();
    for (path, asked) in [
        ("/bzImage", "/bzImage 0"),
        ("/cut", "/cut 0, /cut 520, /cut 780, /cut 910, /cut 975"),
        ("/moved", "/moved 0, /bzImage 0"),
    ] {
        let world = World::new(&files);
        let kernel = world.taken(&world.file(path, &sha256.to_uppercase()), asked);
        assert_eq!((fs::read(&kernel.image).unwrap(), kernel.release.as_str()), (image.clone(), "6.1-x"));
        assert_eq!(kernel.identity, format!("{} sha256:{sha256}", world.server.url(path)));
        assert_eq!(fs::read_dir(world.downloads()).unwrap().count(), 0, "nothing is left beside it");
        world.taken(&world.file(path, &sha256), "");
        assert!(world.resolve(&world.file(path, &sha256), true).is_ok(), "nor is the network needed again");
    }
    // A process was killed at these bytes, the last of which never were the file's.
    let begun = |path: &str, bytes: &[u8], asked: &str| {
        let world = World::new(&files);
        quick::write(&world.downloads().join(&sha256), bytes);
        world.taken(&world.file(path, &sha256), asked);
    };
    begun("/bzImage", &image[..700], "/bzImage 700");
    begun("/bzImage", b"something else", "/bzImage 14, /bzImage 0");
    begun("/bzImage", &[7; 4000], "/bzImage 4000, /bzImage 0");
    begun("/whole", &image[..700], "/whole 700, /whole 0");
    begun("/bzImage", &image, "");
}

#[test]
fn a_digest_is_mandatory_and_must_be_right() {
    let image = bzimage();
    let sha256 = digest(&image);
    let world = World::new(&[("/bzImage", Way::Well, &image), ("/out", Way::To("file:///etc/passwd"), b"")]);
    let bare = format!("url = '{}'", world.server.url("/bzImage"));
    world.refused(&bare, true, &["lvh is offline"]);
    world.refused(&bare, false, &["has no `sha256`", &format!("write sha256 = \"{sha256}\"")]);
    assert_eq!(world.server.asked(), "/bzImage 0");
    let wrong = world.file("/bzImage", &"0".repeat(64));
    world.refused(&wrong, false, &["expected 0000", &format!("found {sha256}")]);
    assert_eq!(world.server.asked(), "/bzImage 0");
    world.taken(&world.file("/bzImage", &sha256), "");
    world.refused(&world.file("/none", &"1".repeat(64)), false, &["/none`: the server answers 404", "check the URL"]);
    world.refused(&world.file("/out", &"2".repeat(64)), false, &["failed to download"]);
    assert_eq!(fs::read_dir(world.downloads()).unwrap().count(), 0);
}

/// Nothing is left where nothing came, and nobody waits for an hour.
#[test]
fn a_server_that_refuses_is_told_and_one_that_is_busy_is_asked_again() {
    let image = bzimage();
    let sha256 = digest(&image);
    let late = "429 Too Many Requests\r\nRetry-After: 3600";
    let busy = "503 Service Unavailable\r\nRetry-After: 3600";
    let world = World::new(&[
        ("/login", Way::Refused("401 Unauthorized"), b""),
        ("/forbidden", Way::Refused("403 Forbidden"), b""),
        ("/gone", Way::Refused("410 Gone"), b""),
        ("/late", Way::Refused(late), b""),
        ("/busy", Way::Refused(busy), b""),
    ]);
    let start = Instant::now();
    for (path, answer, hint) in [
        ("/login", "401", "download it yourself"),
        ("/forbidden", "403", "download it yourself"),
        ("/gone", "410", "check the URL"),
        ("/late", "429", "try again later"),
        ("/busy", "503", "try again later"),
    ] {
        for table in [world.file(path, &sha256), world.file(path, &sha256).replace("url =", "tarball =")] {
            world.refused(&table, false, &[&format!("{path}`: the server answers {answer}"), hint]);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(fs::read_dir(world.downloads()).unwrap().count(), 0);
    let world = World::new(&[("/soon", Way::RefusedOnce("429 Too Many Requests\r\nRetry-After: 1"), &image)]);
    world.taken(&world.file("/soon", &sha256), "/soon 0, /soon 0");
    let world = World::new(&[("/slow", Way::Slow, &image)]);
    world.taken(&world.file("/slow", &sha256), "/slow 0");
}

#[test]
#[ignore = "waits for two minutes"]
fn a_server_that_falls_silent_is_given_up() {
    let image = bzimage();
    let world = World::new(&[("/silent", Way::Silent, &image)]);
    let start = Instant::now();
    world.refused(&world.file("/silent", &digest(&image)), false, &["failed to download", "what has arrived is kept"]);
    assert!(start.elapsed() < Duration::from_secs(240), "{:?}", start.elapsed());
}

/// The data directory is on a disk of 1 MB, in a mount namespace of a process of its own.
#[test]
fn a_full_disk_is_told() {
    let image = noise(3 << 20);
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::create_dir(dir.join("data")).unwrap();
    write_source(&dir.join("linux"));
    fs::write(dir.join("linux/zeroes"), vec![0; 4 << 20]).unwrap();
    let archive = tar(dir, "linux.tar.gz", &["--gzip", "linux"]);
    let server = Server::start(
        [("/bzImage", (Way::Well, image.clone())), ("/linux.tar.gz", (Way::Well, archive.clone()))].into(),
    );
    for (key, path, bytes, words) in [
        ("url", "/bzImage", &image, ["failed to write what came of", "make room on the disk of"]),
        ("tarball", "/linux.tar.gz", &archive, ["failed to unpack", "make room on the disk of"]),
    ] {
        let table = format!("{key} = '{}'\nsha256 = '{}'", server.url(path), digest(bytes));
        let verdict = on_a_small_disk(dir, &table);
        words.iter().for_each(|word| assert!(verdict.contains(word), "{word}: {verdict}"));
        assert!(verdict.ends_with("\nleft: []"), "{verdict}");
    }
}

/// Bytes that nothing makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

fn on_a_small_disk(dir: &Path, table: &str) -> String {
    fs::write(dir.join("lvh.toml"), format!("data-dir = 'data'\n[kernels.k]\n{table}\n")).unwrap();
    let script = format!("mount -t tmpfs -o size=1m none {}/data && exec \"$0\" \"$@\"", dir.display());
    let mut unshare = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--mount", "sh", "-c", &script]).arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", "resolve_in_a_process_of_its_own", "--ignored"]).env("LVH_TEST_DIR", dir);
    assert!(unshare.status().unwrap().success(), "this machine's users may make no mount namespace");
    fs::read_to_string(dir.join("verdict")).unwrap()
}

#[test]
#[ignore = "what another test starts"]
fn resolve_in_a_process_of_its_own() {
    let dir = PathBuf::from(std::env::var_os("LVH_TEST_DIR").unwrap());
    let config = Config::load(&dir.join("lvh.toml")).unwrap();
    let resolved = resolve_blocking("k", &config.kernel("k").unwrap(), &config.store().unwrap(), &Events::silent());
    let report = resolved.map(|kernel| kernel.identity).unwrap_or_else(|error| error.report());
    // Half of a download is gone on with.
    let left: Vec<_> = [dir.join("data/store/tmp"), dir.join("data/kernels")]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name()))
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    let unpacking = fs::read_dir(dir.join("data/kernels/.lvh")).into_iter().flatten();
    assert!(unpacking.flatten().all(|own| !own.path().join("unpacking").exists()));
    fs::write(dir.join("verdict"), format!("{report}\nleft: {left:?}")).unwrap();
}

fn tar(dir: &Path, archive: &str, args: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--file", archive, "--absolute-names"]).args(args).current_dir(dir);
    assert!(tar.status().unwrap().success());
    fs::read(dir.join(archive)).unwrap()
}

#[test]
fn a_kernel_is_built_from_an_archive() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    write_source(&dir.join("linux-6.1"));
    let archive = tar(dir, "linux.tar.gz", &["--gzip", "linux-6.1"]);
    let sha256 = digest(&archive);
    let world = World::new(&[("/linux.tar.gz", Way::Cut, &archive)]);
    let goals = || {
        let trees = fs::read_dir(world.dir.path().join("data/kernels/.lvh")).unwrap();
        let files = trees.map(|tree| tree.unwrap().path().join("build/goals"));
        let text: String = files
            .filter_map(|file| fs::read_to_string(&file).ok().inspect(|_| fs::remove_file(file).unwrap()))
            .collect();
        text.trim_end().replace('\n', "; ")
    };
    let table = |place: &str, rest: &str| format!("tarball = '{place}'\nsha256 = '{sha256}'\n{rest}");
    let url = world.server.url("/linux.tar.gz");
    let kernel = world.resolve(&table(&url, ""), false).unwrap_or_else(|error| panic!("{}", error.report()));
    assert!(fs::read_to_string(&kernel.image).unwrap().starts_with("one\n"));
    assert!(kernel.identity.starts_with(&format!("{url} {} sha256:", &sha256[..12])), "{}", kernel.identity);
    assert_eq!(goals(), format!("defconfig; olddefconfig; {ALL}; modules_install"));
    assert_eq!(fs::read_dir(world.downloads()).unwrap().count(), 0, "the archive is not kept");
    // The same archive elsewhere is the same source, and other options are another kernel.
    world.server.asked();
    world.taken(&table(&dir.join("linux.tar.gz").display().to_string(), ""), "");
    assert_eq!(goals(), "");
    world.taken(&table(&url, "options = ['A=n']"), "");
    assert_eq!(goals(), format!("defconfig; olddefconfig; {ALL}; modules_install"));
    let bare = format!("tarball = '{}'", dir.join("linux.tar.gz").display());
    world.refused(&bare, true, &["has no `sha256`", &sha256]);
    let wrong = format!("{bare}\nsha256 = '{}'", "0".repeat(64));
    world.refused(&wrong, true, &["expected 000", &format!("found {sha256}")]);
}

/// Names, links and what stands in the way.
#[test]
fn an_archive_stays_in_its_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    write_source(&dir.join("linux"));
    let outside = dir.join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, dir.join("linux/link")).unwrap();
    fs::write(dir.join("evil"), "evil").unwrap();
    let to = |name: &str| format!("--transform=s,^evil$,{name},");
    // A second archive behind the first: what goes through the link, upwards, and to an absolute name.
    tar(dir, "a.tar", &["linux"]);
    for name in ["linux/link/through", "../../../../up", &format!("{}/absolute", outside.display())] {
        let add = Command::new("tar")
            .args(["--append", "--file", "a.tar", "--absolute-names", &to(name), "evil"])
            .current_dir(dir)
            .status();
        assert!(add.unwrap().success());
    }
    let archive = fs::read(dir.join("a.tar")).unwrap();
    let world = World::new(&[]);
    let table = format!("tarball = '{}'\nsha256 = '{}'", dir.join("a.tar").display(), digest(&archive));
    let report = world.resolve(&table, true).unwrap_err().report();
    assert!(report.contains("failed to unpack") || report.contains("no `Kconfig`"), "{report}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!world.dir.path().join("up").exists() && !world.dir.path().join("data/up").exists());
    let plain = tar(dir, "b.tar", &["evil"]);
    let table = format!("tarball = '{}'\nsha256 = '{}'", dir.join("b.tar").display(), digest(&plain));
    world.refused(&table, true, &["holds no source of a kernel"]);
}
