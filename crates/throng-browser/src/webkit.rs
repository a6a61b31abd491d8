//! WebKitGTK by W3C WebDriver. Its driver knows one session at a time, so that each tab has a driver of its own, used again after
//! it; a session is a browser process with a profile that nobody else sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::display::{self, Display};
use crate::error::BrowserError;
use crate::find::Installed;
use crate::process::{Keeper, Process, Program};
use crate::tab::Cookie;
use crate::watch::{LoadFailure, Watch};
use crate::{Options, TabOptions, Trust, authority};

/// How often a driver is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Webkit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    installed: Installed,
    timeout: Duration,
    anything: bool,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    /// The program and arguments that a driver is started by; empty where it is started by itself.
    wrapper: Vec<String>,
    keeper: Mutex<Option<Keeper>>,
    display: Mutex<Option<Display>>,
    /// Drivers without a session.
    idle: Mutex<Vec<Driver>>,
}

/// A driver, ready for a session.
#[derive(Debug)]
struct Driver {
    process: Process,
    port: u16,
}

impl Webkit {
    pub(crate) async fn launch(
        installed: &Installed,
        options: &Options,
    ) -> Result<Self, BrowserError> {
        let mut keeper = Keeper::start(&options.temporary)?;
        let directory = keeper.directory().to_owned();
        let wrapper = match &options.trust {
            Trust::And(files) => {
                match authority::wrapper(files, &directory, &options.search).await {
                    Ok(wrapper) => wrapper,
                    Err(error) => {
                        keeper.finish().await;
                        return Err(error);
                    }
                }
            }
            Trust::Usual | Trust::Anything => Vec::new(),
        };
        let mut environment = Vec::new();
        let mut display = None;
        // Who didn't ask to see it doesn't want a window to come up for each user.
        if !options.headed {
            match display::start(&mut keeper, &options.search, options.timeout).await {
                Ok(started) => {
                    environment.clone_from(&started.environment);
                    display = Some(started);
                }
                Err(error) => {
                    keeper.finish().await;
                    return Err(error);
                }
            }
        }
        environment.push(("LIBGL_ALWAYS_SOFTWARE".to_owned(), "1".to_owned()));
        let shared = Shared {
            installed: installed.clone(),
            timeout: options.timeout,
            anything: options.trust == Trust::Anything,
            directory,
            environment,
            wrapper,
            keeper: Mutex::new(Some(keeper)),
            display: Mutex::new(display),
            idle: Mutex::default(),
        };
        let webkit = Self {
            shared: Arc::new(shared),
        };
        // Now, so that what is wrong with it is known before the first user.
        match webkit.shared.driver().await {
            Ok(driver) => webkit.shared.idle.lock().await.push(driver),
            Err(error) => {
                webkit.close().await;
                return Err(error);
            }
        }
        Ok(webkit)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Drivers are started where they are missing.
    pub(crate) fn is_alive(&self) -> bool {
        true
    }

    pub(crate) async fn tab(&self, wanted: &TabOptions) -> Result<Tab, BrowserError> {
        if wanted.intercept.is_some() {
            return Err(BrowserError::Unable(
                "webkit can't keep requests from being sent, which a redirect URI that is not on this machine takes: take another browser".to_owned(),
            ));
        }
        let idle = self.shared.idle.lock().await.pop();
        let driver = match idle {
            Some(driver) => driver,
            None => self.shared.driver().await?,
        };
        match self.shared.session(&driver).await {
            Ok(session) => Ok(Tab {
                shared: self.shared.clone(),
                driver: Some(driver),
                session,
                watch: Arc::new(Watch::new()),
            }),
            Err(error) => {
                self.shared.end(driver).await;
                Err(error)
            }
        }
    }

    pub(crate) async fn close(self) {
        let drivers = std::mem::take(&mut *self.shared.idle.lock().await);
        for driver in drivers {
            self.shared.end(driver).await;
        }
        let Some(mut keeper) = self.shared.keeper.lock().await.take() else {
            return;
        };
        if let Some(display) = self.shared.display.lock().await.take() {
            keeper.end(display.process, Duration::ZERO).await;
        }
        keeper.finish().await;
    }
}

impl Shared {
    /// Starts a driver on a free port.
    async fn driver(&self) -> Result<Driver, BrowserError> {
        let port = free_port()
            .await
            .map_err(|error| BrowserError::start(&self.installed.program, &error))?;
        let own = vec![format!("--port={port}"), "--host=127.0.0.1".to_owned()];
        let mut program = match self.wrapper.split_first() {
            Some((wrapper, arguments)) => {
                let mut program = Program::new(Path::new(wrapper));
                program.arguments = arguments.to_vec();
                let driver = self.installed.program.display().to_string();
                program.arguments.push(driver);
                program
            }
            None => Program::new(&self.installed.program),
        };
        program.arguments.extend(own);
        program.environment.clone_from(&self.environment);
        let process = {
            let mut keeper = self.keeper.lock().await;
            let keeper = keeper
                .as_mut()
                .ok_or_else(|| gone(&self.installed.program))?;
            keeper.spawn(&program).await?
        };
        let mut driver = Driver { process, port };
        let ready = async {
            loop {
                match call(port, "GET", "/status", None).await {
                    Ok(status) if status["ready"] == true => return,
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        let limit = self.timeout;
        let outcome = tokio::select! {
            () = ready => Ok(()),
            error = driver.process.ended_soon_if_it_ends() => Err(error),
            () = tokio::time::sleep(limit) => Err(BrowserError::NotReady {
                program: self.installed.program.clone(),
                waited: limit,
                said: driver.process.words.said(),
            }),
        };
        match outcome {
            Ok(()) => Ok(driver),
            Err(error) => {
                self.end(driver).await;
                Err(error)
            }
        }
    }

    async fn session(&self, driver: &Driver) -> Result<String, BrowserError> {
        let browser = self
            .installed
            .mini_browser
            .as_deref()
            .unwrap_or(Path::new("MiniBrowser"));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "MiniBrowser",
            "acceptInsecureCerts": self.anything,
            "pageLoadStrategy": "none",
            "unhandledPromptBehavior": "accept",
            "timeouts": { "script": 30_000, "pageLoad": 60_000 },
            "webkitgtk:browserOptions": { "binary": browser, "args": ["--automation"] },
        } } });
        let begun = timed(
            self.timeout,
            "New Session",
            call(driver.port, "POST", "/session", Some(&wanted)),
        );
        let begun = begun.await.map_err(|error| match error {
            BrowserError::Refused { command, reason } => BrowserError::Refused {
                command,
                reason: format!("{reason}; its last words: {}", driver.process.words.said()),
            },
            error => error,
        })?;
        match begun["sessionId"].as_str() {
            Some(session) => Ok(session.to_owned()),
            None => Err(BrowserError::Refused {
                command: "New Session".to_owned(),
                reason: "its answer has no session".to_owned(),
            }),
        }
    }

