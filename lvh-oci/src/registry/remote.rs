use std::sync::Mutex;
use std::time::Duration;

use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use oci_client::{Client, RegistryOperation};
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};

use super::client;
use super::fault::{Asked, Fault, Next};
use super::pace::Pace;
use crate::auth::{Found, Places, Token, TokenError, challenge, token};
use crate::manifest::{LARGEST_DOCUMENT, MEDIA_TYPES};
use crate::{Credentials, Digest, Error, Options, Reference, Result};

/// What the token must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Pull,
    Push,
}

/// One repository of a registry, with a token for it.
pub(crate) struct Remote {
    pub(super) reference: Reference,
    pub(super) options: Options,
    operation: Operation,
    pub(super) oci: Client,
    http: reqwest::Client,
    base: String,
    found: Found,
    looked: String,
    token: Mutex<Token>,
}

impl Remote {
    /// Finds the credentials for the registry and exchanges them for a token.
    pub(crate) async fn connect(reference: &Reference, options: &Options, operation: Operation) -> Result<Self> {
        let found = Places::of_environment().find(reference, options).await?;
        let host = reference.host();
        let (oci, http) = client::build(host, options)?;
        let scheme = if options.is_plain(host) { "http" } else { "https" };
        let remote = Self {
            base: format!("{scheme}://{host}"),
            reference: reference.clone(),
            options: options.clone(),
            operation,
            looked: found.to_string(),
            found,
            oci,
            http,
            token: Mutex::new(Token::None),
        };
        remote.authenticate().await?;
        Ok(remote)
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The bytes of the manifest or index that `reference` names.
    ///
    /// By ourselves: oci-client takes a manifest of any size.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>> {
        let what = reference.to_string();
        let digest = reference.digest().map(String::from);
        let name = digest.as_deref().or(reference.tag()).unwrap_or("latest");
        let url = format!("{}/v2/{}/manifests/{name}", self.base, reference.repository());
        let get = || async {
            let answer = self.authorised(self.http.get(&url)).header(ACCEPT, MEDIA_TYPES.join(", ")).send().await?;
            let said = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
            let said: Option<Digest> = said.and_then(|value| value.parse().ok());
            let bytes = success(answer, &url).await?;
            match said {
                Some(expected) if expected != Digest::of(&bytes) => {
                    let (expected, actual) = (expected.to_string(), Digest::of(&bytes).to_string());
                    Err(DigestError::VerificationError { expected, actual }.into())
                }
                _ => Ok(bytes),
            }
        };
        let bytes = self.retry(&what, get).await?;
        match (reference.digest(), Digest::of(&bytes)) {
            (Some(expected), actual) if expected != actual => {
                Err(Error::WrongDigest { what, actual: actual.hex().to_owned() })
            }
            _ => Ok(bytes),
        }
    }

