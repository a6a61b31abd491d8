//! Nextcloud's pages of a login, which its scripts render from data in the markup.
//!
//! What the pages look like was read off Nextcloud 25 with the `oidc` app 2.0.9. Sending the answers is the login's work.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use url::Url;

use super::markers::{attribute, element_with_id, first_attribute};
use crate::secret::Secret;

/// `/login`: filled in by script from hidden inputs with base64-encoded JSON.
pub(crate) struct LoginPage {
    /// The CSRF token to be sent as `requesttoken`.
    pub request_token: Secret,
    /// Where the server goes after the login.
    pub redirect_url: String,
    /// What was wrong with the previous attempt, e.g. `invalidpassword`.
    pub errors: Vec<String>,
    /// Further messages for the person, as shown.
    pub messages: Vec<String>,
    /// Milliseconds for which the server holds back the next attempt from this address.
    pub throttle_delay_ms: u64,
    /// The page offers no user and password form (single sign-on only).
    pub form_hidden: bool,
}

impl fmt::Debug for LoginPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The redirect target has the authorization request in it, `state` included.
        f.debug_struct("LoginPage")
            .field("errors", &self.errors)
            .field("throttle_delay_ms", &self.throttle_delay_ms)
            .finish_non_exhaustive()
    }
}

impl LoginPage {
    /// The page, if this is one.
    pub(crate) fn find(html: &str) -> Option<Self> {
        // Every Nextcloud page has a request token; the login page alone has its redirect target (newer versions
        // leave that out when there is none) together with the element that its script fills.
        let redirect: Option<String> = initial_state(html, "core-loginRedirectUrl");
        if redirect.is_none()
            && (element_with_id(html, "login").is_none()
                || !has_state(html, "core-loginThrottleDelay"))
        {
            return None;
        }
        Some(Self {
            request_token: Secret::new(first_attribute(html, "data-requesttoken")?.into_owned()),
            redirect_url: redirect.unwrap_or_default(),
            errors: texts(initial_state(html, "core-loginErrors")),
            messages: texts(initial_state(html, "core-loginMessages")),
            throttle_delay_ms: initial_state(html, "core-loginThrottleDelay").unwrap_or(0),
            form_hidden: initial_state(html, "core-hideLoginForm").unwrap_or(false),
        })
    }
}

/// `/apps/oidc/redirect`: a page shown after the login, whose script calls the authorization endpoint once more.
pub(crate) struct RedirectPage {
    /// The authorization request's parameters as the page carries them, for the case that the caller doesn't remember it.
    pub parameters: Vec<(&'static str, String)>,
}

impl fmt::Debug for RedirectPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values include `state` and `nonce`.
        f.debug_list()
            .entries(self.parameters.iter().map(|(name, _)| name))
            .finish()
    }
}

impl RedirectPage {
    /// The page, if this is one.
    pub(crate) fn find(html: &str) -> Option<Self> {
        let tag = element_with_id(html, "oidc-redirect")?;
        let known = [
            ("data-client-id", "client_id"),
            ("data-state", "state"),
            ("data-response-type", "response_type"),
            ("data-redirect-uri", "redirect_uri"),
            ("data-scope", "scope"),
            ("data-nonce", "nonce"),
            ("data-resource", "resource"),
            ("data-code-challenge", "code_challenge"),
            ("data-code-challenge-method", "code_challenge_method"),
        ];
        let parameters = known
            .into_iter()
            .filter_map(|(attr, name)| Some((name, attribute(tag, attr)?.into_owned())))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Some(Self { parameters })
    }

    /// The authorization endpoint beside this page, with the page's own query or its data.
    pub(crate) fn authorize_url(&self, page: &Url) -> Option<Url> {
        let mut url = page.join("authorize").ok()?;
        url.set_query(page.query().filter(|query| query.contains("client_id=")));
        if url.query().is_none() {
            if self.parameters.is_empty() {
                return None;
            }
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        Some(url)
    }
}

/// `/apps/oidc/consent`: `<div id="oidc-consent" data-client-name data-scopes data-client-id>`.
#[derive(Debug)]
pub(crate) struct ConsentPage {
    /// The CSRF token, sent as the header `requesttoken`.
    pub request_token: Secret,
    /// The scopes that the client asks for, to be granted as they are.
    pub scopes: String,
}

impl ConsentPage {
    /// The page, if this is one.
    pub(crate) fn find(html: &str) -> Option<Self> {
        let tag = element_with_id(html, "oidc-consent")?;
        Some(Self {
            request_token: Secret::new(first_attribute(html, "data-requesttoken")?.into_owned()),
            scopes: attribute(tag, "data-scopes")
                .map(Cow::into_owned)
                .unwrap_or_default(),
        })
    }

    /// Where the grant is posted: `grant` below the page.
    pub(crate) fn grant_url(page: &Url) -> Url {
        let mut url = page.clone();
        url.set_query(None);
        url.set_fragment(None);
        let path = format!("{}/grant", page.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

fn has_state(html: &str, name: &str) -> bool {
    element_with_id(html, &format!("initial-state-{name}")).is_some()
}

/// A value that the server handed to its scripts; nothing if absent or of another type.
fn initial_state<T: DeserializeOwned>(html: &str, name: &str) -> Option<T> {
    let tag = element_with_id(html, &format!("initial-state-{name}"))?;
    let json = STANDARD.decode(attribute(tag, "value")?.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Strings of a list that may also hold objects or be an object (PHP's arrays).
fn texts(list: Option<serde_json::Value>) -> Vec<String> {
    let values: Vec<serde_json::Value> = match list {
        Some(serde_json::Value::Array(values)) => values,
        Some(serde_json::Value::Object(map)) => map.into_iter().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    values
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}
