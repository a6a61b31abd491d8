//! What is embedded in the binary: the built-in scenarios, and files to start from. What ships is what users copy and edit.

/// Scenarios that can be run by name.
const SCENARIOS: [(&str, &str); 6] = [
    (
        "nextcloud",
        include_str!("../../../scenarios/nextcloud.yaml"),
    ),
    (
        "integr8scode",
        include_str!("../../../scenarios/integr8scode.yaml"),
    ),
    (
        "token_expiry",
        include_str!("../../../scenarios/token_expiry.yaml"),
    ),
    (
        "refresh_storm",
        include_str!("../../../scenarios/refresh_storm.yaml"),
    ),
    (
        "revocation_lag",
        include_str!("../../../scenarios/revocation_lag.yaml"),
    ),
    (
        "session_over_refresh",
        include_str!("../../../scenarios/session_over_refresh.yaml"),
    ),
];

/// Those that plant in the embedded sandbox what they are about, and so run on it where no target is named.
const AT_HOME: [&str; 4] = [
    "token_expiry",
    "refresh_storm",
    "revocation_lag",
    "session_over_refresh",
];

/// Files to start from: name, what it is, text.
const TEMPLATES: [(&str, &str, &str); 8] = [
    (
        "mcp-oauth",
        "a small scenario for an MCP server with OAuth: three actors, two workflows, every part explained",
        include_str!("../../../scenarios/templates/mcp-oauth.yaml"),
    ),
    (
        "nextcloud",
        "the whole built-in scenario for Nextcloud's MCP server",
        include_str!("../../../scenarios/nextcloud.yaml"),
    ),
    (
        "integr8scode",
        "the whole built-in scenario for an HTTP API: users who register, cookies and CSRF tokens, event streams",
        include_str!("../../../scenarios/integr8scode.yaml"),
    ),
    (
        "permission-escalation",
        "one custom workflow for Nextcloud's MCP server, as an example of writing one's own",
        include_str!("../../../examples/permission_escalation.yaml"),
    ),
    (
        "token_expiry",
        "tokens that end in the middle of a workflow, and are renewed",
        include_str!("../../../scenarios/token_expiry.yaml"),
    ),
    (
        "refresh_storm",
        "everybody renews at once",
        include_str!("../../../scenarios/refresh_storm.yaml"),
    ),
    (
        "revocation_lag",
        "how long a revoked token still works",
        include_str!("../../../scenarios/revocation_lag.yaml"),
    ),
    (
        "session_over_refresh",
        "an MCP session, and calls in flight, while the token is exchanged",
        include_str!("../../../scenarios/session_over_refresh.yaml"),
    ),
];

/// The names of the built-in scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|(name, _)| *name)
}

/// Whether a built-in scenario runs on the embedded sandbox where no target is named.
pub fn is_at_home_in_the_sandbox(name: &str) -> bool {
    AT_HOME.contains(&name)
}

/// The text of a built-in scenario.
pub fn scenario(name: &str) -> Option<&'static str> {
    SCENARIOS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// The files to start from: name and what it is.
pub fn templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEMPLATES.iter().map(|(name, about, _)| (*name, *about))
}

/// The text of a file to start from.
pub fn template(name: &str) -> Option<&'static str> {
    TEMPLATES
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, _, text)| *text)
}
