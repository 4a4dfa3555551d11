use std::fs;
use std::path::Path;

use lvh_oci::{Credentials, Error, Options};

use crate::support::*;

fn with_password(password: &str) -> Options {
    let credentials = Credentials::Basic { user: "u".to_owned(), password: password.to_owned() };
    Options { credentials: Some(credentials), ..quick() }
}

/// A registry with a password and one kernel, `k:1`.
async fn locked() -> (Registry, tempfile::TempDir) {
    let registry = Registry::start(&Flavour::Password);
    publish(&registry.name("team/k:1"), 1000, &with_password("secret")).await;
    (registry, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_does_not() {
    let (registry, dir) = locked().await;
    pull_from(&registry.name("team/k:1"), dir.path(), &with_password("secret")).await.unwrap();
    let error = pull_from(&registry.name("team/k:1"), dir.path(), &with_password("wrong")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorised { .. }), "{error:?}");
    assert!(error.to_string().contains("as `u`, with the credentials that were given"), "{error}");
    assert!(!report(&error).contains("wrong"), "{}", report(&error));
}

#[tokio::test]
async fn no_credentials_say_where_they_were_looked_for() {
    let (registry, dir) = locked().await;
    let verdict = Process::pull(&registry.name("team/k:1"), dir.path()).verdict(dir.path());
    let files = format!("`{0}/config.json`, `{0}/.config/containers/auth.json`", dir.path().display());
    assert!(
        verdict.contains("denied access") && verdict.contains(&files) && verdict.contains("docker login"),
        "{verdict}"
    );
}

#[tokio::test]
async fn dockers_file_is_read() {
    let (registry, dir) = locked().await;
    for (auth, opens) in [("dTpzZWNyZXQ=", true), ("dTp3cm9uZw==", false)] {
        let config = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address());
        fs::write(dir.path().join("config.json"), config).unwrap();
        let verdict = Process::pull(&registry.name("team/k:1"), dir.path()).verdict(dir.path());
        assert_eq!(verdict.starts_with("ok "), opens, "{verdict}");
        assert!(
            opens
                || verdict.contains(&format!("as `u`, with the credentials of `{}/config.json`", dir.path().display()))
        );
    }
}

#[tokio::test]
async fn podmans_file_may_have_credentials_for_one_repository() {
    let (registry, dir) = locked().await;
    let file = dir.path().join("auth.json");
    let (host, good, bad) = (registry.address(), "dTpzZWNyZXQ=", "dTp3cm9uZw==");
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"{bad}"}},"{host}/team":{{"auth":"{good}"}}}}}}"#);
    fs::write(&file, config).unwrap();
    let verdict =
        Process::pull(&registry.name("team/k:1"), dir.path()).env("REGISTRY_AUTH_FILE", &file).verdict(dir.path());
    assert!(verdict.starts_with("ok "), "{verdict}");
}

