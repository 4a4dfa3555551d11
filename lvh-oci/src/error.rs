use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A cause of another library.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// Why something failed. `Display` is one line without the cause and without [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that names no image, platform or kernel.
    #[error("`{text}` is no {what}: expected {expected}")]
    Malformed {
        /// What was asked for.
        what: &'static str,
        /// The text.
        text: String,
        /// How it should look.
        expected: String,
    },
    /// The registry wants other credentials, or none that we have (401, 403).
    #[error("the registry denied access to `{what}` ({looked})")]
    Unauthorised {
        /// The image.
        what: String,
        /// Which credentials were used, or where there were none.
        looked: String,
        /// What the registry said.
        #[source]
        source: Option<Cause>,
    },
    /// The registry, layout or image has no such thing.
    #[error("{what} was not found{known}")]
    NotFound {
        /// The image, blob or directory, in backticks, and where it was looked for.
        what: String,
        /// What there is instead; empty, or begins with ` (`.
        known: String,
    },
    /// The image is there, but not for this platform.
    #[error("`{what}` has nothing for {wanted} (it has: {available})")]
    NoPlatform {
        /// The image.
        what: String,
        /// The platform.
        wanted: String,
        /// The platforms that it has.
        available: String,
    },
    /// The registry limits how much it serves us (429).
    #[error("the registry refused `{what}`: too many requests{}", .retry_after.map(|t| format!("; try again in {t:?}")).unwrap_or_default())]
    TooManyRequests {
        /// What was asked for.
        what: String,
        /// How long it wants us to wait.
        retry_after: Option<Duration>,
    },
    /// No connection: unknown name, nobody listens, no trusted certificate.
    #[error("failed to connect to the registry of `{what}`")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The registry did not answer, or stopped in mid-answer.
    #[error("timed out: the registry sent nothing of `{what}` for {after:?}")]
    Timeout {
        /// What was asked for.
        what: String,
        /// How long we waited.
        after: Duration,
    },
    /// The registry answered with an error of its own.
    #[error("the registry failed to serve `{what}`: {words}")]
    Registry {
        /// What was asked for.
        what: String,
        /// Status and words of the registry.
        words: String,
    },
    /// Bytes that are not those that their digest promises.
    #[error("`{what}` has the digest sha256:{actual}: it was altered on its way or in the registry")]
    WrongDigest {
        /// The digest that was asked for, or the reference.
        what: String,
        /// What the bytes have.
        actual: String,
    },
    /// More bytes than the descriptor says, or than a limit allows.
    #[error("{what} is too large: more than {limit} bytes")]
    TooLarge {
        /// The blob, or what was being unpacked.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes ended too early.
    #[error("`{what}` was cut off after {got} of {expected} bytes")]
    Truncated {
        /// The blob.
        what: String,
        /// What came.
        got: u64,
        /// What should have come.
        expected: u64,
    },
    /// The disk is full, or the quota is used up.
    #[error("no space left on the disk of `{}`", .path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A manifest or layer of a kind that we do not read.
    #[error("`{what}` has the media type `{media_type}`, which lvh does not read")]
    UnsupportedMediaType {
        /// The image or blob.
        what: String,
        /// Its type.
        media_type: String,
    },
    /// A manifest, layout or archive that contradicts itself or the specification.
    #[error("`{what}` is not valid: {why}")]
    Invalid {
        /// The image, blob or file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A member of a layer that tries to leave its directory, or is of a kind that no kernel or image needs.
    #[error("refused `{entry}` of a layer: {why}")]
    Refused {
        /// The member.
        entry: String,
        /// Why.
        why: String,
    },
    /// A file of credentials, or a credential helper.
    #[error("failed to get credentials from `{from}`: {why}")]
    Credentials {
        /// The file or program.
        from: String,
        /// Why.
        why: String,
    },
    /// The TLS or HTTP client could not be set up.
    #[error("failed to set up the HTTP client")]
    Setup(#[source] Cause),
    /// The operating system refused something.
    #[error("failed to {verb} `{}`", .path.display())]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Its words and those of all its causes, in one line.
    pub fn words(&self) -> String {
        chain(self)
    }

    /// The one line that says how to mend it, where we know.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unauthorised { .. } => {
                "log in with `docker login` or `podman login`; a name that does not exist is refused in the same words"
                    .to_owned()
            }
            Self::TooManyRequests { .. } => "wait, or log in: registries give known users more".to_owned(),
            Self::Unreachable { source, .. } => unreachable_hint(&chain(source.as_ref()))?.to_owned(),
            Self::Timeout { .. } | Self::Truncated { .. } => {
                "run it again: what came so far is kept, and the download goes on from there".to_owned()
            }
            Self::WrongDigest { .. } => "if it happens again, the registry or a proxy in between is broken".to_owned(),
            Self::DiskFull { path, .. } => format!("make room on the disk of `{}`, then run it again", path.display()),
            Self::Setup(_) => "apt install ca-certificates, or name the certificates in SSL_CERT_FILE".to_owned(),
            _ => return None,
        })
    }

    /// An error of the operating system; a full disk is an error of its own.
    pub(crate) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { verb, path, source },
        }
    }

    pub(crate) fn invalid(what: impl ToString, why: impl ToString) -> Self {
        Self::Invalid { what: what.to_string(), why: why.to_string() }
    }

    pub(crate) fn not_found_in(what: impl Display, place: impl Display, known: String) -> Self {
        Self::NotFound { what: format!("`{what}` in `{place}`"), known }
    }

    pub(crate) fn not_found(what: impl Display) -> Self {
        Self::NotFound { what: format!("`{what}`"), known: String::new() }
    }
}

fn unreachable_hint(words: &str) -> Option<&'static str> {
    let is = |text: &str| words.contains(text);
    if is("UnknownIssuer") || is("certificate") {
        Some("name the certificate of the registry's authority in SSL_CERT_FILE, or as an extra CA")
    } else if is("InvalidContentType") || is("corrupt message") {
        Some("the registry speaks plain HTTP: name it in LVH_OCI_PLAIN_HTTP")
    } else if is("dns error") || is("lookup") {
        Some("is the name right, and is there a network? Behind a proxy set HTTPS_PROXY")
    } else {
        None
    }
}

/// The words of an error and of all its causes.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
