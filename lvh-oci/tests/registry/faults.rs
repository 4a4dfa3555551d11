use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lvh_oci::{Error, Options};
use tokio::net::TcpSocket;

use crate::support::*;

const BLOB: &str = "GET /v2/k/blobs/";
const SIZE: usize = 3 << 20;

/// A registry with one kernel, `k:1`, and a proxy in front of it.
async fn broken() -> (Registry, Proxy, tempfile::TempDir) {
    let registry = Registry::start(&Flavour::Open);
    publish(&registry.name("k:1"), SIZE, &quick()).await;
    let proxy = Proxy::start(&registry.address());
    (registry, proxy, tempfile::tempdir().unwrap())
}

/// The kernel comes whole, whatever is in its way.
async fn comes(proxy: &Proxy, dir: &Path) {
    let image = pull_from(&proxy.name("k:1"), dir, &quick()).await.unwrap_or_else(|error| panic!("{}", report(&error)));
    let into = dir.join("kernel");
    image.unpack("data/kernels/6.12", &into, Default::default()).await.unwrap();
    assert_eq!(fs::read(into.join("boot/vmlinuz-6.12.9")).unwrap(), noise(SIZE, SIZE as u64));
}

/// The pull ends in an error; nothing stands under a final name but blobs that are what their names say.
async fn fails(proxy: &Proxy, dir: &Path, options: &Options) -> Error {
    let error = pull_from(&proxy.name("k:1"), dir, options).await.unwrap_err();
    for name in entries(&dir.join("blobs/sha256")) {
        let digest = lvh_oci::Digest::of_file(&dir.join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(digest.hex(), name);
    }
    assert!(error.hint().is_none_or(|hint| !hint.is_empty()));
    error
}

fn left(dir: &Path) -> u64 {
    entries(&dir.join("partial")).iter().map(|name| fs::metadata(dir.join("partial").join(name)).unwrap().len()).sum()
}

#[tokio::test]
async fn a_cut_connection_is_gone_on_with_where_it_was_cut() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on("GET /v2/k/blobs/", 1, Fault::None).on(BLOB, 1, Fault::Cut(1_000_000)).on(BLOB, 1, Fault::Cut(500_000));
    comes(&proxy, dir.path()).await;
    let ranges = proxy.requests("range: bytes=");
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[0].contains("bytes=1000000-") && ranges[1].contains("bytes=1500000-"), "{ranges:?}");
}

#[tokio::test]
async fn an_ended_pull_is_gone_on_with_by_the_next() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 1, Fault::Cut(2_000_000));
    let error = fails(&proxy, dir.path(), &Options { attempts: 1, ..quick() }).await;
    assert!(matches!(error, Error::Registry { .. }), "{error:?}");
    assert_eq!(left(dir.path()), 2_000_000);
    comes(&proxy, dir.path()).await;
    assert!(proxy.requests("range: bytes=2000000-").len() == 1);
}

#[tokio::test]
async fn a_registry_that_knows_no_ranges_starts_anew() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 1, Fault::Cut(1_000_000)).on(BLOB, 1, Fault::WithoutRange);
    comes(&proxy, dir.path()).await;
}

#[tokio::test]
async fn bad_bytes_of_an_earlier_run_are_thrown_away() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 1, Fault::Cut(1_000_000));
    fails(&proxy, dir.path(), &Options { attempts: 1, ..quick() }).await;
    let partial = dir.path().join("partial").join(&entries(&dir.path().join("partial"))[0]);
    let mut bytes = fs::read(&partial).unwrap();
    bytes[5000] ^= 1;
    fs::write(&partial, bytes).unwrap();
    comes(&proxy, dir.path()).await;
}

#[tokio::test]
async fn altered_bytes_are_asked_for_once_more_and_then_an_error() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 2, Fault::Alter(70_000));
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
    assert_eq!((left(dir.path()), proxy.requests(BLOB).len()), (0, 3));

    proxy.on(BLOB, 1, Fault::Alter(70_000));
    comes(&proxy, dir.path()).await;
}

#[tokio::test]
async fn an_altered_manifest_is_refused() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on("GET /v2/k/manifests/1", 9, Fault::Alter(40));
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_registry_says_does_nothing_to_the_terminal() {
    let (_registry, proxy, dir) = broken().await;
    let envelope =
        "HTTP/1.1 400 Bad Request\r\n\r\n{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"\\u001b[2Jno\"}]}";
    for (answer, expected) in [
        (envelope, "\u{fffd}[2Jno"),
        ("HTTP/1.1 501 Not Implemented\r\n\r\n\u{1b}[2Jno\r\nnot", "HTTP 501 \u{fffd}[2Jno\u{fffd}\nnot"),
    ] {
        proxy.on("GET /v2/k/manifests/1", 1, Fault::Answer(answer));
        let error = fails(&proxy, dir.path(), &Options { attempts: 1, ..quick() }).await.to_string();
        assert!(error.ends_with(expected), "{error:?}");
    }
}

#[tokio::test]
async fn a_manifest_without_an_end_is_given_up() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on("GET /v2/k/manifests/1", 9, Fault::Longer(9 << 20));
    let error = fails(&proxy, dir.path(), &quick()).await.to_string();
    assert!(error.ends_with("an answer of more than 8388608 bytes"), "{error}");
    assert_eq!(proxy.requests("GET /v2/k/manifests/").len(), 1);
}

