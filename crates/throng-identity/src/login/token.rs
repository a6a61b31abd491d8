//! The token endpoint: what is sent to it and what its answers mean (RFC 6749 sections 4.1.3, 5 and 6).

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use super::access;
use super::id_token::IdClaims;
use crate::assertion::ASSERTION_TYPE;
use crate::discovery::Authorization;
use crate::registration::{OAuthClient, TokenAuth};
use crate::secret::Secret;
use crate::wire;

/// The tokens of one user.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: Secret,
    /// How long it is good for, if the provider says. More than nothing: a server that says 0 or less has said nothing that could
    /// be kept to, and the token is used until it is refused.
    pub lifetime: Option<Duration>,
    /// When it was received.
    pub obtained: Instant,
    /// What time it was then at the server, since 1970, where it says so (`Date`).
    pub server_time: Option<Duration>,
    /// For renewing it without a login, if the provider gives one.
    pub refresh: Option<Secret>,
    /// What was granted, if the provider says.
    pub scope: Option<String>,
    /// The validated id token's claims, of a login at an OpenID provider.
    pub claims: Option<IdClaims>,
    /// The id token itself, if there was one; to be believed only where there are claims.
    pub id_token: Option<Secret>,
    /// Those of the login behind an exchange, by which the next exchange is made.
    pub behind: Option<Box<Tokens>>,
}

#[derive(Deserialize)]
struct Response {
    access_token: Secret,
    token_type: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<f64>,
    refresh_token: Option<Secret>,
    id_token: Option<Secret>,
    scope: Option<String>,
}

/// Some providers write the number as text.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Given(f64),
        Text(String),
        /// Nothing that could be told apart from leaving it out.
        Other(serde::de::IgnoredAny),
    }
    Ok(match Option::<Number>::deserialize(deserializer)? {
        Some(Number::Given(seconds)) => Some(seconds),
        Some(Number::Text(text)) => text.trim().parse().ok(),
        Some(Number::Other(_)) | None => None,
    })
}

/// A request to the token endpoint: the grant's own fields, the resource, and the client's authentication.
pub(crate) fn request(
    authorization: &Authorization,
    client: &OAuthClient,
    grant: &[(&str, &str)],
) -> Request<Bytes> {
    let mut fields = grant.to_vec();
    if let Some(resource) = &authorization.resource {
        fields.push(("resource", resource));
    }
    post(
        &authorization.token_endpoint,
        authorization,
        client,
        &fields,
    )
}

/// A form for an endpoint of the authorization server at which the client authenticates as at the token endpoint (RFC 7009
/// section 2.1).
pub(crate) fn post(
    endpoint: &Url,
    authorization: &Authorization,
    client: &OAuthClient,
    fields: &[(&str, &str)],
) -> Request<Bytes> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let mut builder = wire::request(Method::POST, endpoint)
        .header(header::CONTENT_TYPE, wire::FORM)
        .header(header::ACCEPT, "application/json");
    match (client.auth, &client.secret) {
        (TokenAuth::PrivateKeyJwt, _) if client.key.is_some() => {
            let key = client.key.as_ref().expect("looked at just now");
            let assertion = key.assertion(&client.id, &authorization.issuer);
            // `client_id` is optional beside an assertion (RFC 7521 section 4.2); some servers look it up by that.
            form.append_pair("client_id", &client.id)
                .append_pair("client_assertion_type", ASSERTION_TYPE)
                .append_pair("client_assertion", assertion.expose());
        }
        (TokenAuth::Basic, Some(secret)) => {
            // RFC 6749 section 2.3.1: both parts are form-encoded before Basic encodes them.
            let encode =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let credentials =
                wire::basic(&encode(&client.id), &Secret::new(encode(secret.expose())));
            builder = builder.header(header::AUTHORIZATION, credentials);
        }
        (TokenAuth::Post, Some(secret)) => {
            form.append_pair("client_id", &client.id)
                .append_pair("client_secret", secret.expose());
        }
        _ => {
            form.append_pair("client_id", &client.id);
        }
    }
    wire::finish(builder, form.finish())
}