    /// Gets `url` of the registry as JSON, and the value of its `Link` header.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>)> {
        let what = self.reference.to_string();
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        if !url.starts_with(&format!("{}/", self.base)) {
            return Err(Error::invalid(what, format!("its list goes on at `{url}`, which is another server")));
        }
        let get = || async {
            let answer = self.authorised(self.http.get(&url)).send().await?;
            let link = answer.headers().get("link").and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok((serde_json::from_slice(&success(answer, &url).await?)?, link))
        };
        self.retry(&what, get).await
    }

    /// Uploads a manifest or index under the name `reference`.
    ///
    /// By ourselves: oci-client panics where a registry answers to a digest without a `Location`.
    pub(crate) async fn put_manifest(&self, reference: &Reference, bytes: &[u8], media_type: &str) -> Result<()> {
        let digest = reference.digest().map(String::from);
        let name = digest.as_deref().or(reference.tag()).unwrap_or("latest");
        let url = format!("{}/v2/{}/manifests/{name}", self.base, reference.repository());
        let put = || async {
            let request = self.http.put(&url).header(CONTENT_TYPE, media_type).body(bytes.to_vec());
            success(self.authorised(request).send().await?, &url).await.map(drop)
        };
        self.retry(&reference.to_string(), put).await
    }

    /// Tries until it works, fails for good, or was tried often enough.
    pub(super) async fn retry<T>(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> std::result::Result<T, OciDistributionError>,
    ) -> Result<T> {
        let mut pace = Pace::new(&self.options);
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => self.recover(self.asked(what).fault(error), &mut pace).await?,
            }
        }
    }

    /// Does what may help after `fault`; its error where nothing does.
    pub(super) async fn recover(&self, fault: Fault, pace: &mut Pace<'_>) -> Result<()> {
        match fault.next {
            Next::Authenticate if pace.may_authenticate() => self.authenticate().await,
            _ => self.wait(fault, pace).await,
        }
    }

    /// Waits where that may help after `fault`.
    async fn wait(&self, fault: Fault, pace: &mut Pace<'_>) -> Result<()> {
        match fault.next {
            Next::Retry => pace.pause(fault.error, None).await,
            Next::AskWhen(url) => pace.pause(fault.error, self.retry_after(&url).await).await,
            Next::Authenticate | Next::GiveUp => Err(fault.error),
        }
    }

    /// oci-client hides the headers of a refusal, so they are asked for again.
    async fn retry_after(&self, url: &str) -> Option<Duration> {
        let answer = self.authorised(self.http.head(url)).send().await.ok()?;
        let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    async fn authenticate(&self) -> Result<()> {
        let what = self.reference.to_string();
        let mut pace = Pace::new(&self.options);
        let token = loop {
            match self.fetch_token().await {
                Ok(token) => break token,
                Err(error) => self.wait(self.asked(&what).of_token(error), &mut pace).await?,
            }
        };
        self.keep(token).await;
        Ok(())
    }

    async fn fetch_token(&self) -> std::result::Result<Token, TokenError> {
        let plain = self.base.starts_with("http://");
        let challenge = challenge(&self.http, &self.base).await?;
        challenge.check(&self.found.credentials, plain)?;
        let actions = match self.operation {
            Operation::Pull => "pull",
            Operation::Push => "pull,push",
        };
        token(&self.http, &challenge, &self.found.credentials, (self.reference.repository(), actions)).await
    }

    async fn keep(&self, token: Token) {
        let cached = match token.clone() {
            Token::None => None,
            Token::Basic { user, password } => Some(RegistryTokenType::Basic(user, password)),
            Token::Bearer(token) => Some(RegistryTokenType::Bearer(RegistryToken::Token { token })),
        };
        if let Some(cached) = cached {
            // A token to push with is one to pull with, too.
            let push = (self.operation == Operation::Push).then_some(RegistryOperation::Push);
            for operation in push.into_iter().chain([RegistryOperation::Pull]) {
                self.oci.tokens.insert(self.reference.oci(), operation, cached.clone()).await;
            }
        }
        // oci-client uses no token before it knows credentials; with these it renews one that has expired.
        self.oci.store_auth_if_needed(self.reference.host(), &self.registry_auth()).await;
        *self.token.lock().expect("nothing panics with it") = token;
    }

    fn registry_auth(&self) -> RegistryAuth {
        match &self.found.credentials {
            Credentials::Basic { user, password } => RegistryAuth::Basic(user.clone(), password.clone()),
            Credentials::Bearer(token) => RegistryAuth::Bearer(token.clone()),
            // It cannot exchange one: when the token has expired it is refused, and we get another.
            Credentials::Anonymous | Credentials::IdentityToken(_) => RegistryAuth::Anonymous,
        }
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &*self.token.lock().expect("nothing panics with it") {
            Token::None => request,
            Token::Basic { user, password } => request.basic_auth(user, Some(password)),
            Token::Bearer(token) => request.bearer_auth(token),
        }
    }

    pub(super) fn asked<'a>(&'a self, what: &'a str) -> Asked<'a> {
        Asked { what, looked: &self.looked, options: &self.options }
    }
}

/// What the answer from `url` holds, unless it is a refusal or too long.
async fn success(mut answer: reqwest::Response, url: &str) -> std::result::Result<Vec<u8>, OciDistributionError> {
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            let message = format!("an answer of more than {LARGEST_DOCUMENT} bytes");
            return Err(OciDistributionError::SpecViolationError(message));
        }
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let url = url.to_owned();
    Err(match serde_json::from_slice(&bytes) {
        Ok(envelope) if status.is_client_error() => OciDistributionError::RegistryError { envelope, url },
        _ => {
            let (code, message) = (status.as_u16(), String::from_utf8_lossy(&bytes).into_owned());
            OciDistributionError::ServerError { code, url, message }
        }
    })
}