/// Puts a credential helper called `test` into `dir/bin`, named by `dir/config.json`; returns what it does to PATH.
fn helper(dir: &Path, script: &str) -> String {
    let program = dir.join("bin/docker-credential-test");
    write_script(&program, &format!("#!/bin/sh\nread -r server\n{script}\n"));
    fs::write(dir.join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn a_credential_helper_is_asked() {
    let (registry, dir) = locked().await;
    let host = registry.address();
    for (script, words) in [
        (format!(r#"[ "$1 $server" = "get {host}" ] && echo '{{"Username":"u","Secret":"secret"}}'"#), "ok "),
        ("echo 'credentials not found in native keychain'; exit 1".to_owned(), "there are no credentials"),
        (
            "echo 'the keychain is locked'; exit 1".to_owned(),
            "`docker-credential-test`: exit status: 1: the keychain is locked",
        ),
        ("echo nonsense".to_owned(), "its answer is not as agreed"),
    ] {
        let path = helper(dir.path(), &script);
        let verdict = Process::pull(&registry.name("team/k:1"), dir.path()).env("PATH", path).verdict(dir.path());
        assert!(verdict.contains(words), "{script}: {verdict}");
    }
    let path = helper(dir.path(), "sleep 100 & sleep 100");
    let hangs = Process::pull(&registry.name("team/k:1"), dir.path()).env("PATH", path).env(HELPER_SECONDS, "3");
    let verdict = hangs.verdict(dir.path());
    assert!(verdict.contains("it did not answer within 3s"), "{verdict}");
    fs::remove_file(dir.path().join("bin/docker-credential-test")).unwrap();
    let verdict = Process::pull(&registry.name("team/k:1"), dir.path()).verdict(dir.path());
    assert!(verdict.contains("`docker-credential-test`: failed to start it"), "{verdict}");
}

#[tokio::test]
async fn a_certificate_must_be_trusted() {
    let registry = Registry::start(&Flavour::Tls);
    let dir = tempfile::tempdir().unwrap();
    let name = registry.name("k:1");
    publish(&name, 1000, &trusted(&registry)).await;
    pull_from(&name, dir.path(), &trusted(&registry)).await.unwrap();

    let error = pull_from(&name, dir.path(), &Options { plain_loopback: false, ..quick() }).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(report(&error).contains("SSL_CERT_FILE"), "{}", report(&error));

    let by_env =
        Process::pull(&name, dir.path()).env("LVH_OCI_TEST_TLS", "1").env("SSL_CERT_FILE", registry.certificate());
    let verdict = by_env.verdict(dir.path());
    assert!(verdict.starts_with("ok "), "{verdict}");
}

#[tokio::test]
async fn tls_to_a_plain_registry_says_so() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    let error =
        pull_from(&registry.name("k:1"), dir.path(), &Options { plain_loopback: false, ..quick() }).await.unwrap_err();
    assert!(report(&error).contains("LVH_OCI_PLAIN_HTTP"), "{}", report(&error));
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    let registry = Registry::start(&Flavour::Open);
    let proxy = Proxy::start(&registry.address());
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 1000, &quick()).await;
    // Nobody but the proxy knows this name.
    let pull = || {
        let process =
            Process::pull("registry.invalid:5000/k:1", dir.path()).env("LVH_OCI_PLAIN_HTTP", "registry.invalid:5000");
        process.env("HTTP_PROXY", format!("http://{}", proxy.address()))
    };
    let verdict = pull().verdict(dir.path());
    assert!(verdict.starts_with("ok "), "{verdict}");
    assert!(!proxy.requests("GET http://registry.invalid:5000/v2/k/manifests/1").is_empty());

    let verdict = pull().env("NO_PROXY", "registry.invalid").verdict(dir.path());
    assert!(verdict.contains("failed to connect to the registry of `registry.invalid:5000/k:1`"), "{verdict}");
}

#[tokio::test]
async fn tokens_are_got_with_a_password_or_an_identity_token() {
    let server = TokenServer::start(600);
    let registry = Registry::start(&server.flavour());
    let name = registry.name("team/k:1");
    publish(&name, 1000, &with_password("secret")).await;
    let dir = tempfile::tempdir().unwrap();
    pull_from(&name, dir.path(), &with_password("secret")).await.unwrap();
    let identity = |token: &str| Options { credentials: Some(Credentials::IdentityToken(token.to_owned())), ..quick() };
    pull_from(&name, tempfile::tempdir().unwrap().path(), &identity("identity")).await.unwrap();

    for (options, words) in [
        (with_password("wrong"), "as `u`"),
        (identity("wrong"), "with a token"),
        (Options { credentials: Some(Credentials::Anonymous), ..quick() }, "bad credentials"),
    ] {
        let error = pull_from(&name, dir.path(), &options).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorised { .. }) && report(&error).contains(words), "{}", report(&error));
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_got_anew() {
    // Registries grant a minute's grace, so this one has expired when it is given.
    let server = TokenServer::start(-120);
    let registry = Registry::start(&server.flavour());
    let error = pull_from(&registry.name("k:1"), tempfile::tempdir().unwrap().path(), &with_password("secret"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorised { .. }), "{error:?}");
    assert!(server.requests() >= 2, "{} tokens", server.requests());
}
