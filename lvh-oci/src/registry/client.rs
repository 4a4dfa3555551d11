use std::fs;
use std::sync::Once;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};

use crate::{Error, Options, Result};

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// The client for `host`, and one of our own for what oci-client cannot do; both of the same settings.
///
/// Proxies come from the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`): reqwest reads it.
pub(super) fn build(host: &str, options: &Options) -> Result<(oci_client::Client, reqwest::Client)> {
    // Without a provider rustls panics; a program that has installed one keeps it.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));

    let certificates = certificates(options)?;
    let mut own = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout);
    let roots = certificates.iter().map(|certificate| reqwest::Certificate::from_pem(&certificate.data));
    own = own.tls_certs_merge(roots.collect::<reqwest::Result<Vec<_>>>().map_err(|e| Error::Setup(e.into()))?);
    let own = own.build().map_err(|e| Error::Setup(e.into()))?;
    let oci = oci_client::Client::try_from(config(host, options, certificates)).map_err(|e| Error::Setup(e.into()))?;
    Ok((oci, own))
}

const USER_AGENT: &str = concat!("lvh/", env!("CARGO_PKG_VERSION"));

fn config(host: &str, options: &Options, extra_root_certificates: Vec<Certificate>) -> ClientConfig {
    ClientConfig {
        protocol: if options.is_plain(host) { ClientProtocol::Http } else { ClientProtocol::Https },
        // One PUT a blob: every registry takes that, several refuse chunks.
        use_monolithic_push: true,
        extra_root_certificates,
        platform_resolver: None,
        read_timeout: Some(options.read_timeout),
        connect_timeout: Some(options.connect_timeout),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    }
}

/// Each certificate of the extra files; the client takes them one by one.
fn certificates(options: &Options) -> Result<Vec<Certificate>> {
    let mut all = Vec::new();
    for path in &options.ca_files {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let blocks: Vec<_> =
            text.split_inclusive(PEM_END).filter_map(|part| part.find(PEM_BEGIN).map(|at| &part[at..])).collect();
        if blocks.is_empty() {
            return Err(Error::invalid(path.display(), "it holds no certificate in PEM"));
        }
        all.extend(
            blocks.iter().map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.as_bytes().to_vec() }),
        );
    }
    Ok(all)
}
