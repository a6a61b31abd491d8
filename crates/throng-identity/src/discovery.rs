//! From the URL of an MCP server to the endpoints where its users log in.
//!
//! The way is that of the MCP authorization specification: the server's 401 names its protected-resource metadata (RFC 9728),
//! that names the authorization server, whose metadata (RFC 8414, OpenID Connect Discovery 1.0) names the endpoints. Nothing is
//! sent to those endpoints here.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use throng_client::{Client, TransportError};
use url::Url;

use crate::challenge::Challenge;
use crate::redact;
use crate::wire::{self, FetchError};

/// What tokens are to be got by, which decides what the authorization server has to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A user logs in and a code comes of it: needs an authorization endpoint and PKCE with S256.
    Code,
    /// Requests to the token endpoint alone: client credentials, token exchange, assertions.
    Direct,
}

/// Where and how the users of one resource are authorized.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The resource indicator for RFC 8707, exactly as the metadata writes it; none where tokens are not for a resource.
    pub resource: Option<String>,
    /// The authorization server's identifier, exactly as it writes it.
    pub issuer: String,
    /// Where users are sent; always there for [`Flow::Code`].
    pub authorization_endpoint: Option<Url>,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: Url,
    /// Where clients register (RFC 7591), if they may.
    pub registration_endpoint: Option<Url>,
    /// Where tokens are revoked (RFC 7009), if they can be.
    pub revocation_endpoint: Option<Url>,
    /// The keys that sign id tokens; only an OpenID provider has them.
    pub jwks_uri: Option<Url>,
    /// Scopes of the 401's challenge.
    pub challenged_scopes: Vec<String>,
    /// Scopes that the resource lists.
    pub resource_scopes: Vec<String>,
    /// Scopes that the authorization server lists.
    pub server_scopes: Vec<String>,
    /// The server promises `iss` in its authorization responses (RFC 9207), so a response without it is refused.
    pub promises_issuer: bool,
    /// A client may be named by the URL of its metadata document.
    pub accepts_metadata_documents: bool,
    /// How clients may authenticate at the token endpoint; empty means the default, `client_secret_basic`.
    pub token_auth_methods: Vec<String>,
}

/// Why the way to the login could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The MCP server could not be asked.
    #[error("cannot reach {url}: {source}")]
    Unreachable {
        /// The MCP URL.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
    /// The MCP server let an unauthenticated request in, or refused it for another reason, and publishes no metadata.
    #[error(
        "{url} answered {status} to a request without a token and has no protected-resource metadata; expected 401 (tried {tried})"
    )]
    NotProtected {
        /// The MCP URL.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// What was fetched and what came back.
        tried: String,
    },
    /// Neither the resource nor the authorization server is described anywhere.
    #[error("no metadata of {what} found (tried {tried}): is it up, and is that its address?")]
    NoMetadata {
        /// Whose metadata.
        what: String,
        /// What was fetched and what came back.
        tried: String,
    },
    /// A document that is there but wrong: looking further would hide it.
    #[error("{url}: {problem}")]
    Invalid {
        /// The document's address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// RFC 9728 section 2, as far as needed.
#[derive(Debug, Deserialize)]
struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

/// RFC 8414 section 2 and OpenID Connect Discovery 1.0 section 3, as far as needed.
#[derive(Debug, Deserialize)]
struct ServerMetadata {
    issuer: String,
    #[serde(default, deserialize_with = "wire::optional_url")]
    authorization_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "wire::optional_url")]
    token_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "wire::optional_url")]
    registration_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "wire::optional_url")]
    revocation_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "wire::optional_url")]
    jwks_uri: Option<Url>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    response_types_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// Finds out how users of the MCP server at `mcp_url` log in with a code. `timeout` is that of each request.
pub async fn discover(
    client: &Client,
    mcp_url: &Url,
    timeout: Duration,
) -> Result<Authorization, DiscoveryError> {
    discover_for(Flow::Code, client, mcp_url, timeout).await
}

