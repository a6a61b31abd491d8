//! The authorization response: what arrives at the redirect URI, and whether it may be believed.

use url::{Url, form_urlencoded};

use super::error::{Failure, Problem};
use crate::discovery::Authorization;
use crate::redact;
use crate::secret::Secret;

/// The parameters of an authorization response.
pub(super) type Response = Vec<(String, String)>;

/// The URL is the redirect URI, apart from its query.
pub(super) fn is_callback(url: &Url, redirect_uri: &Url) -> bool {
    url.scheme() == redirect_uri.scheme()
        && url.host() == redirect_uri.host()
        && url.port_or_known_default() == redirect_uri.port_or_known_default()
        && url.path() == redirect_uri.path()
}

/// Parameters from the query, and from the body where `response_mode=form_post` put them.
pub(super) fn parameters(url: &Url, body: &str) -> Response {
    url.query_pairs()
        .chain(form_urlencoded::parse(body.as_bytes()))
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect()
}

/// Checks `state` and `iss` before anything else is believed, an error included; returns the code.
pub(super) fn verify(
    response: &Response,
    state: &str,
    authorization: &Authorization,
) -> Result<Secret, Failure> {
    let get = |name: &str| {
        response
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    match get("state") {
        Some(found) if found == state => {}
        found => {
            return Err(Problem::State {
                missing: found.is_none(),
            }
            .into());
        }
    }
    match get("iss") {
        Some(found) if found != authorization.issuer => {
            let found = Some(redact::text(found, &[]));
            return Err(Problem::Issuer {
                expected: authorization.issuer.clone(),
                found,
            }
            .into());
        }
        None if authorization.promises_issuer => {
            return Err(Problem::Issuer {
                expected: authorization.issuer.clone(),
                found: None,
            }
            .into());
        }
        _ => {}
    }
    if let Some(error) = get("error") {
        let text = match get("error_description") {
            Some(description) => format!("{error}: {description}"),
            None => error.to_owned(),
        };
        return Err(Problem::Denied(redact::text(&text, &[])).into());
    }
    match get("code") {
        Some(code) if !code.is_empty() => Ok(Secret::new(code)),
        _ => Err(Problem::NoCode.into()),
    }
}
