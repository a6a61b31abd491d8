//! What a [`Connector`](crate::Connector) trusts, as a rustls configuration.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::connector::{ConnectorError, HttpVersion};

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The certificate authorities of the operating system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    #[default]
    Native,
    /// The authorities of the operating system and those in these PEM files.
    NativeAnd(Vec<PathBuf>),
    /// Only the authorities in these PEM files.
    Only(Vec<PathBuf>),
    /// Anybody: the certificate is not verified. For test systems with self-signed certificates.
    Anything,
}

/// Reads the PEM files of `trust` now, so that a wrong path is an error before the run starts.
pub(crate) fn read_authorities(
    trust: &Trust,
) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
    let (Trust::NativeAnd(files) | Trust::Only(files)) = trust else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for path in files {
        let unreadable = |reason: String| ConnectorError::Authority {
            path: path.clone(),
            reason,
        };
        let before = found.len();
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?
        {
            found.push(certificate.map_err(|error| unreadable(error.to_string()))?);
        }
        if found.len() == before {
            return Err(unreadable("the file holds no PEM certificate".to_owned()));
        }
    }
    Ok(found)
}

/// Builds the configuration. Reading the system's authorities takes some 10 ms, so this runs at the first TLS connection.
///
/// Session resumption is off: identities share this configuration, and a ticket that one user got must not make another
/// user's handshake cheaper than it would be in life.
pub(crate) fn configure(
    trust: &Trust,
    extra: &[CertificateDer<'static>],
    version: HttpVersion,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match trust {
        Trust::Anything => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnything { provider }))
            .with_no_client_auth(),
        Trust::Native | Trust::NativeAnd(_) | Trust::Only(_) => builder
            .with_root_certificates(roots(trust, extra)?)
            .with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match version {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// Whether a handshake failed because of the certificate that the server showed.
pub(crate) fn is_untrusted(error: &std::io::Error) -> bool {
    let source = error.get_ref();
    let source = source.and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(source, Some(rustls::Error::InvalidCertificate(_)))
}

fn roots(trust: &Trust, extra: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in extra {
        roots
            .add(certificate.clone())
            .map_err(|error| error.to_string())?;
    }
    if matches!(trust, Trust::Native | Trust::NativeAnd(_)) {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!(%error, "a certificate authority of the system could not be read");
        }
        roots.add_parsable_certificates(native.certs);
    }
    if roots.is_empty() {
        return Err("no certificate authority is trusted: the system offers none".to_owned());
    }
    Ok(roots)
}

/// Accepts every certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AcceptAnything {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
