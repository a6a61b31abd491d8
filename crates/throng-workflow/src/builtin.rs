//! What is embedded in the binary: the built-in scenarios, and files to start from. What ships is what users copy and edit.

/// Scenarios that can be run by name.
const SCENARIOS: [(&str, &str); 2] = [
    (
        "nextcloud",
        include_str!("../../../scenarios/nextcloud.yaml"),
    ),
    (
        "integr8scode",
        include_str!("../../../scenarios/integr8scode.yaml"),
    ),
];

/// Files to start from: name, what it is, text.
const TEMPLATES: [(&str, &str, &str); 4] = [
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
];

/// The names of the built-in scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|(name, _)| *name)
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
