//! Chromium by the Chrome DevTools Protocol, over two pipes: no port that somebody else could connect to, and a browser that
//! ends when its pipe does. A browser context per tab keeps users apart in one process tree.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::error::BrowserError;
use crate::find::Installed;
use crate::link::{Incoming, Link, text};
use crate::process::{Keeper, Process, Program};
use crate::running::{Running, or_closed};
use crate::tab::Cookie;
use crate::watch::{LoadFailure, Watch};
use crate::{Options, TabOptions, Trust, authority};

/// Most of these leave out what a browser does for itself in the background; the rest keeps background tabs as quick as others.
const ARGUMENTS: &[&str] = &[
    "--remote-debugging-pipe",
    "--no-startup-window",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--no-pings",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-popup-blocking",
    "--disable-prompt-on-repost",
    "--disable-quic",
    "--disable-renderer-backgrounding",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--lang=en",
    "--accept-lang=en",
    "--window-size=1280,900",
];

/// What is switched off of what a build would have on.
const FEATURES_OFF: &str = "--disable-features=AutofillServerCommunication,CalculateNativeWinOcclusion,\
CertificateTransparencyComponentUpdater,DialMediaRouteProvider,GlobalMediaControls,HttpsUpgrades,\
InterestFeedContentSuggestions,MediaRouter,OptimizationHints,PaintHolding,SpareRendererForSitePerProcess,\
Translate,WebAuthenticationConditionalUI";

/// How long it may take to end by itself.
const END_PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Chromium {
    running: Running,
    anything: bool,
}

impl Chromium {
    pub(crate) async fn launch(
        installed: &Installed,
        options: &Options,
    ) -> Result<Self, BrowserError> {
        let mut keeper = Keeper::start(&options.temporary)?;
        let directory = keeper.directory().to_owned();
        if let Trust::And(files) = &options.trust {
            let database = directory.join("home/.pki/nssdb");
            let entered = authority::enter(files, &database, &options.search, "chromium").await;
            if let Err(error) = entered {
                keeper.finish().await;
                return Err(error);
            }
        }
        let mut program = Program::new(&installed.program);
        program.pipes = true;
        program.arguments = ARGUMENTS
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        program.arguments.push(FEATURES_OFF.to_owned());
        let profile = directory.join("profile");
        program
            .arguments
            .push(format!("--user-data-dir={}", profile.display()));
        if !options.headed {
            let unseen = [
                "--headless=new",
                "--disable-gpu",
                "--hide-scrollbars",
                // No page of a login needs them to be passed.
                "--blink-settings=imagesEnabled=false",
                "--disable-remote-fonts",
            ];
            program.arguments.extend(unseen.map(str::to_owned));
        }
        if crate::is_root() {
            program.arguments.push("--no-sandbox".to_owned());
        }
        let mut process = keeper.spawn(&program).await?;
        let connected = connect(&mut process, options).await;
        Ok(Self {
            running: Running::new(keeper, process, connected, options.timeout).await?,
            anything: options.trust == Trust::Anything,
        })
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) async fn tab(&self, wanted: &TabOptions) -> Result<Tab, BrowserError> {
        let Running { link, timeout, .. } = &self.running;
        let unshared = json!({ "disposeOnDetach": true });
        let context = link
            .call(None, "Target.createBrowserContext", unshared, *timeout)
            .await?;
        let mut tab = Tab {
            link: link.clone(),
            timeout: *timeout,
            context: text(&context, "browserContextId"),
            session: String::new(),
            watch: Arc::new(Watch::new()),
        };
        let prepared = tab.prepare(wanted, self.anything).await;
        or_closed(tab, prepared, Tab::close).await
    }

    pub(crate) async fn close(self) {
        self.running.close("Browser.close", END_PATIENCE).await;
    }
}

/// Talks to it over its pipes.
async fn connect(
    process: &mut Process,
    options: &Options,
) -> Result<(Link, JoinSet<()>), BrowserError> {
    let (link, mut outgoing) = Link::new();
    let mut tasks = JoinSet::new();
    let pipes = process.stdin.take().zip(process.stdout.take());
    let Some((mut stdin, stdout)) = pipes else {
        return Err(process.ended());
    };
    tasks.spawn(async move {
        while let Some(message) = outgoing.recv().await {
            // Messages end with a zero byte.
            let mut bytes = message.into_bytes();
            bytes.push(0);
            if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
                return;
            }
        }
    });
    let reader = Arc::new(Mutex::new(BufReader::with_capacity(1 << 16, stdout)));
    link.read_all(&mut tasks, move || -> Incoming {
        let reader = reader.clone();
        Box::pin(async move {
            let mut message = Vec::new();
            let read = reader.lock().await.read_until(0, &mut message).await;
            if read.is_err() || message.pop() != Some(0) {
                return None;
            }
            String::from_utf8(message).ok()
        })
    });
    let answered = link
        .call(None, "Browser.getVersion", json!({}), options.timeout)
        .await;
    match answered {
        Ok(version) => {
            tracing::debug!(version = %version["product"], "chromium is up");
            Ok((link, tasks))
        }
        Err(BrowserError::Silent { waited, .. }) => Err(BrowserError::NotReady {
            program: process.program.clone(),
            waited,
            said: process.words.said(),
        }),
        Err(_) => Err(process.ended_soon().await),
    }
}

#[derive(Debug)]
pub(crate) struct Tab {
    link: Link,
    timeout: Duration,
    context: String,
    session: String,
    watch: Arc<Watch>,
}

