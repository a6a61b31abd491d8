//! The HTML around every page, and the scripts that render the forms in it.
//!
//! As on the real server, the markup holds data only (`data-requesttoken`, hidden inputs with
//! base64-encoded JSON, `data-*` attributes), and scripts make forms of it: a client without scripts
//! has to read the data. The markup and the scripts are the sandbox's own.

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde_json::Value;

use super::session::{Session, SessionId};
use crate::ocs::escape;
use crate::state::AppState;
use crate::store::Account;

/// What differs between pages.
#[derive(Default)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// The user logged in.
    pub(crate) account: Option<&'a Account>,
    /// The initial states: application and key, and the value for the script.
    pub(crate) states: Vec<(&'a str, Value)>,
    /// The scripts' paths.
    pub(crate) scripts: &'a [&'a str],
    /// The main part, as HTML.
    pub(crate) content: &'a str,
}

impl Page<'_> {
    /// Renders the page with a request token of this session.
    pub(crate) fn render(&self, state: &AppState, session: &SessionId) -> Response {
        let token = state
            .login
            .sessions
            .with(session, |session| Session::page_token(session))
            .unwrap_or_default();
        let mut head = String::from("<head");
        if let Some(account) = self.account {
            let (id, name) = (escape(&account.id), escape(&account.display_name));
            head += &format!(" data-user=\"{id}\" data-user-displayname=\"{name}\"");
        }
        head += &format!(" data-requesttoken=\"{}\">\n", escape(&token));
        head += "<meta charset=\"utf-8\">\n";
        head += &format!("<title>\n\t{} – Nextcloud\t</title>\n", escape(self.title));
        for script in self.scripts {
            head += &format!("<script defer src=\"{script}\"></script>\n");
        }
        head += "</head>\n";
        let mut inputs = String::new();
        for (name, value) in &self.states {
            // PHP writes slashes in JSON with a backslash.
            let encoded = STANDARD.encode(value.to_string().replace('/', "\\/"));
            inputs += &format!(
                "<input type=\"hidden\" id=\"initial-state-{name}\" value=\"{encoded}\">\n"
            );
        }
        let body = if self.account.is_some() {
            "body-user"
        } else {
            "body-login"
        };
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n{head}<body id=\"{body}\">\n\
             <noscript><div id=\"nojavascript\">This application requires JavaScript for correct \
             operation.</div></noscript>\n{inputs}<main>\n{}\n</main>\n</body>\n</html>\n",
            self.content
        );
        let headers = [(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate")];
        (headers, Html(html)).into_response()
    }
}

/// The scripts' routes.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/dist/core-login.js", get(async || script(LOGIN_SCRIPT)))
        .route(
            "/apps/oidc/js/oidc-redirect.js",
            get(async || script(REDIRECT_SCRIPT)),
        )
        .route(
            "/apps/oidc/js/oidc-consent.js",
            get(async || script(CONSENT_SCRIPT)),
        )
}

fn script(text: &'static str) -> (HeaderMap, &'static str) {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/javascript; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("max-age=15778463"),
    );
    (headers, text)
}

const LOGIN_SCRIPT: &str = r##"
const state = (key) => {
  const input = document.getElementById("initial-state-core-" + key);
  return input ? JSON.parse(decodeURIComponent(escape(atob(input.value)))) : undefined;
};
const element = (name, attributes, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};
const hidden = (name, value) => element("input", { type: "hidden", name, value });
const now = new Date();
const submit = element("button", { type: "submit" }, "Log in");
const form = element("form", { method: "post", name: "login", action: "/login" },
  ...(state("loginErrors") || []).map((error) =>
    element("p", { className: "warning" }, error === "invalidpassword" ? "Wrong login or password." : error)),
  element("label", {}, "Account name ", element("input", {
    id: "user", name: "user", type: "text", required: true, autocomplete: "username",
    value: state("loginUsername") || "" })),
  element("label", {}, "Password ", element("input", {
    id: "password", name: "password", type: "password", required: true, autocomplete: "current-password" })),
  submit,
  hidden("redirect_url", state("loginRedirectUrl") || ""),
  hidden("timezone", Intl.DateTimeFormat().resolvedOptions().timeZone),
  hidden("timezone_offset", String(-now.getTimezoneOffset() / 60)),
  hidden("requesttoken", document.head.dataset.requesttoken));
form.addEventListener("submit", () => { submit.disabled = true; });
document.getElementById("login").append(form);
"##;

const REDIRECT_SCRIPT: &str = r##"
const data = document.getElementById("oidc-redirect").dataset;
const query = new URLSearchParams();
for (const [key, value] of Object.entries(data)) {
  query.set(key.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase()), value);
}
window.location.replace("/apps/oidc/authorize?" + query);
"##;

const CONSENT_SCRIPT: &str = r##"
const box = document.getElementById("oidc-consent");
const scopes = box.dataset.scopes.split(" ").filter(Boolean);
const send = (path, values) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = path;
  for (const [name, value] of Object.entries({ ...values, requesttoken: document.head.dataset.requesttoken })) {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
};
const heading = document.createElement("h2");
heading.textContent = box.dataset.clientName + " asks for access";
const list = document.createElement("ul");
const boxes = scopes.map((scope) => {
  const label = document.createElement("label");
  const check = document.createElement("input");
  Object.assign(check, { type: "checkbox", checked: true, value: scope });
  label.append(check, " " + scope);
  const item = document.createElement("li");
  item.append(label);
  list.append(item);
  return check;
});
const button = (text, action) => {
  const made = document.createElement("button");
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
};
box.append(heading, list,
  button("Deny", () => send("/apps/oidc/consent/deny", {})),
  button("Allow", () => send("/apps/oidc/consent/grant", {
    scopes: boxes.filter((check) => check.checked).map((check) => check.value).join(" ") })));
"##;
