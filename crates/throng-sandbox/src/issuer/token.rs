//! What a token says, once it is known to come from the issuer: whether it is good here and now, and for whom.
//!
//! The same for a JWT's claims (RFC 9068) and for an answer about a token (RFC 7662), which share the names.

use serde_json::Value;

use crate::oidc::{Principal, TokenError};

/// Seconds by which the issuer's clock may be ahead of this machine's.
const AHEAD: f64 = 60.0;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    /// The claim that names the user.
    pub(super) user_claim: &'a str,
    /// Whether `iss` must be there; where it is, it must be right in any case.
    pub(super) needs_issuer: bool,
}

/// Whom a token speaks for.
///
/// # Errors
/// Why it is not accepted.
pub(super) fn principal(
    claims: &Value,
    expected: &Expected<'_>,
    now: i64,
) -> Result<Principal, TokenError> {
    match claims["iss"].as_str() {
        Some(issuer) if issuer != expected.issuer => return Err(TokenError::WrongIssuer),
        None if expected.needs_issuer => return Err(TokenError::WrongIssuer),
        _ => {}
    }
    let Some(expires) = claims["exp"].as_f64() else {
        return Err(TokenError::Unknown);
    };
    let now = now as f64;
    if expires <= now {
        return Err(TokenError::Expired);
    }
    if claims["nbf"]
        .as_f64()
        .is_some_and(|from| from > now + AHEAD)
    {
        return Err(TokenError::Unknown);
    }
    if !words(&claims["aud"]).any(|audience| audience == expected.audience) {
        return Err(TokenError::WrongAudience);
    }
    let user = claims[expected.user_claim]
        .as_str()
        .filter(|user| !user.is_empty())
        .ok_or(TokenError::NoUser)?;
    // `scope` is a text with blanks between (RFC 9068 section 2.2.3); some providers write a list under `scp`.
    let scopes = ["scope", "scp"]
        .into_iter()
        .flat_map(|name| words(&claims[name]));
    let scopes = scopes.flat_map(str::split_whitespace);
    Ok(Principal {
        user: user.to_owned(),
        client_id: claims["client_id"]
            .as_str()
            .or(claims["azp"].as_str())
            .unwrap_or_default()
            .to_owned(),
        scopes: scopes.map(str::to_owned).collect(),
        expires_at: expires as i64,
    })
}

/// One text, or a list of them.
fn words(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().into_iter().flatten();
    many.chain(value.as_str().map(|_| value))
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(change: Value) -> Result<Principal, String> {
        let mut claims = json!({
            "iss": "http://as.test",
            "aud": "http://mcp.test/mcp",
            "exp": 1000,
            "sub": "ann",
            "scope": "notes.read notes.write",
            "client_id": "c",
        });
        for (name, value) in change.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        let expected = Expected {
            issuer: "http://as.test",
            audience: "http://mcp.test/mcp",
            user_claim: "sub",
            needs_issuer: true,
        };
        principal(&claims, &expected, 900).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_right_names_user_and_scopes() {
        let principal = asked(json!({})).unwrap();
        assert_eq!((&*principal.user, principal.expires_at), ("ann", 1000));
        assert_eq!(principal.scopes, ["notes.read", "notes.write"]);
        let several =
            json!({ "aud": ["x", "http://mcp.test/mcp"], "scope": null, "scp": ["a", "b"] });
        assert_eq!(asked(several).unwrap().scopes, ["a", "b"]);
        assert!(asked(json!({ "scope": null })).unwrap().scopes.is_empty());
        assert!(asked(json!({ "nbf": 930 })).is_ok());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (change, says) in [
            (json!({ "iss": "http://as.test/" }), "issuer"),
            (json!({ "iss": null }), "issuer"),
            (json!({ "aud": "http://mcp.test" }), "audience"),
            (json!({ "aud": ["c"] }), "audience"),
            (json!({ "aud": null }), "audience"),
            (json!({ "exp": 900 }), "expired"),
            (json!({ "exp": null }), "unknown"),
            (json!({ "exp": "1000" }), "unknown"),
            (json!({ "nbf": 970 }), "unknown"),
            (json!({ "sub": "" }), "no user"),
            (json!({ "sub": 5 }), "no user"),
        ] {
            let error = asked(change.clone()).unwrap_err();
            assert!(error.contains(says), "{change}: {error}");
        }
    }
}
