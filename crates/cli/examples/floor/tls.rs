//! TLS in front of the stream, with an authority of its own: what a first request in AWS goes through.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Passes on to `plain`; the endpoint, and a file with the certificate to trust, which goes with its value.
pub(crate) async fn serve(plain: SocketAddr) -> Result<(String, NamedTempFile)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), made.cert.pem()).with_context(|| file.path().display().to_string())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let endpoint = format!("https://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true).ok()?;
                let mut outer = acceptor.accept(socket).await.ok()?;
                let mut inner = TcpStream::connect(plain).await.ok()?;
                inner.set_nodelay(true).ok()?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok()
            });
        }
    });
    Ok((endpoint, file))
}