#[tokio::test]
async fn a_body_that_is_too_short_is_truncated_and_one_too_long_too_large() {
    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 9, Fault::Short(1000));
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::Truncated { got: 4000, .. }), "{error:?}");

    let (_registry, proxy, dir) = broken().await;
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 9, Fault::Longer(100));
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!((left(dir.path()), proxy.requests(BLOB).len()), (0, 2), "nothing is kept, and it is not tried again");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let (_registry, proxy, dir) = broken().await;
    let busy = Fault::Answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
    proxy.on("GET /v2/ ", 1, busy.clone()).on("GET /v2/k/manifests/", 2, busy.clone()).on(BLOB, 2, busy.clone());
    comes(&proxy, dir.path()).await;

    let dir = tempfile::tempdir().unwrap();
    proxy.on("GET /v2/k/manifests/", 9, busy);
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(error.to_string().ends_with("HTTP 503 busy"), "{error}");
    assert_eq!(proxy.requests("GET /v2/k/manifests/").len(), 3 + 4);
}

#[tokio::test]
async fn retry_after_is_obeyed_unless_it_is_too_long() {
    let limited = |seconds: &'static str| Fault::Answer(seconds);
    let (_registry, proxy, dir) = broken().await;
    let soon = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    // The second answer is to the question when to come back.
    proxy.on("GET /v2/k/manifests/", 1, limited(soon)).on("HEAD /v2/k/manifests/", 1, limited(soon));
    let start = Instant::now();
    comes(&proxy, dir.path()).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());

    let dir = tempfile::tempdir().unwrap();
    let late = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    proxy.on("GET /v2/k/manifests/", 1, limited(late)).on("HEAD /v2/k/manifests/", 1, limited(late));
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(error.to_string().ends_with("too many requests; try again in 3600s"), "{error}");
}

#[tokio::test]
async fn the_signature_of_a_redirect_is_no_ones_to_read() {
    let (_registry, proxy, dir) = broken().await;
    let on =
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/k/blobs/elsewhere?sig=secret\r\nContent-Length: 0\r\n\r\n";
    proxy.on(BLOB, 100, Fault::Answer(on));
    let error = report(&fails(&proxy, dir.path(), &quick()).await);
    assert!(error.contains("/v2/k/blobs/elsewhere") && error.contains("redirect"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_slow_registry_is_waited_for_and_a_silent_one_is_not() {
    let (_registry, proxy, dir) = broken().await;
    let options = Options { read_timeout: Duration::from_secs(5), attempts: 2, ..quick() };
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 1, Fault::Slow(Duration::from_millis(120)));
    let start = Instant::now();
    pull_from(&proxy.name("k:1"), dir.path(), &options).await.unwrap();
    assert!(start.elapsed() > options.read_timeout, "longer than it may be silent");

    let dir = tempfile::tempdir().unwrap();
    proxy.on(BLOB, 1, Fault::None).on(BLOB, 9, Fault::Stall(1000));
    let error = fails(&proxy, dir.path(), &options).await;
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(error.to_string().ends_with("for 5s"), "{error}");
    assert_eq!(left(dir.path()), 2000, "what came of two tries is kept");
}

#[tokio::test]
async fn a_blob_that_the_registry_lost_or_keeps_to_itself_is_told() {
    let (registry, proxy, dir) = broken().await;
    let answer = |proxy: &Proxy, words: &'static str| {
        proxy.on(BLOB, 1, Fault::None).on(BLOB, 2, Fault::Answer(words));
    };
    answer(&proxy, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    comes(&Proxy::start(&registry.address()), dir.path()).await;

    let (proxy, dir) = (Proxy::start(&registry.address()), tempfile::tempdir().unwrap());
    answer(&proxy, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let error = fails(&proxy, dir.path(), &quick()).await;
    assert!(matches!(error, Error::Unauthorised { .. }), "{error:?}");
    assert_eq!(left(dir.path()), 0);
}

#[tokio::test]
async fn nobody_listens() {
    // It has a port, so that nobody else gets that, and never listens.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}/k:1", silent.local_addr().unwrap());
    let error = pull_from(&name, dir.path(), &quick()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(report(&error).contains("onnection refused"), "{}", report(&error));
}

#[tokio::test]
async fn a_blob_larger_than_allowed_is_not_begun() {
    let (_registry, proxy, dir) = broken().await;
    let error = fails(&proxy, dir.path(), &Options { largest_blob: 1_000_000, ..quick() }).await;
    assert!(matches!(error, Error::TooLarge { limit: 1_000_000, .. }), "{error:?}");
    assert_eq!(proxy.requests(BLOB).len(), 1, "the configuration alone");
}

#[tokio::test]
async fn an_upload_that_is_cut_is_tried_again() {
    let registry = Registry::start(&Flavour::Open);
    let proxy = Proxy::start(&registry.address());
    let busy = Fault::Answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    proxy.on("POST /v2/k/blobs/uploads/", 1, busy.clone()).on("PUT /v2/k/manifests/", 1, busy);
    publish(&proxy.name("k:1"), SIZE, &quick()).await;
    comes(&proxy, tempfile::tempdir().unwrap().path()).await;
}
