//! What stands in front of a provider: an address of its own, by TLS if wanted, that hands on bytes once it is told where to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A certificate authority that nobody knows.
pub(super) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "An authority of this test alone");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { params, key, pem }
    }

    /// Two authorities in one file, this one last: what reads the first alone is not enough.
    pub(super) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("authorities.pem");
        let both = format!("# Authorities\n{}\n{}", Self::new().pem, self.pem);
        std::fs::write(&path, both).expect("a file");
        path
    }

    fn acceptor(&self) -> TlsAcceptor {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let issued = params.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![issued.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Listens until it is dropped.
pub(super) struct Front {
    pub(super) origin: String,
    behind: watch::Sender<Option<SocketAddr>>,
    _tasks: JoinSet<()>,
}

impl Front {
    /// Its connections get nowhere before it is opened.
    pub(super) async fn start(authority: Option<&Authority>) -> Self {
        let acceptor = authority.map(Authority::acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let (behind, told) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => hand_on(stream, told).await,
                        // Who doesn't believe the certificate goes away.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                hand_on(stream, told).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            origin: format!("{scheme}://127.0.0.1:{port}"),
            behind,
            _tasks: tasks,
        }
    }

    /// From now on it leads to this origin.
    pub(super) fn open(&self, origin: &str) {
        let address = origin.strip_prefix("http://").expect("a plain origin");
        let address = address.parse().expect("an address");
        self.behind.send_replace(Some(address));
    }
}

async fn hand_on(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut told: watch::Receiver<Option<SocketAddr>>,
) {
    let address = match told.wait_for(Option::is_some).await {
        Ok(address) => address.expect("it was waited for"),
        Err(_) => return,
    };
    let mut far = TcpStream::connect(address).await.expect("the provider");
    // Ends when either side goes away, as browsers do without a word.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
