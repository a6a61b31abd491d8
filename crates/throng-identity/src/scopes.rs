//! Which scopes to ask for.

use crate::discovery::Authorization;

/// What is known about scopes before the login.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Named by the scenario; wins over everything.
    pub wanted: Option<&'a [String]>,
    /// Named by the 401's challenge.
    pub challenged: &'a [String],
    /// `scopes_supported` of the protected resource.
    pub resource: &'a [String],
    /// `scopes_supported` of the authorization server.
    pub server: &'a [String],
}

impl<'a> Known<'a> {
    /// What discovery found, and what the scenario names.
    pub fn of(authorization: &'a Authorization, wanted: Option<&'a [String]>) -> Self {
        Self {
            wanted,
            challenged: &authorization.challenged_scopes,
            resource: &authorization.resource_scopes,
            server: &authorization.server_scopes,
        }
    }
}

/// [`choose`] for tokens that no user's login brings: without refresh tokens `offline_access` means nothing.
pub fn choose_for_machine(known: &Known<'_>) -> Vec<String> {
    let mut chosen = choose(known);
    chosen.retain(|scope| scope != OFFLINE);
    chosen
}

/// Asks for refresh tokens (OpenID Connect Core 1.0 section 11).
const OFFLINE: &str = "offline_access";

/// The scenario's scopes, else the challenge's, else those that the resource lists, else none (MCP authorization, "scope selection").
/// `offline_access` is asked for exactly when the server or the resource lists it: it brings refresh tokens where it exists
/// and an error where it doesn't.
pub fn choose(known: &Known<'_>) -> Vec<String> {
    let listed = known
        .server
        .iter()
        .chain(known.resource)
        .chain(known.challenged)
        .any(|scope| scope == OFFLINE);
    let base = match known.wanted {
        Some(wanted) => wanted,
        None if !known.challenged.is_empty() => known.challenged,
        None => known.resource,
    };
    let mut chosen: Vec<String> = Vec::with_capacity(base.len() + 1);
    for scope in base {
        if scope != OFFLINE && !chosen.contains(scope) {
            chosen.push(scope.clone());
        }
    }
    if listed {
        chosen.push(OFFLINE.to_owned());
    }
    chosen
}

/// What a client is registered for: what is asked for, and what else the resource lists, since a step-up may have to ask for it
/// later, and a provider grants no more than that (RFC 7591 section 2).
pub fn to_register(chosen: &[String], resource: &[String]) -> Vec<String> {
    let mut all = chosen.to_vec();
    // Nothing said is nothing limited.
    if !chosen.is_empty() {
        for scope in resource {
            if !all.contains(scope) {
                all.push(scope.clone());
            }
        }
    }
    all
}

/// The union for a step-up after 403 `insufficient_scope`; nothing if the challenge asks for no more than what was asked for
/// already, because a further login would then change nothing.
pub fn step_up(asked: &[String], challenged: &[String]) -> Option<Vec<String>> {
    let mut union = asked.to_vec();
    for scope in challenged {
        if !union.contains(scope) {
            union.push(scope.clone());
        }
    }
    (union.len() > asked.len()).then_some(union)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_order_is_scenario_challenge_resource_nothing() {
        let cases = [
            // wanted, challenged, resource, server -> chosen
            (Some("a"), "b", "c", "d", "a"),
            (None, "b", "c", "d", "b"),
            (None, "", "c", "d", "c"),
            (None, "", "", "d", ""),
            (Some("a offline_access"), "", "", "", "a"),
            (Some("a"), "", "", "offline_access", "a offline_access"),
            (None, "b b", "", "x offline_access", "b offline_access"),
            (Some(""), "b", "c", "", ""),
        ];
        for (wanted, challenged, resource, server, chosen) in cases {
            let wanted = wanted.map(list);
            let known = Known {
                wanted: wanted.as_deref(),
                challenged: &list(challenged),
                resource: &list(resource),
                server: &list(server),
            };
            assert_eq!(choose(&known), list(chosen));
        }
    }

    #[test]
    fn a_client_is_registered_for_what_may_be_asked_for_later() {
        let all = to_register(&list("a b"), &list("b c"));
        assert_eq!(all, list("a b c"));
        assert_eq!(to_register(&[], &list("b c")), list(""));
    }

    #[test]
    fn step_up_asks_for_more_or_not_at_all() {
        assert_eq!(step_up(&list("a b"), &list("b c")), Some(list("a b c")));
        assert_eq!(step_up(&list("a b"), &list("b")), None);
    }
}