/// Reads a successful answer and refuses an access token that is visibly for another resource or of another issuer. The id
/// token is returned unchecked. The error says what is wrong without showing the body.
pub(crate) fn parse(body: &[u8], authorization: &Authorization) -> Result<Tokens, String> {
    let tokens = read(body)?;
    access::check(&tokens.access, authorization)?;
    Ok(tokens)
}

/// serde's message may quote a value; the category and place say enough.
fn unread(error: &serde_json::Error) -> String {
    format!(
        "JSON that is none ({:?} error at line {} column {})",
        error.classify(),
        error.line(),
        error.column()
    )
}

/// What a token exchange brought (RFC 8693 section 2.2.1).
#[derive(Deserialize)]
pub(crate) struct Exchanged {
    /// Whatever was issued, under the name of an access token.
    #[serde(rename = "access_token")]
    pub(crate) token: Secret,
    /// What it is.
    pub(crate) issued_token_type: Option<String>,
}

/// Reads the answer to a token exchange that did not ask for an access token.
pub(crate) fn parse_exchanged(body: &[u8]) -> Result<Exchanged, String> {
    let exchanged: Exchanged = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    if exchanged.token.expose().is_empty() {
        return Err("an empty access_token".to_owned());
    }
    Ok(exchanged)
}

fn read(body: &[u8]) -> Result<Tokens, String> {
    let response: Response = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    if response.access_token.expose().is_empty() {
        return Err("an empty access_token".to_owned());
    }
    if let Some(kind) = response
        .token_type
        .as_deref()
        .filter(|kind| !kind.eq_ignore_ascii_case("bearer"))
    {
        return Err(format!(
            "the token type {:?}; only Bearer is known",
            crate::redact::text(kind, &[])
        ));
    }
    let lifetime = response
        .expires_in
        .filter(|s| s.is_finite() && *s > 0.0)
        .map(|s| Duration::from_secs_f64(s.min(1e9)));
    Ok(Tokens {
        access: response.access_token,
        lifetime,
        obtained: Instant::now(),
        server_time: None,
        refresh: response
            .refresh_token
            .filter(|token| !token.expose().is_empty()),
        scope: response.scope,
        claims: None,
        id_token: response.id_token,
        behind: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_tolerantly_but_not_blindly() {
        let parsed = |json: &str| read(json.as_bytes());
        let tokens = parsed(
            r#"{"access_token":"a","token_type":"bearer","expires_in":"900","id_token":"i"}"#,
        )
        .unwrap();
        assert_eq!(tokens.lifetime, Some(Duration::from_secs(900)));
        assert_eq!(tokens.id_token.unwrap().expose(), "i");
        assert!(tokens.refresh.is_none());
        let tokens =
            parsed(r#"{"access_token":"a","refresh_token":"r","expires_in":null}"#).unwrap();
        assert_eq!(
            (tokens.lifetime, tokens.refresh.unwrap().expose()),
            (None, "r")
        );
        for (given, lifetime) in [
            ("60", Some(60.0)),
            ("0.5", Some(0.5)),
            (r#"" 60 ""#, Some(60.0)),
            ("1e300", Some(1e9)),
            // Nothing that could be kept to.
            ("0", None),
            ("-5", None),
            (r#""-5""#, None),
            (r#""soon""#, None),
            (r#""NaN""#, None),
            (r#""inf""#, None),
            ("true", None),
            ("{}", None),
        ] {
            let json = format!(r#"{{"access_token":"a","expires_in":{given}}}"#);
            let tokens = parsed(&json).unwrap();
            let lifetime = lifetime.map(Duration::from_secs_f64);
            assert_eq!(tokens.lifetime, lifetime, "{given}");
        }
        for bad in [
            r#"{"access_token":""}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            "{}",
            "<html>",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let error = parsed(r#"{"access_token":{"s3cret":1}}"#).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
