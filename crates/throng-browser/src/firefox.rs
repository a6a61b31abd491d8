//! Firefox by WebDriver BiDi, which it speaks itself over a websocket (no geckodriver). A user context per tab keeps users apart
//! in one process tree.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::error::BrowserError;
use crate::find::Installed;
use crate::link::{Incoming, Link, text};
use crate::process::{Keeper, Process, Program};
use crate::running::{Running, or_closed};
use crate::tab::Cookie;
use crate::watch::{LoadFailure, Watch};
use crate::{Options, TabOptions, Trust, authority};

/// What Firefox writes when it can be reached.
const LISTENING: &str = "WebDriver BiDi listening on ";

/// How long it may take to end by itself.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Preferences, besides those that Firefox sets itself when it is driven: nothing in the background, nothing remembered, background
/// tabs as quick as others.
const PREFERENCES: &[(&str, &str)] = &[
    ("app.normandy.enabled", "false"),
    ("app.update.auto", "false"),
    ("app.update.checkInstallTime", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.cache.disk.enable", "false"),
    ("browser.contentblocking.category", "\"standard\""),
    ("browser.discovery.enabled", "false"),
    ("browser.newtabpage.enabled", "false"),
    ("browser.newtab.preload", "false"),
    ("browser.region.update.enabled", "false"),
    ("browser.search.update", "false"),
    ("browser.sessionstore.resume_from_crash", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage", "\"about:blank\""),
    ("browser.startup.page", "0"),
    ("browser.tabs.unloadOnLowMemory", "false"),
    ("browser.tabs.warnOnClose", "false"),
    ("browser.translations.enable", "false"),
    ("datareporting.healthreport.uploadEnabled", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("dom.disable_beforeunload", "true"),
    ("dom.ipc.processPrelaunch.enabled", "false"),
    ("dom.min_background_timeout_value", "4"),
    ("dom.security.https_first", "false"),
    ("dom.timeout.enable_budget_timer_throttling", "false"),
    ("extensions.autoDisableScopes", "15"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("extensions.update.enabled", "false"),
    ("intl.accept_languages", "\"en\""),
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("network.dns.disablePrefetch", "true"),
    ("network.http.speculative-parallel-limit", "0"),
    ("network.prefetch-next", "false"),
    ("places.history.enabled", "false"),
    ("remote.active-protocols", "1"),
    ("security.OCSP.enabled", "0"),
    (
        "services.settings.server",
        "\"data:,#remote-settings-dummy/v1\"",
    ),
    ("signon.autofillForms", "false"),
    ("signon.rememberSignons", "false"),
    ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
    ("toolkit.telemetry.unified", "false"),
];

/// What no page of a login needs to be passed.
const UNSEEN: &[(&str, &str)] = &[
    ("gfx.downloadable_fonts.enabled", "false"),
    ("permissions.default.image", "2"),
];

#[derive(Debug)]
pub(crate) struct Firefox {
    running: Running,
}

impl Firefox {
    pub(crate) async fn launch(
        installed: &Installed,
        options: &Options,
    ) -> Result<Self, BrowserError> {
        let mut keeper = Keeper::start(&options.temporary)?;
        let profile = keeper.directory().join("profile");
        if let Err(error) = write_profile(&profile, options).await {
            keeper.finish().await;
            return Err(error);
        }
        let mut program = Program::new(&installed.program);
        program.awaited = Some(LISTENING);
        program.arguments = [
            "--no-remote",
            "--new-instance",
            "--remote-debugging-port=0",
            "--profile",
        ]
        .map(str::to_owned)
        .to_vec();
        program.arguments.push(profile.display().to_string());
        program.environment = [
            ("MOZ_CRASHREPORTER_DISABLE", "1"),
            ("MOZ_DISABLE_AUTO_SAFE_MODE", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        if !options.headed {
            program.arguments.push("--headless".to_owned());
        }
        let mut process = keeper.spawn(&program).await?;
        let connected = connect(&mut process, options).await;
        Ok(Self {
            running: Running::new(keeper, process, connected, options.timeout).await?,
        })
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) async fn tab(&self, wanted: &TabOptions) -> Result<Tab, BrowserError> {
        let Running { link, timeout, .. } = &self.running;
        let context = link
            .call(None, "browser.createUserContext", json!({}), *timeout)
            .await?;
        let mut tab = Tab {
            link: link.clone(),
            timeout: *timeout,
            user_context: text(&context, "userContext"),
            context: String::new(),
            watch: Arc::new(Watch::new()),
        };
        let prepared = tab.prepare(wanted).await;
        or_closed(tab, prepared, Tab::close).await
    }

    pub(crate) async fn close(self) {
        self.running.close("browser.close", END_PATIENCE).await;
    }
}

async fn write_profile(profile: &Path, options: &Options) -> Result<(), BrowserError> {
    let failed = |error: std::io::Error| BrowserError::Profile {
        directory: profile.to_owned(),
        reason: error.to_string(),
    };
    tokio::fs::create_dir_all(profile).await.map_err(failed)?;
    if let Trust::And(files) = &options.trust {
        authority::enter(files, profile, &options.search, "firefox").await?;
    }
    let unseen: &[_] = if options.headed { &[] } else { UNSEEN };
    let mut text = String::new();
    for (name, value) in PREFERENCES.iter().chain(unseen) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "user_pref(\"{name}\", {value});");
    }
    tokio::fs::write(profile.join("user.js"), text)
        .await
        .map_err(failed)
}

/// Begins the session over the websocket that Firefox names.
async fn connect(
    process: &mut Process,
    options: &Options,
) -> Result<(Link, JoinSet<()>), BrowserError> {
    let line = process.line(options.timeout).await?;
    let address = line.trim_start_matches(LISTENING).trim().to_owned();
    let unreachable = |reason: String| BrowserError::Refused {
        command: format!("a websocket to {address}"),
        reason,
    };
    let host = address.trim_start_matches("ws://").trim_end_matches('/');
    let stream = TcpStream::connect(host)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a websocket stays with delays");
    }
    let url = format!("ws://{host}/session");
    let (socket, _) = tokio_tungstenite::client_async(url, stream)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let (mut sink, source) = socket.split();
    let (link, mut outgoing) = Link::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if sink.send(Message::text(message)).await.is_err() {
                return;
            }
        }
    });
    let source = Arc::new(Mutex::new(source));
    link.read_all(&mut tasks, move || -> Incoming {
        let source = source.clone();
        Box::pin(async move {
            loop {
                match source.lock().await.next().await? {
                    Ok(Message::Text(text)) => return Some(text.to_string()),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
    });
    let capabilities = json!({ "capabilities": { "alwaysMatch": {
        "acceptInsecureCerts": options.trust == Trust::Anything,
        "unhandledPromptBehavior": { "default": "accept" },
    } } });
    link.call(None, "session.new", capabilities, options.timeout)
        .await?;
    let events = json!({ "events": [
        "browsingContext.domContentLoaded",
        "browsingContext.load",
        "browsingContext.navigationFailed",
        "browsingContext.userPromptOpened",
        "network.beforeRequestSent",
        "network.responseCompleted",
        "network.fetchError",
    ] });
    link.call(None, "session.subscribe", events, options.timeout)
        .await?;
    Ok((link, tasks))
}

#[derive(Debug)]
pub(crate) struct Tab {
    link: Link,
    timeout: Duration,
    user_context: String,
    context: String,
    watch: Arc<Watch>,
}

impl Tab {
    async fn prepare(&mut self, wanted: &TabOptions) -> Result<(), BrowserError> {
        let create = json!({ "type": "tab", "userContext": self.user_context, "background": true });
        let created = self.call("browsingContext.create", create).await?;
        self.context = text(&created, "context");
        let watch = self.watch.clone();
        self.link.route(
            &self.context,
            Arc::new(move |link, method, params| event(&watch, link, method, params)),
        );
        if let Some(address) = &wanted.intercept {
            let pattern = pattern(address).ok_or_else(|| {
                BrowserError::Unable(format!("firefox can't intercept requests to {address}"))
            })?;
            let intercept = json!({
                "phases": ["beforeRequestSent"],
                "contexts": [self.context],
                "urlPatterns": [pattern],
            });
            self.call("network.addIntercept", intercept).await?;
        }
        Ok(())
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, BrowserError> {
        self.link.call(None, method, params, self.timeout).await
    }

    pub(crate) async fn open(&self, url: &str) -> Result<(), BrowserError> {
        let navigate = json!({ "context": self.context, "url": url, "wait": "none" });
        match self.call("browsingContext.navigate", navigate).await {
            // What went wrong with the page, not with the command. Aborted: the request was kept from being sent, or another page took
            // its place.
            Err(BrowserError::Refused { reason, .. }) if reason.starts_with("unknown error") => {
                if !reason.contains("NS_BINDING_ABORTED") && !reason.contains("NS_ERROR_ABORT") {
                    self.watch.fail(LoadFailure::of(innermost(&reason)));
                }
                Ok(())
            }
            opened => opened.map(|_| ()),
        }
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Result<String, BrowserError> {
        let wanted = json!({
            "expression": expression,
            "target": { "context": self.context },
            "awaitPromise": true,
            "resultOwnership": "none",
            "userActivation": true,
        });
        let answer = self.call("script.evaluate", wanted).await?;
        if answer["type"] == "exception" {
            let words = answer["exceptionDetails"]["text"]
                .as_str()
                .unwrap_or_default();
            return Err(BrowserError::Script(words.to_owned()));
        }
        Ok(answer["result"]["value"]
            .as_str()
            .unwrap_or("null")
            .to_owned())
    }

    pub(crate) async fn picture(&self) -> Result<String, BrowserError> {
        let wanted = json!({ "context": self.context });
        let picture = self
            .call("browsingContext.captureScreenshot", wanted)
            .await?;
        Ok(text(&picture, "data"))
    }

    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        let partition =
            json!({ "partition": { "type": "storageKey", "userContext": self.user_context } });
        let found = self.call("storage.getCookies", partition).await?;
        let cookies = found["cookies"].as_array().into_iter().flatten();
        Ok(cookies.filter_map(Cookie::read).collect())
    }

    pub(crate) async fn close(self) -> Result<(), BrowserError> {
        self.link.forget(&self.context);
        let context = json!({ "userContext": self.user_context });
        self.call("browser.removeUserContext", context)
            .await
            .map(|_| ())
    }
}

/// `https://host:port/path` as a pattern of BiDi's, which has no place for what follows the path.
fn pattern(address: &str) -> Option<Value> {
    let uri: http::Uri = address.parse().ok()?;
    let escape = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if matches!(c, '(' | ')' | '*' | '{' | '}' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    let mut pattern = json!({
        "type": "pattern",
        "protocol": uri.scheme_str()?,
        "hostname": escape(uri.host()?),
        "pathname": escape(uri.path()),
    });
    if let Some(port) = uri.port_u16() {
        pattern["port"] = port.to_string().into();
    }
    Some(pattern)
}

/// The name of what went wrong, of several the one within the others:
/// `Error: NS_ERROR_GENERATE_FAILURE(NS_ERROR_MODULE_SECURITY, SEC_ERROR_UNKNOWN_ISSUER)`.
fn innermost(words: &str) -> &str {
    let mut names = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    names
        .rfind(|name| name.contains("_ERROR_"))
        .unwrap_or(words)
}

/// What an event of a tab means.
fn event(watch: &Watch, link: &Link, method: &str, params: &Value) {
    let request = params["request"]["request"].as_str().unwrap_or_default();
    match method {
        "network.beforeRequestSent" => {
            let url = params["request"]["url"].as_str().unwrap_or_default();
            if params["navigation"].is_null() {
                watch.requested_other(request);
            } else {
                let method = params["request"]["method"].as_str().unwrap_or("GET");
                watch.requested(request, method, url);
            }
            if params["isBlocked"] == true {
                watch.intercept(url, "");
                let answer = json!({ "request": request, "statusCode": 204 });
                link.post(None, "network.provideResponse", &answer);
            }
        }
        "network.responseCompleted" => {
            let status = params["response"]["status"].as_u64();
            watch.answered(
                request,
                status.and_then(|status| u16::try_from(status).ok()),
            );
            watch.ended(request, None);
        }
        "network.fetchError" => {
            let words = params["errorText"].as_str().unwrap_or_default();
            let aborted = words == "NS_BINDING_ABORTED" || words == "NS_ERROR_ABORT";
            watch.ended(
                request,
                (!aborted).then(|| LoadFailure::of(innermost(words))),
            );
        }
        "browsingContext.domContentLoaded" | "browsingContext.load" => watch.bump(),
        "browsingContext.navigationFailed" => watch.bump(),
        "browsingContext.userPromptOpened" => {
            watch.dialog(params["message"].as_str().unwrap_or_default());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_named_once() {
        let nested = "unknown error: Error: NS_ERROR_GENERATE_FAILURE(NS_ERROR_MODULE_SECURITY, SEC_ERROR_UNKNOWN_ISSUER)";
        assert_eq!(innermost(nested), "SEC_ERROR_UNKNOWN_ISSUER");
        let plain = "unknown error: Error: NS_ERROR_CONNECTION_REFUSED";
        assert_eq!(innermost(plain), "NS_ERROR_CONNECTION_REFUSED");
        assert_eq!(innermost("it is odd"), "it is odd");
    }

    #[test]
    fn addresses_become_patterns() {
        let found = pattern("https://app.example:8443/o(a)uth/callback").unwrap();
        assert_eq!(
            found,
            json!({ "type": "pattern", "protocol": "https", "hostname": "app.example", "pathname": "/o\\(a\\)uth/callback", "port": "8443" })
        );
        assert!(pattern("/relative").is_none());
    }
}
