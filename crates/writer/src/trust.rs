//! How AWS is spoken to: the SDK's configuration with one HTTPS client for all its clients, and whom that trusts.
//!
//! The SDK by itself reads every authority that the system trusts, some hundred and forty, when a client is made: most
//! of a small function's start. The endpoints of AWS need Amazon's own five, so those alone are read where nothing
//! says that another may answer.

use std::error::Error;
use std::path::PathBuf;
use std::{fs, io};

use aws_config::{ConfigLoader, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};
use aws_types::service_config::ServiceConfigKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

/// The authorities behind the endpoints of AWS (<https://www.amazontrust.com/repository/>).
const AMAZON: &str = include_str!("trust/amazon.pem");

/// Names a file of PEM certificates to trust instead of all others, in every SDK and the CLI of AWS (AWS SDKs and Tools
/// Reference Guide, `ca_bundle`). The SDK for Rust does not read it.
const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Where one certificate of a PEM file ends (RFC 7468).
const END: &str = "-----END CERTIFICATE-----";

/// Variables that name other authorities, for rustls-native-certs to read, or a proxy, which may have one of its own.
const OTHERS: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// The first parts of the names of the regions of the partition `aws`, as in the SDK's endpoint rules. Elsewhere other
/// authorities may issue: the European Sovereign Cloud has roots of its own.
const AREAS: [&str; 9] = ["af", "ap", "ca", "eu", "il", "me", "mx", "sa", "us"];

/// What to do where an endpoint's certificate comes from an authority that is not trusted.
pub const MISTRUSTED: &str = "no trusted authority issued the endpoint's certificate: of the endpoints of AWS only \
    Amazon's own roots are trusted, unless SSL_CERT_FILE or AWS_CA_BUNDLE names a PEM file with the authority of \
    whatever stands between, such as a proxy that inspects TLS";

/// `AWS_CA_BUNDLE` names nothing that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BadBundle {
    /// The file cannot be read.
    #[error("{AWS_CA_BUNDLE} names {0}, which cannot be read: {1}", .path.display(), .error)]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file was read.
    #[error("{AWS_CA_BUNDLE} names {0}, expected certificates in PEM form there, found none", .path.display())]
    Empty {
        /// As given.
        path: PathBuf,
    },
}

/// Reads what `loader` was not told, as credentials, region and endpoints, from where every AWS SDK does (`AWS_REGION`,
/// `AWS_ENDPOINT_URL_KINESIS`, a profile, …). All clients made from this configuration share their connections; none is
/// made yet. `var` gives the variables of the environment, for whom to trust.
///
/// # Errors
/// When the variable `AWS_CA_BUNDLE` names a file that is of no use.
pub async fn sdk_config(
    loader: ConfigLoader,
    var: impl Fn(&str) -> Option<String>,
) -> Result<SdkConfig, BadBundle> {
    let named = |name: &str| var(name).filter(|value| !value.is_empty());
    let others = others(named)?;
    // What asks for credentials has time limits of its own, and asks seldom.
    let for_credentials = {
        let others = others.clone();
        http_client_fn(move |settings, _| connector(settings.clone(), others.clone()))
    };
    let config = loader.http_client(for_credentials).load().await;
    Ok(connected(config, named, others))
}

/// Whom to trust where Amazon's own authorities do not suffice.
pub(crate) fn others(named: impl Fn(&str) -> Option<String>) -> Result<TrustStore, BadBundle> {
    match named(AWS_CA_BUNDLE) {
        Some(path) => bundle(path.into()),
        None => Ok(TrustStore::default()),
    }
}

/// The configuration with one connector for all clients, which trusts Amazon's authorities or these others.
pub(crate) fn connected(
    config: SdkConfig,
    named: impl Fn(&str) -> Option<String>,
    others: TrustStore,
) -> SdkConfig {
    let region = config.region().map(AsRef::as_ref);
    // Nothing published says whose certificates those endpoints have.
    let special = config.use_fips().unwrap_or_default() || config.use_dual_stack().unwrap_or_default();
    let roots = if !special && amazon_alone(named, region, &endpoints(&config)) {
        TrustStore::empty().with_pem_certificate(AMAZON)
    } else {
        others
    };
    let timeouts = config.timeout_config();
    let mut settings = HttpConnectorSettings::builder();
    settings.set_connect_timeout(timeouts.and_then(|timeouts| timeouts.connect_timeout()));
    settings.set_read_timeout(timeouts.and_then(|timeouts| timeouts.read_timeout()));
    let connector = connector(settings.build(), roots);
    config.into_builder().http_client(http_client_fn(move |_, _| connector.clone())).build()
}

/// Whether nobody but AWS can answer. It is enough that one thing speaks against it.
fn amazon_alone(named: impl Fn(&str) -> Option<String>, region: Option<&str>, endpoints: &[String]) -> bool {
    named(AWS_CA_BUNDLE).is_none()
        && OTHERS.iter().all(|name| named(name).is_none())
        // Without TLS nobody is asked for a certificate.
        && endpoints.iter().all(|url| url.starts_with("http://"))
        && region.is_some_and(|region| match *region.split('-').collect::<Vec<_>>() {
            [area, _, number] => AREAS.contains(&area) && number.parse::<u8>().is_ok(),
            _ => false,
        })
}

/// The endpoints that stand in place of AWS's own, from the environment or the profile.
fn endpoints(config: &SdkConfig) -> Vec<String> {
    let of_service = |id| {
        let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        config.service_config()?.load_config(key.build().ok()?)
    };
    let of_all = config.endpoint_url().map(Into::into);
    [of_all, of_service("Kinesis"), of_service("SQS")].into_iter().flatten().collect()
}

fn connector(settings: HttpConnectorSettings, roots: TrustStore) -> SharedHttpConnector {
    let mut builder: ConnectorBuilder<_> =
        Connector::builder().tls_provider(Provider::rustls(CryptoMode::Ring));
    if let Ok(context) = TlsContext::builder().with_trust_store(roots).build() {
        builder.set_tls_context(context);
    }
    let builder = builder.connector_settings(settings).proxy_config(ProxyConfig::from_env());
    SharedHttpConnector::new(builder.build())
}

/// The certificates of a file, one by one: what rustls cannot use would end the process when the client is made.
fn bundle(path: PathBuf) -> Result<TrustStore, BadBundle> {
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return Err(BadBundle::Unreadable { path, error }),
    };
    let usable: Vec<_> = text.split_inclusive(END).filter(|pem| is_usable(pem)).collect();
    if usable.is_empty() {
        return Err(BadBundle::Empty { path });
    }
    Ok(usable.into_iter().fold(TrustStore::empty(), TrustStore::with_pem_certificate))
}

fn is_usable(pem: &str) -> bool {
    CertificateDer::from_pem_slice(pem.as_bytes()).is_ok_and(|der| RootCertStore::empty().add(der).is_ok())
}

/// Whether a connection was not made because nobody who is trusted issued the other side's certificate. What to do
/// about it says [`MISTRUSTED`].
pub fn is_mistrusted(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| cause(*error)).any(|error| {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        error.downcast_ref() == Some(&unknown)
    })
}

/// What is under an error. Of an I/O error that is the error it was made of, which its own `source` skips.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests;
