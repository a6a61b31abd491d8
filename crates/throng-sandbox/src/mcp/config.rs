//! How the MCP server of a sandbox behaves.

use crate::issuer::IssuerConfig;

/// The configuration of a sandbox's MCP server. The default is what the real server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpConfig {
    /// Who may call it.
    pub auth: McpAuth,
    /// Whether tools of Nextcloud need an app password that the user has provisioned
    /// (`POST /api/v1/users/{uid}/app-password`). It never applies to an open server, nor to users of an outside issuer, who have no
    /// password here to make one with.
    pub require_app_password: bool,
    /// Whether a tool call by a user without an app password sends `elicitation/create` and waits for the answer without limit,
    /// even if the client never said that it can be asked: the real server's trap. Off, the call fails at once.
    pub elicit_app_password: bool,
    /// How a token without a tool's scope is refused.
    pub scope_errors: ScopeErrors,
    /// Whether the fixture tools, resources and prompts of the conformance suite are there, too.
    pub fixtures: bool,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            auth: McpAuth::OAuth,
            require_app_password: true,
            elicit_app_password: false,
            scope_errors: ScopeErrors::ToolError,
            fixtures: false,
        }
    }
}

/// Who may call the MCP server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum McpAuth {
    /// Holders of an access token of the sandbox's OpenID provider, issued for the MCP server.
    #[default]
    OAuth,
    /// Holders of an access token of an OpenID provider outside the sandbox. Its users get an account at first sight.
    Outside(IssuerConfig),
    /// Anybody; all calls are made as this user, which is created at the start if it does not exist.
    Open {
        /// The user's id.
        user: String,
    },
}

/// How a token without a tool's scope is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeErrors {
    /// A tool result with `isError` in an HTTP 200, as the real server does.
    #[default]
    ToolError,
    /// HTTP 403 with `error="insufficient_scope"`, as the MCP specification has it: a client can step up.
    Forbidden,
}