    async fn end(&self, driver: Driver) {
        if let Some(keeper) = self.keeper.lock().await.as_mut() {
            keeper.end(driver.process, Duration::ZERO).await;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tab {
    shared: Arc<Shared>,
    /// There until it is closed.
    driver: Option<Driver>,
    session: String,
    watch: Arc<Watch>,
}

impl Tab {
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    async fn call(
        &self,
        name: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, BrowserError> {
        let Some(driver) = &self.driver else {
            return Err(gone(&self.shared.installed.program));
        };
        let path = format!("/session/{}{path}", self.session);
        timed(
            self.shared.timeout,
            name,
            call(driver.port, method, &path, body.as_ref()),
        )
        .await
    }

    pub(crate) async fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.watch.seen("GET", url, None, None);
        let opened = self
            .call("Navigate To", "POST", "/url", Some(json!({ "url": url })))
            .await;
        match opened {
            Ok(_) => Ok(()),
            // What went wrong with the page, not with the command.
            Err(BrowserError::Refused { reason, .. }) => {
                self.watch.fail(LoadFailure::of(&reason));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Result<String, BrowserError> {
        let script = format!(
            "const done = arguments[arguments.length - 1]; ({expression}).then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"
        );
        let body = json!({ "script": script, "args": [] });
        let answer = self
            .call("Execute Async Script", "POST", "/execute/async", Some(body))
            .await?;
        if let Some(words) = answer["error"].as_str() {
            return Err(BrowserError::Script(words.to_owned()));
        }
        Ok(answer["value"].as_str().unwrap_or("null").to_owned())
    }

    pub(crate) async fn picture(&self) -> Result<String, BrowserError> {
        let picture = self
            .call("Take Screenshot", "GET", "/screenshot", None)
            .await?;
        Ok(picture.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        let found = self.call("Get All Cookies", "GET", "/cookie", None).await?;
        let cookies = found.as_array().into_iter().flatten();
        Ok(cookies.filter_map(Cookie::read).collect())
    }

    pub(crate) async fn close(mut self) -> Result<(), BrowserError> {
        let ended = self.call("Delete Session", "DELETE", "", None).await;
        if let Some(driver) = self.driver.take() {
            match &ended {
                Ok(_) => self.shared.idle.lock().await.push(driver),
                Err(_) => self.shared.end(driver).await,
            }
        }
        ended.map(|_| ())
    }
}

fn gone(program: &Path) -> BrowserError {
    BrowserError::Ended {
        program: program.to_owned(),
        said: String::new(),
    }
}

async fn timed<T>(
    limit: Duration,
    command: &str,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, BrowserError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(BrowserError::Refused {
            command: command.to_owned(),
            reason,
        }),
        Err(_) => Err(BrowserError::Silent {
            command: command.to_owned(),
            waited: limit,
        }),
    }
}

/// One request to a driver, on a connection of its own; the `value` of its answer.
async fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| words(&error))?;
    stream.set_nodelay(true).map_err(|error| words(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| words(&error))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("content-type", "application/json; charset=utf-8")
        .header("content-length", body.len())
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| words(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| words(&error))?;
        let collected = response
            .into_body()
            .collect()
            .await
            .map_err(|error| words(&error))?;
        Ok(collected.to_bytes())
    };
    let driven = async {
        // Ends when the driver closes the connection; the exchange says what that means.
        let _closed = connection.await;
        std::future::pending::<()>().await;
    };
    let bytes = tokio::select! {
        bytes = exchange => bytes,
        () = driven => Err("the connection ended".to_owned()),
    }?;
    let answer: Value =
        serde_json::from_slice(&bytes).map_err(|_| "an answer that is no JSON".to_owned())?;
    let value = answer["value"].clone();
    match value["error"].as_str() {
        Some(error) if value.get("message").is_some() => Err(format!(
            "{error}: {}",
            value["message"].as_str().unwrap_or_default()
        )),
        _ => Ok(value),
    }
}

/// A port that was free a moment ago: the driver takes no other way to be told one.
async fn free_port() -> std::io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")
        .await?
        .local_addr()
        .map(|address| address.port())
}
