//! How a sandbox is started. Everything that may change while it runs is in [`Knobs`] instead.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::knobs::Knobs;
use crate::mcp::McpConfig;
use crate::scim::ScimConfig;
use crate::secret::{Secret, random_alphanumeric};

/// The configuration of a Nextcloud sandbox with its MCP server.
#[derive(Clone, Debug)]
pub struct NextcloudConfig {
    /// The address that both listeners bind.
    pub listen: IpAddr,
    /// The port of the Nextcloud (API and OpenID provider); 0 takes a free one.
    pub port: u16,
    /// The port of the MCP server; 0 takes a free one.
    pub mcp_port: u16,
    /// The origin under which clients reach the Nextcloud, where it is not `http://listen:port`
    /// (behind a proxy or a container). It is the issuer, too. No slash at the end.
    pub public_url: Option<String>,
    /// The origin under which clients reach the MCP server, likewise (without `/mcp`).
    pub mcp_public_url: Option<String>,
    /// Where the state is kept over restarts; `None` keeps it in memory.
    pub data: Option<PathBuf>,
    /// The administrator that exists from the start.
    pub admin: Admin,
    /// The trouble to plant from the start.
    pub knobs: Knobs,
    /// Whether a user is asked before a client gets a code (the `/apps/oidc/consent` page).
    pub consent: bool,
    /// Whether clients may register themselves (RFC 7591).
    pub dynamic_registration: bool,
    /// Registrations accepted per minute and client address; `None` lifts the limit.
    pub registrations_per_minute: Option<u32>,
    /// How many dynamically registered clients may exist at once.
    pub client_limit: usize,
    /// How long a dynamically registered client lives, in seconds.
    pub client_lifetime_s: u64,
    /// Clients that exist from the start and do not expire.
    pub clients: Vec<PreregisteredClient>,
    /// Whether wrong passwords slow the address that sent them down.
    pub throttle: bool,
    /// How the users' SCIM endpoint behaves.
    pub scim: ScimConfig,
    /// How the MCP server behaves.
    pub mcp: McpConfig,
    /// How many journal entries are kept; older ones are dropped and counted.
    pub journal_capacity: usize,
}

impl Default for NextcloudConfig {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            mcp_port: 0,
            public_url: None,
            mcp_public_url: None,
            data: None,
            admin: Admin::default(),
            knobs: Knobs::default(),
            consent: true,
            dynamic_registration: true,
            registrations_per_minute: Some(10),
            client_limit: 100,
            client_lifetime_s: 3600,
            clients: Vec::new(),
            throttle: true,
            scim: ScimConfig::default(),
            mcp: McpConfig::default(),
            journal_capacity: 1_000_000,
        }
    }
}

/// The administrator of a sandbox.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The user id.
    pub name: String,
    /// The login password.
    pub password: Secret,
}

impl Default for Admin {
    /// `admin` with a new random password.
    fn default() -> Self {
        Self {
            name: "admin".to_owned(),
            password: Secret::new(random_alphanumeric(24)),
        }
    }
}

/// An OAuth client that exists without having registered itself.
#[derive(Clone, Debug)]
pub struct PreregisteredClient {
    /// The client id.
    pub id: String,
    /// The client secret; `None` makes it a public client.
    pub secret: Option<Secret>,
    /// The redirect URIs that it may use, compared exactly (loopback ports excepted, RFC 8252).
    pub redirect_uris: Vec<String>,
    /// Whether its access tokens are JWTs even when no resource is asked for.
    pub jwt_access_tokens: bool,
}