impl Tab {
    async fn prepare(&mut self, wanted: &TabOptions, anything: bool) -> Result<(), BrowserError> {
        let link = self.link.clone();
        let limit = self.timeout;
        let target = json!({ "url": "about:blank", "browserContextId": self.context });
        let target = link
            .call(None, "Target.createTarget", target, limit)
            .await?;
        let target = text(&target, "targetId");
        let attach = json!({ "targetId": target, "flatten": true });
        let session = link
            .call(None, "Target.attachToTarget", attach, limit)
            .await?;
        self.session = text(&session, "sessionId");
        let watch = self.watch.clone();
        let session = self.session.clone();
        self.link.route(
            &self.session,
            Arc::new(move |link, method, params| {
                event(&watch, link, (&session, &target), method, params);
            }),
        );
        self.call("Page.enable", json!({})).await?;
        self.call(
            "Network.enable",
            json!({ "maxTotalBufferSize": 0, "maxResourceBufferSize": 0 }),
        )
        .await?;
        // Several tabs type at the same time, and only one window can have the focus.
        self.call(
            "Emulation.setFocusEmulationEnabled",
            json!({ "enabled": true }),
        )
        .await?;
        if anything {
            self.call(
                "Security.setIgnoreCertificateErrors",
                json!({ "ignore": true }),
            )
            .await?;
        }
        if let Some(address) = &wanted.intercept {
            // In patterns `*` and `?` stand for anything.
            let escaped = address
                .replace('\\', "\\\\")
                .replace('*', "\\*")
                .replace('?', "\\?");
            let pattern = json!({ "patterns": [{ "urlPattern": format!("{escaped}*"), "requestStage": "Request" }] });
            self.call("Fetch.enable", pattern).await?;
        }
        Ok(())
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, BrowserError> {
        if self.watch.has_crashed() {
            return Err(BrowserError::Crashed);
        }
        self.link
            .call(Some(&self.session), method, params, self.timeout)
            .await
    }

    pub(crate) async fn open(&self, url: &str) -> Result<(), BrowserError> {
        let opened = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(failure) = opened["errorText"].as_str().and_then(failure) {
            self.watch.fail(failure);
        }
        Ok(())
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Result<String, BrowserError> {
        let wanted = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", wanted).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let description = thrown["exception"]["description"].as_str();
            let words = description
                .or_else(|| thrown["text"].as_str())
                .unwrap_or_default();
            return Err(BrowserError::Script(words.to_owned()));
        }
        Ok(answer["result"]["value"]
            .as_str()
            .unwrap_or("null")
            .to_owned())
    }

    pub(crate) async fn picture(&self) -> Result<String, BrowserError> {
        let picture = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await?;
        Ok(text(&picture, "data"))
    }

    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        let wanted = json!({ "browserContextId": self.context });
        let found = self
            .link
            .call(None, "Storage.getCookies", wanted, self.timeout)
            .await?;
        let cookies = found["cookies"].as_array().into_iter().flatten();
        Ok(cookies.filter_map(Cookie::read).collect())
    }

    pub(crate) async fn close(self) -> Result<(), BrowserError> {
        self.link.forget(&self.session);
        let context = json!({ "browserContextId": self.context });
        let disposed = self
            .link
            .call(None, "Target.disposeBrowserContext", context, self.timeout)
            .await;
        disposed.map(|_| ())
    }
}

/// What went wrong with a page by these words; `None` where nothing did.
fn failure(words: &str) -> Option<LoadFailure> {
    match words {
        // What was to be shown was kept from being sent, or another page took its place.
        "net::ERR_ABORTED" => None,
        // An answer, of which there is nothing to show.
        "net::ERR_HTTP_RESPONSE_CODE_FAILURE" => None,
        words => Some(LoadFailure::of(words)),
    }
}

/// What an event of a tab means. `names` are the session's and the target's, which is also the main frame's.
fn event(watch: &Watch, link: &Link, names: (&str, &str), method: &str, params: &Value) {
    let (session, target) = names;
    let request = params["requestId"].as_str().unwrap_or_default();
    match method {
        "Network.requestWillBeSent" => {
            let sent = &params["request"];
            if params["type"] == "Document" && params["frameId"] == target {
                if let Some(status) = params["redirectResponse"]["status"].as_u64() {
                    watch.answered(request, u16::try_from(status).ok());
                }
                let method = sent["method"].as_str().unwrap_or("GET");
                watch.requested(request, method, sent["url"].as_str().unwrap_or_default());
            } else if params["type"] != "Ping" && params["type"] != "EventSource" {
                watch.requested_other(request);
            }
        }
        "Network.responseReceived" => {
            let status = params["response"]["status"].as_u64();
            watch.answered(
                request,
                status.and_then(|status| u16::try_from(status).ok()),
            );
        }
        "Network.loadingFinished" => watch.ended(request, None),
        "Network.loadingFailed" => {
            let words = params["errorText"].as_str().unwrap_or_default();
            watch.ended(request, failure(words));
        }
        "Page.domContentEventFired" | "Page.loadEventFired" | "Page.navigatedWithinDocument" => {
            watch.bump();
        }
        "Page.javascriptDialogOpening" => {
            watch.dialog(params["message"].as_str().unwrap_or_default());
            link.post(
                Some(session),
                "Page.handleJavaScriptDialog",
                &json!({ "accept": true }),
            );
        }
        "Fetch.requestPaused" => {
            let sent = &params["request"];
            let url = sent["url"].as_str().unwrap_or_default();
            watch.intercept(url, sent["postData"].as_str().unwrap_or_default());
            let answer = json!({ "requestId": request, "responseCode": 204 });
            link.post(Some(session), "Fetch.fulfillRequest", &answer);
        }
        "Inspector.targetCrashed" => watch.crash(),
        _ => {}
    }
}
