use std::error::Error as StdError;

use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};

use crate::auth::TokenError;
use crate::error::chain;
use crate::{Error, Options};

/// What went wrong, and what can be done about it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: Error,
    pub(super) next: Next,
}

#[derive(Debug)]
pub(super) enum Next {
    GiveUp,
    /// A new token may help.
    Authenticate,
    Retry,
    /// The answer to this URL may say when to come back.
    AskWhen(String),
}

/// What an error has to name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) what: &'a str,
    pub(super) looked: &'a str,
    pub(super) options: &'a Options,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { error, next: Next::GiveUp }
    }
}

impl Asked<'_> {
    pub(super) fn fault(self, error: OciDistributionError) -> Fault {
        match error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                self.refused(Some(error.into()))
            }
            OciDistributionError::RegistryError { envelope, url } => self.of_envelope(envelope, url),
            OciDistributionError::ServerError { code, url, message } => self.of_status(code, &url, &message),
            OciDistributionError::RequestError(error) => self.of_request(error),
            OciDistributionError::IoError(error) => self.of_stream(error),
            OciDistributionError::DigestError(error) => Fault { error: self.altered(&error), next: Next::Retry },
            error => self.failed(chain(&error), Next::GiveUp),
        }
    }

    /// An error in the middle of a blob.
    pub(super) fn of_stream(self, error: std::io::Error) -> Fault {
        let words = chain(&error);
        match error.into_inner().map(<dyn StdError + Send + Sync>::downcast::<reqwest::Error>) {
            Some(Ok(error)) => self.of_request(*error),
            _ => self.failed(words, Next::Retry),
        }
    }

    pub(super) fn of_request(self, mut error: reqwest::Error) -> Fault {
        if let Some(status) = error.status() {
            let url = error.url().map(ToString::to_string).unwrap_or_default();
            return self.of_status(status.as_u16(), &url, status.canonical_reason().unwrap_or_default());
        }
        if let Some(url) = error.url_mut() {
            // Storage behind a registry is asked with a signature, which is as good as a password while it lasts.
            url.set_query(None);
        }
        let words = chain(&error);
        if error.is_connect() {
            // A certificate does not get better by asking again.
            let lasting =
                ["ertificate", "InvalidContentType", "corrupt message"].iter().any(|text| words.contains(text));
            let next = if lasting { Next::GiveUp } else { Next::Retry };
            return Fault { error: Error::Unreachable { what: self.what.to_owned(), source: error.into() }, next };
        }
        if error.is_timeout() {
            let error = Error::Timeout { what: self.what.to_owned(), after: self.options.read_timeout };
            return Fault { error, next: Next::Retry };
        }
        self.failed(words, Next::Retry)
    }

    pub(super) fn of_token(self, error: TokenError) -> Fault {
        match error {
            TokenError::Request(error) => self.of_request(error),
            TokenError::Status { url, status: status @ (429 | 500..), words } => self.of_status(status, &url, &words),
            error => Fault { next: Next::GiveUp, ..self.refused(Some(error.into())) },
        }
    }

    pub(super) fn of_status(self, status: u16, url: &str, words: &str) -> Fault {
        let words = plain(words.trim());
        match status {
            401 | 403 => self.refused(Some(format!("HTTP {status} {words}").into())),
            404 => self.missing(),
            429 => self.limited(url.to_owned()),
            503 => self.failed(format!("HTTP 503 {words}"), Next::AskWhen(url.to_owned())),
            408 | 500.. => self.failed(format!("HTTP {status} {words}"), Next::Retry),
            _ => self.failed(format!("HTTP {status} {words}"), Next::GiveUp),
        }
    }

    fn of_envelope(self, envelope: OciEnvelope, url: String) -> Fault {
        use OciErrorCode as Code;
        let words: Vec<_> = envelope.errors.iter().map(|error| plain(&error.message)).collect();
        match envelope.errors.first().map(|error| &error.code) {
            Some(Code::Unauthorized | Code::Denied) => self.refused(Some(words.join("; ").into())),
            Some(
                Code::BlobUnknown
                | Code::ManifestBlobUnknown
                | Code::ManifestUnknown
                | Code::NameUnknown
                | Code::NotFound,
            ) => self.missing(),
            Some(Code::Toomanyrequests) => self.limited(url),
            _ => self.failed(words.join("; "), Next::GiveUp),
        }
    }

    fn refused(self, source: Option<Box<dyn StdError + Send + Sync>>) -> Fault {
        let error = Error::Unauthorised { what: self.what.to_owned(), looked: self.looked.to_owned(), source };
        Fault { error, next: Next::Authenticate }
    }

    fn missing(self) -> Fault {
        Error::not_found(self.what).into()
    }

    fn limited(self, url: String) -> Fault {
        let error = Error::TooManyRequests { what: self.what.to_owned(), retry_after: None };
        Fault { error, next: Next::AskWhen(url) }
    }

    fn altered(self, error: &oci_client::errors::DigestError) -> Error {
        match error {
            oci_client::errors::DigestError::VerificationError { actual, .. } => {
                let actual = actual.trim_start_matches("sha256:").to_owned();
                Error::WrongDigest { what: self.what.to_owned(), actual }
            }
            error => Error::invalid(self.what, error),
        }
    }

    fn failed(self, words: String, next: Next) -> Fault {
        Fault { error: Error::Registry { what: self.what.to_owned(), words }, next }
    }
}

/// A registry's words, without what a terminal would obey.
fn plain(words: &str) -> String {
    words.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}