/// Finds out where tokens for the MCP server at `mcp_url` come from. `timeout` is that of each request.
pub async fn discover_for(
    flow: Flow,
    client: &Client,
    mcp_url: &Url,
    timeout: Duration,
) -> Result<Authorization, DiscoveryError> {
    let (status, challenge) = probe(client, mcp_url, timeout).await?;
    let mut tried = Tried::default();
    let resource = resource_metadata(client, mcp_url, &challenge, timeout, &mut tried).await?;
    let Some((resource, found_at)) = resource else {
        if status != StatusCode::UNAUTHORIZED {
            return Err(DiscoveryError::NotProtected {
                url: redact::url(mcp_url),
                status,
                tried: tried.to_string(),
            });
        }
        // Servers of the specification of 2025-03-26 are their own authorization server and have no resource metadata.
        let own = origin(mcp_url);
        let server = server_metadata(client, &own, timeout, &mut tried).await?;
        let no_metadata = || DiscoveryError::NoMetadata {
            what: redact::url(mcp_url),
            tried: tried.to_string(),
        };
        let (server, at) = server.ok_or_else(no_metadata)?;
        return authorization(
            flow,
            Some(mcp_url.to_string()),
            Vec::new(),
            challenge.scope,
            server,
            &at,
        );
    };
    check_resource(&resource.resource, mcp_url, &found_at)?;
    if resource.authorization_servers.is_empty() {
        return Err(invalid(
            &found_at,
            "lists no authorization_servers".to_owned(),
        ));
    }
    for issuer in &resource.authorization_servers {
        if let Some((server, at)) = server_metadata(client, issuer, timeout, &mut tried).await? {
            return authorization(
                flow,
                Some(resource.resource),
                resource.scopes_supported,
                challenge.scope,
                server,
                &at,
            );
        }
    }
    let what = format!(
        "authorization server {}",
        resource.authorization_servers.join(", ")
    );
    Err(DiscoveryError::NoMetadata {
        what,
        tried: tried.to_string(),
    })
}

/// Reads the metadata of a known authorization server, for a resource that does not name it itself. `resource` is the indicator
/// that tokens are asked for with, if any.
pub async fn discover_issuer(
    flow: Flow,
    client: &Client,
    issuer: &str,
    resource: Option<&str>,
    timeout: Duration,
) -> Result<Authorization, DiscoveryError> {
    let mut tried = Tried::default();
    match server_metadata(client, issuer, timeout, &mut tried).await? {
        Some((server, at)) => {
            let resource = resource.map(str::to_owned);
            authorization(flow, resource, Vec::new(), Vec::new(), server, &at)
        }
        None => Err(DiscoveryError::NoMetadata {
            what: format!("authorization server {issuer}"),
            tried: tried.to_string(),
        }),
    }
}

