//! What listens at the redirect URI while browsers log in (RFC 8252 section 7.3): one listener for all users, told apart by
//! `state`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use url::{Host, Url};

use crate::login::callback::{self, Response};

/// Longest head and body taken, in bytes; a code and a state take a few hundred.
const MOST_BYTES: u64 = 64 * 1024;
/// How long a browser may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Connections served at once; browsers open some that they don't use.
const CONNECTIONS: usize = 64;

const PAGE: &str = "<!DOCTYPE html><html lang=\"en\"><title>throng</title><p>The login has come back to throng.</p></html>";

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Response>>>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    waiting: Waiting,
    port: u16,
    _tasks: JoinSet<()>,
}

/// A response that is waited for. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) arrives: oneshot::Receiver<Response>,
    state: String,
    waiting: Waiting,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting
            .lock()
            .expect("no panic while locked")
            .remove(&self.state);
    }
}

/// Whether such a redirect URI can be listened at: plain HTTP on this machine itself.
pub(super) fn is_loopback(uri: &Url) -> bool {
    uri.scheme() == "http" && !addresses(uri).is_empty()
}

fn addresses(uri: &Url) -> Vec<IpAddr> {
    match uri.host() {
        Some(Host::Ipv4(ip)) if ip.is_loopback() => vec![ip.into()],
        Some(Host::Ipv6(ip)) if ip.is_loopback() => vec![ip.into()],
        // A browser may take either.
        Some(Host::Domain("localhost")) => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => Vec::new(),
    }
}

impl Listener {
    /// Listens where the redirect URI leads; port 0 is any that is free.
    pub(super) async fn bind(uri: &Url, port: u16) -> io::Result<Self> {
        let waiting = Waiting::default();
        let mut tasks = JoinSet::new();
        let mut bound = None;
        for ip in addresses(uri) {
            let listener = match TcpListener::bind((ip, bound.unwrap_or(port))).await {
                Ok(listener) => listener,
                // A machine without IPv6 resolves `localhost` to none.
                Err(error) if bound.is_some() => {
                    tracing::debug!(%error, %ip, "not listened at");
                    continue;
                }
                Err(error) => return Err(error),
            };
            bound = Some(listener.local_addr()?.port());
            tasks.spawn(serve(listener, uri.clone(), waiting.clone()));
        }
        let port = bound.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self {
            waiting,
            port,
            _tasks: tasks,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the response with this state.
    pub(super) fn expect(&self, state: &str) -> Expected {
        let (arrived, arrives) = oneshot::channel();
        let mut waiting = self.waiting.lock().expect("no panic while locked");
        waiting.insert(state.to_owned(), arrived);
        Expected {
            arrives,
            state: state.to_owned(),
            waiting: self.waiting.clone(),
        }
    }
}

async fn serve(listener: TcpListener, uri: Url, waiting: Waiting) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (uri, waiting) = (uri.clone(), waiting.clone());
                connections.spawn(async move {
                    let answered =
                        tokio::time::timeout(REQUEST_LIMIT, answer(stream, &uri, &waiting)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "a connection to the redirect URI");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "listening at the redirect URI");
                // Out of descriptors, most likely: that passes.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, uri: &Url, waiting: &Waiting) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MOST_BYTES));
    let mut first = String::new();
    reader.read_line(&mut first).await?;
    let mut length: u64 = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader
        .take(length.min(MOST_BYTES))
        .read_to_end(&mut body)
        .await?;
    let target = first.split(' ').nth(1).and_then(|path| uri.join(path).ok());
    let back = target.filter(|target| target.path() == uri.path());
    let status = match &back {
        Some(target) => {
            deliver(
                waiting,
                callback::parameters(target, &String::from_utf8_lossy(&body)),
            );
            "200 OK"
        }
        None => "404 Not Found",
    };
    let page = if back.is_some() { PAGE } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    writer.write_all(head.as_bytes()).await?;
    writer.shutdown().await
}

fn deliver(waiting: &Waiting, response: Response) {
    let state = response.iter().find(|(name, _)| name == "state");
    let waiter =
        state.and_then(|(_, state)| waiting.lock().expect("no panic while locked").remove(state));
    if let Some(waiter) = waiter {
        // Who has given up needs it no more.
        let _ = waiter.send(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn send(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_response_goes_to_who_waits_for_its_state() {
        let uri = Url::parse("http://127.0.0.1:1/callback").unwrap();
        let listener = Listener::bind(&uri, 0).await.unwrap();
        let (mut one, mut other) = (listener.expect("s1"), listener.expect("s2"));
        let port = listener.port();
        let missing = send(port, "GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
        send(port, "GET /callback?code=c0&state=unknown HTTP/1.1\r\n\r\n").await;
        let answer = send(
            port,
            "GET /callback?code=c2&state=s2 HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && !answer.contains("c2"),
            "{answer}"
        );
        let form = "code=c1&state=s1&iss=i";
        send(
            port,
            &format!(
                "POST /callback HTTP/1.1\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            ),
        )
        .await;
        let code = |response: Response| {
            response
                .into_iter()
                .find(|(name, _)| name == "code")
                .unwrap()
                .1
        };
        assert_eq!(code((&mut one.arrives).await.unwrap()), "c1");
        assert_eq!(code((&mut other.arrives).await.unwrap()), "c2");
        drop(one);
        assert_eq!(listener.waiting.lock().unwrap().len(), 0);
    }

    #[test]
    fn only_plain_addresses_of_this_machine_are_listened_at() {
        let listens = |uri: &str| is_loopback(&Url::parse(uri).unwrap());
        assert!(
            listens("http://127.0.0.1:8765/x")
                && listens("http://localhost:1/")
                && listens("http://[::1]:2/")
        );
        assert!(
            !listens("https://127.0.0.1/x")
                && !listens("http://app.example/cb")
                && !listens("app:/cb")
        );
    }
}
