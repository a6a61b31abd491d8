//! Servers that do exactly what a test says.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A server that gives each connection to a script.
pub(crate) struct Script {
    pub(crate) url: String,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Every request as received, by all connections.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Script {
    /// `serve` gets each connection with its number, from 0.
    pub(crate) async fn start<F, R>(serve: F) -> Self
    where
        F: Fn(usize, Peer) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counted, logged) = (connections.clone(), requests.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("nodelay");
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let requests = logged.clone();
                served.spawn(serve(number, Peer { stream, requests }));
            }
        });
        Self {
            url,
            connections,
            requests,
            _tasks: tasks,
        }
    }

    /// Answers every request on every connection with the same bytes.
    pub(crate) async fn repeat(response: &'static str) -> Self {
        Self::start(move |_, mut peer| async move {
            while peer.request().await.is_some() {
                peer.send(response).await;
            }
        })
        .await
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().expect("the log").clone()
    }
}

/// One connection of a client.
pub(crate) struct Peer {
    stream: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// The next request, head and body; `None` if the client has closed.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:"))
                    .map_or(0, |value| value.trim().parse::<usize>().expect("a length"));
                if bytes.len() >= end + 4 + length {
                    let text = String::from_utf8(bytes).expect("text");
                    self.requests.lock().expect("the log").push(text.clone());
                    return Some(text);
                }
            }
            // A reset is how a client closes that still had something to read.
            match self.stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        // The client may have closed: what it makes of that is what the tests look at.
        let _ = self.stream.write_all(bytes.as_bytes()).await;
    }

    /// Waits until something has come, and leaves it unread.
    pub(crate) async fn some(&mut self) {
        self.stream.readable().await.expect("a client");
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("a lingering time");
    }

    /// Waits until the client closes.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
