use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use super::Credentials;

/// How a registry wants to be shown credentials, by its answer to `GET /v2/`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Not at all.
    Open,
    /// User and password with each request.
    Basic,
    /// A token, which `realm` gives out.
    Bearer { realm: String, service: Option<String> },
}

/// What is sent with each request.
#[derive(Clone)]
pub(crate) enum Token {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

/// Why no token was got.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    /// The status of the token server's answer, and its words.
    #[error("`{url}` answered {status}: {words}")]
    Status { url: String, status: u16, words: String },
    #[error("the registry wants credentials to go to `{0}` in the clear")]
    InTheClear(String),
    #[error("the registry's token server `{0}` is no URL")]
    Realm(String),
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Asks the registry at `base` (`https://HOST`) how it wants to be shown credentials.
pub(crate) async fn challenge(http: &Client, base: &str) -> Result<Challenge, TokenError> {
    let answer = http.get(format!("{base}/v2/")).send().await?;
    match answer.status().as_u16() {
        401 => {
            let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            let mut challenges: Vec<_> = headers.filter_map(|value| parse(value.to_str().ok()?)).collect();
            // Of several, a token server comes before a password with each request.
            challenges.sort_by_key(|challenge| *challenge == Challenge::Basic);
            Ok(challenges.into_iter().next().unwrap_or(Challenge::Open))
        }
        429 | 500.. => Err(status_error(answer).await),
        _ => Ok(Challenge::Open),
    }
}

/// Gets what the challenge wants, for `pull` or `pull,push` in `repository`.
pub(crate) async fn token(
    http: &Client,
    challenge: &Challenge,
    credentials: &Credentials,
    (repository, actions): (&str, &str),
) -> Result<Token, TokenError> {
    match (challenge, credentials) {
        (_, Credentials::Bearer(token)) => Ok(Token::Bearer(token.clone())),
        (Challenge::Basic, Credentials::Basic { user, password }) => {
            Ok(Token::Basic { user: user.clone(), password: password.clone() })
        }
        (Challenge::Open | Challenge::Basic, _) => Ok(Token::None),
        (Challenge::Bearer { realm, service }, _) => {
            let scope = format!("repository:{repository}:{actions}");
            fetch(http, realm, service.as_deref(), &scope, credentials).await
        }
    }
}

async fn fetch(
    http: &Client,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    credentials: &Credentials,
) -> Result<Token, TokenError> {
    let mut url = Url::parse(realm).map_err(|_not_a_url| TokenError::Realm(realm.to_owned()))?;
    let mut fields = vec![("scope", scope)];
    fields.extend(service.map(|service| ("service", service)));
    let request = match credentials {
        // https://distribution.github.io/distribution/spec/auth/oauth/
        Credentials::IdentityToken(token) => {
            fields.extend([("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "lvh")]);
            http.post(url).form(&fields)
        }
        Credentials::Basic { user, password } => {
            url.query_pairs_mut().extend_pairs(fields);
            http.get(url).basic_auth(user, Some(password))
        }
        Credentials::Anonymous | Credentials::Bearer(_) => {
            url.query_pairs_mut().extend_pairs(fields);
            http.get(url)
        }
    };
    let answer = request.send().await?;
    if !answer.status().is_success() {
        return Err(status_error(answer).await);
    }
    let answer: Answer = answer.json().await?;
    Ok(answer.token.or(answer.access_token).map_or(Token::None, Token::Bearer))
}

impl Challenge {
    /// Refuses a token server that would get credentials in the clear, where the registry itself would not.
    pub(crate) fn check(&self, credentials: &Credentials, plain: bool) -> Result<(), TokenError> {
        match self {
            Self::Bearer { realm, .. }
                if !plain && !realm.starts_with("https://") && *credentials != Credentials::Anonymous =>
            {
                Err(TokenError::InTheClear(realm.clone()))
            }
            _ => Ok(()),
        }
    }
}

async fn status_error(answer: Response) -> TokenError {
    let (url, status) = (answer.url().to_string(), answer.status().as_u16());
    let words = answer.text().await.unwrap_or_default();
    TokenError::Status { url, status, words: words.trim().chars().take(300).collect() }
}

/// Reads `Bearer realm="…",service="…"` or `Basic …`; none for schemes that we do not know.
fn parse(header: &str) -> Option<Challenge> {
    let (scheme, parameters) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let value = |name: &str| {
        let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    (scheme.eq_ignore_ascii_case("bearer")).then_some(())?;
    Some(Challenge::Bearer { realm: value("realm")?, service: value("service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |service: Option<&str>| Challenge::Bearer {
            realm: "https://r/t".to_owned(),
            service: service.map(str::to_owned),
        };
        for (header, expected) in [
            (r#"Bearer realm="https://r/t",service="s",scope="x""#, Some(bearer(Some("s")))),
            (r#"bearer realm="https://r/t""#, Some(bearer(None))),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate", None),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn credentials_do_not_go_out_in_the_clear() {
        let challenge = Challenge::Bearer { realm: "http://r/t".to_owned(), service: None };
        let basic = Credentials::Basic { user: "u".to_owned(), password: "p".to_owned() };
        assert!(challenge.check(&basic, false).is_err());
        assert!(challenge.check(&basic, true).is_ok());
        assert!(challenge.check(&Credentials::Anonymous, false).is_ok());
    }
}
