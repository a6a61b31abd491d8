//! What can be seen of an access token: whom it is for, where it says so.
//!
//! An access token is the resource's to check. But one that is for somebody else would be handed to a stranger, or fail at every
//! step of a run, so that what is visible is looked at: a JWT that declares itself an access token (RFC 9068) and is of the issuer
//! that was asked. Its signature is the resource's business. Other JWTs have no defined claims, and opaque tokens none at all; and
//! a server that hands on the tokens of a provider behind it, as the Nextcloud MCP server does, knows what it takes these for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use url::Url;

use crate::discovery::{Authorization, covers};
use crate::redact;
use crate::secret::Secret;

#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Refuses an access token that visibly is for another resource. The error is what came instead of a token response.
pub(super) fn check(access: &Secret, authorization: &Authorization) -> Result<(), String> {
    let own = |claims: &Claims| {
        claims
            .iss
            .as_ref()
            .is_none_or(|iss| *iss == authorization.issuer)
    };
    let Some(claims) = claims(access).filter(own) else {
        return Ok(());
    };
    let (Some(resource), Some(audience)) = (&authorization.resource, &claims.aud) else {
        return Ok(());
    };
    let audience = match audience {
        Audience::One(one) => std::slice::from_ref(one),
        Audience::Many(many) => many,
    };
    if audience.iter().any(|name| is_for(name, resource)) {
        return Ok(());
    }
    Err(format!(
        "an access token for {} (its aud), expected one for {resource}, the resource that was asked for (RFC 8707)",
        redact::text(&audience.join(", "), &[])
    ))
}

/// Whether an audience means the resource: by its name, or as an address that contains it.
fn is_for(audience: &str, resource: &str) -> bool {
    audience == resource
        || Url::parse(audience)
            .ok()
            .zip(Url::parse(resource).ok())
            .is_some_and(|(audience, resource)| covers(&audience, &resource))
}

/// The claims of a JWT that says it is an access token.
fn claims(token: &Secret) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let kind = header.typ?.to_ascii_lowercase();
    if !matches!(kind.as_str(), "at+jwt" | "application/at+jwt") {
        return None;
    }
    serde_json::from_slice(&decode(payload)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn authorization(resource: Option<&str>) -> Authorization {
        Authorization {
            resource: resource.map(str::to_owned),
            issuer: "http://as".to_owned(),
            authorization_endpoint: None,
            token_endpoint: Url::parse("http://as/token").unwrap(),
            registration_endpoint: None,
            revocation_endpoint: None,
            jwks_uri: None,
            challenged_scopes: Vec::new(),
            resource_scopes: Vec::new(),
            server_scopes: Vec::new(),
            promises_issuer: false,
            accepts_metadata_documents: false,
            token_auth_methods: Vec::new(),
        }
    }

    fn token(typ: &str, claims: &Value) -> Secret {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "typ": typ, "alg": "RS256" });
        Secret::new(format!("{}.{}.AAAA", part(&header), part(claims)))
    }

    #[test]
    fn only_what_is_visibly_for_another_is_refused() {
        let mcp = Some("http://h:8001/mcp");
        for (typ, claims, resource, refused) in [
            (
                "at+JWT",
                json!({"iss": "http://as", "aud": "http://h:8001/mcp"}),
                mcp,
                None,
            ),
            (
                "at+jwt",
                json!({"iss": "http://as", "aud": ["x", "http://h:8001"]}),
                mcp,
                None,
            ),
            (
                "at+jwt",
                json!({"iss": "http://as", "aud": "me"}),
                None,
                None,
            ),
            ("at+jwt", json!({}), mcp, None),
            (
                "at+jwt",
                json!({"iss": "http://as", "aud": ["http://h:8001/mcpx", "me"]}),
                mcp,
                Some("for http://h:8001/mcpx, me (its aud)"),
            ),
            (
                "application/at+jwt",
                json!({"aud": "http://other/mcp"}),
                mcp,
                Some("for http://other/mcp (its aud)"),
            ),
            // Of a provider behind the one that was asked.
            (
                "at+jwt",
                json!({"iss": "http://behind", "aud": "x"}),
                mcp,
                None,
            ),
            ("JWT", json!({"iss": "http://as", "aud": "x"}), mcp, None),
        ] {
            let result = check(&token(typ, &claims), &authorization(resource));
            match refused {
                None => assert_eq!(result, Ok(()), "{typ} {claims}"),
                Some(why) => {
                    let error = result.unwrap_err();
                    assert!(error.contains(why), "{error}");
                }
            }
        }
        for opaque in ["abc", "a.b.c", "..", ""] {
            assert_eq!(check(&opaque.into(), &authorization(mcp)), Ok(()));
        }
    }
}