/// Asks the MCP server for something without a token. `ping` changes nothing on a server that lets us in after all.
async fn probe(
    client: &Client,
    url: &Url,
    timeout: Duration,
) -> Result<(StatusCode, Challenge), DiscoveryError> {
    let builder = wire::request(Method::POST, url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream");
    let request = wire::finish(
        builder,
        Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
    );
    let open =
        client
            .open(request, timeout)
            .await
            .map_err(|source| DiscoveryError::Unreachable {
                url: redact::url(url),
                source,
            })?;
    // Only the head counts, and a body that streams on for ever is not waited for.
    Ok((
        open.status,
        Challenge::from_headers(&open.headers).unwrap_or_default(),
    ))
}

async fn resource_metadata(
    client: &Client,
    mcp_url: &Url,
    challenge: &Challenge,
    timeout: Duration,
    tried: &mut Tried,
) -> Result<Option<(ResourceMetadata, Url)>, DiscoveryError> {
    let mut candidates = Vec::new();
    if let Some(named) = &challenge.resource_metadata {
        let url = mcp_url.join(named).map_err(|error| {
            invalid(
                mcp_url,
                format!("the challenge's resource_metadata {named:?} is no URL: {error}"),
            )
        })?;
        candidates.push(url);
    } else {
        let root = well_known(mcp_url, "oauth-protected-resource", "");
        let path = mcp_url.path().trim_end_matches('/');
        if !path.is_empty() {
            candidates.push(well_known(mcp_url, "oauth-protected-resource", path));
        }
        candidates.push(root);
    }
    for url in candidates {
        if let Some(found) = document(client, &url, timeout, tried).await? {
            return Ok(Some((found, url)));
        }
    }
    Ok(None)
}

async fn server_metadata(
    client: &Client,
    issuer: &str,
    timeout: Duration,
    tried: &mut Tried,
) -> Result<Option<(ServerMetadata, Url)>, DiscoveryError> {
    let base = Url::parse(issuer)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(base) = base else {
        return Err(DiscoveryError::NoMetadata {
            what: format!("authorization server {issuer:?}"),
            tried: "nothing: it is no http(s) URL".to_owned(),
        });
    };
    for url in server_candidates(&base) {
        let Some(found) = document::<ServerMetadata>(client, &url, timeout, tried).await? else {
            continue;
        };
        if found.issuer != issuer {
            let problem = format!(
                "its issuer is {:?}, expected exactly {issuer:?}, under which it was looked up (RFC 8414 section 3.3): the target and the server must name the same issuer",
                found.issuer
            );
            return Err(invalid(&url, problem));
        }
        return Ok(Some((found, url)));
    }
    Ok(None)
}

/// Where the metadata of an authorization server may be, in the order of the MCP specification.
fn server_candidates(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut candidates = vec![
        well_known(issuer, "oauth-authorization-server", path),
        well_known(issuer, "openid-configuration", path),
    ];
    if !path.is_empty() {
        let mut appended = issuer.clone();
        appended.set_path(&format!("{path}/.well-known/openid-configuration"));
        candidates.push(appended);
    }
    candidates
}

/// `/.well-known/NAME/path` on the URL's origin.
fn well_known(url: &Url, name: &str, path: &str) -> Url {
    let mut at = url.clone();
    at.set_query(None);
    at.set_fragment(None);
    at.set_path(&format!("/.well-known/{name}{path}"));
    at
}

/// Fetches a metadata document; nothing where there is none.
async fn document<T: DeserializeOwned>(
    client: &Client,
    url: &Url,
    timeout: Duration,
    tried: &mut Tried,
) -> Result<Option<T>, DiscoveryError> {
    let exchange = match wire::fetch(client, url, timeout).await {
        Ok((exchange, _)) => exchange,
        Err(
            error @ (FetchError::Transport { .. }
            | FetchError::Location { .. }
            | FetchError::Redirects { .. }),
        ) => {
            tried.add(url, error.to_string());
            return Ok(None);
        }
    };
    if !exchange.status.is_success() {
        tried.add(url, exchange.status.to_string());
        return Ok(None);
    }
    match serde_json::from_slice(&exchange.body) {
        Ok(found) => Ok(Some(found)),
        // A page for people at an address that the server does not know: as good as 404.
        Err(_) if exchange.body.trim_ascii_start().first() != Some(&b'{') => {
            tried.add(url, format!("{} but no JSON", exchange.status));
            Ok(None)
        }
        Err(error) => Err(invalid(url, format!("not the metadata expected: {error}"))),
    }
}

fn authorization(
    flow: Flow,
    resource: Option<String>,
    resource_scopes: Vec<String>,
    challenged_scopes: Vec<String>,
    server: ServerMetadata,
    at: &Url,
) -> Result<Authorization, DiscoveryError> {
    if flow == Flow::Code {
        check_code_flow(&server, at)?;
    }
    Ok(Authorization {
        resource,
        authorization_endpoint: server.authorization_endpoint,
        token_endpoint: server
            .token_endpoint
            .ok_or_else(|| invalid(at, "has no token_endpoint".to_owned()))?,
        issuer: server.issuer,
        registration_endpoint: server.registration_endpoint,
        revocation_endpoint: server.revocation_endpoint,
        jwks_uri: server.jwks_uri,
        challenged_scopes,
        resource_scopes,
        server_scopes: server.scopes_supported,
        promises_issuer: server.authorization_response_iss_parameter_supported,
        accepts_metadata_documents: server.client_id_metadata_document_supported,
        token_auth_methods: server.token_endpoint_auth_methods_supported,
    })
}

/// What logging a user in for a code takes.
fn check_code_flow(server: &ServerMetadata, at: &Url) -> Result<(), DiscoveryError> {
    if server.authorization_endpoint.is_none() {
        return Err(invalid(at, "has no authorization_endpoint".to_owned()));
    }
    if server.code_challenge_methods_supported.is_empty() {
        let problem = "has no code_challenge_methods_supported: the server does not say that it checks PKCE, which is demanded";
        return Err(invalid(at, problem.to_owned()));
    }
    if !server
        .code_challenge_methods_supported
        .iter()
        .any(|method| method == "S256")
    {
        let offered = server.code_challenge_methods_supported.join(", ");
        return Err(invalid(
            at,
            format!("offers the PKCE methods {offered}; S256 is demanded"),
        ));
    }
    if server
        .response_types_supported
        .as_ref()
        .is_some_and(|types| !types.iter().any(|t| t == "code"))
    {
        return Err(invalid(
            at,
            "does not support the response type code".to_owned(),
        ));
    }
    Ok(())
}

/// The described resource must be the one we talk to, or one that contains it on the same origin; else its tokens would be
/// meant for somebody else (RFC 9728 section 3.3 and 7.3).
fn check_resource(resource: &str, mcp_url: &Url, at: &Url) -> Result<(), DiscoveryError> {
    let described = Url::parse(resource)
        .map_err(|error| invalid(at, format!("its resource {resource:?} is no URL: {error}")))?;
    if covers(&described, mcp_url) {
        return Ok(());
    }
    let problem = format!(
        "describes the resource {resource}, but the MCP server is addressed as {} (use the address under which the server knows itself)",
        redact::url(mcp_url)
    );
    Err(invalid(at, problem))
}

/// Whether one resource is another or contains it.
pub(crate) fn covers(outer: &Url, inner: &Url) -> bool {
    let path = outer.path().trim_end_matches('/');
    let rest = inner.path().trim_end_matches('/').strip_prefix(path);
    outer.origin() == inner.origin()
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        && outer.query().is_none_or(|q| Some(q) == inner.query())
}

fn invalid(url: &Url, problem: String) -> DiscoveryError {
    DiscoveryError::Invalid {
        url: redact::url(url),
        problem,
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What was fetched, for the error that says that nothing was found.
#[derive(Debug, Default)]
struct Tried(Vec<String>);

impl Tried {
    fn add(&mut self, url: &Url, outcome: String) {
        let url = redact::url(url);
        // Errors of transport name the URL themselves.
        self.0.push(if outcome.contains(&url) {
            outcome
        } else {
            format!("{url}: {outcome}")
        });
    }
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_addresses_are_in_the_order_of_the_specification() {
        let at = |issuer: &str| -> Vec<String> {
            server_candidates(&Url::parse(issuer).unwrap())
                .into_iter()
                .map(String::from)
                .collect()
        };
        assert_eq!(
            at("https://as.test"),
            [
                "https://as.test/.well-known/oauth-authorization-server",
                "https://as.test/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            at("https://as.test/realms/x"),
            [
                "https://as.test/.well-known/oauth-authorization-server/realms/x",
                "https://as.test/.well-known/openid-configuration/realms/x",
                "https://as.test/realms/x/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn the_resource_must_cover_the_mcp_url() {
        let mcp = Url::parse("http://h:8001/a/mcp").unwrap();
        for good in [
            "http://h:8001/a/mcp",
            "http://h:8001/a/mcp/",
            "http://h:8001/a",
            "http://h:8001",
            "http://h:8001/",
        ] {
            assert!(check_resource(good, &mcp, &mcp).is_ok(), "{good}");
        }
        for bad in [
            "http://h:8002/a/mcp",
            "https://h:8001/a/mcp",
            "http://h:8001/a/mc",
            "http://h:8001/b",
            "http://x:8001/",
            "mcp",
        ] {
            assert!(check_resource(bad, &mcp, &mcp).is_err(), "{bad}");
        }
    }
}
