//! What a scenario file may say of how its users log in, and of the requests that this and their [directory](crate::directory) take.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use throng_identity::Secret;
use throng_identity::assertion::{Algorithm, AssertionKey, AssertionKeyError};
use throng_identity::registration::{Proof, TokenAuth};

use crate::decode::{At, Decode, Named, OneOrMany, record, words};
use crate::http::Capture;
use crate::node::{Kind, Node};
use crate::problem::{Mark, Problems};
use crate::scalar::SecretText;
use crate::template::{JsonTemplate, Template};

words! {
    /// How users log in.
    LoginKind {
        /// OAuth 2 / OpenID Connect, found out from the target.
        OAuth = "oauth",
        /// OAuth 2 client credentials: one client for all users, or each user as a client of its own.
        ClientCredentials = "client_credentials",
        /// A token of each user's is exchanged for one to the target, enterprise-managed authorization included.
        TokenExchange = "token_exchange",
        /// A token that is there already: one for all users, or one for each.
        Bearer = "bearer",
        /// One request, declared here; the cookies that its answer sets are the session.
        Request = "request",
        /// The form on a page; the cookies that come of it are the session.
        Form = "form",
        /// Not at all: the target asks nobody who he is. Users are names only, and nothing is created.
        None = "none",
    } default OAuth
}

words! {
    /// Who passes the pages of a login.
    PageDriver {
        /// A browser, where plain HTTP can't get on.
        Auto = "auto",
        /// Plain HTTP: markup is read, and forms are sent.
        Http = "http",
        /// A browser.
        Browser = "browser",
    } default Auto
}

words! {
    /// A family of browsers.
    BrowserKind {
        /// Chromium or Google Chrome.
        Chromium = "chromium",
        /// Firefox.
        Firefox = "firefox",
        /// WebKitGTK's MiniBrowser.
        Webkit = "webkit",
    } default Chromium
}

record! {
    /// CSS selectors of what a browser doesn't find on the login's pages by what it means.
    PageSelectors ("selectors") {
        /// The field for the user's name.
        "user" user: Option<String>;
        /// The field for the password.
        "password" password: Option<String>;
        /// The button that sends them.
        "submit" submit: Option<String>;
        /// The button that consents.
        "consent" consent: Option<String>;
    }
}

record! {
    /// How the users log in.
    Login ("the login") {
        /// The way.
        "kind" kind: LoginKind = LoginKind::OAuth;
        /// With `kind: request`: the request, such as a form with name and password.
        "request" request: Option<Request>;
        /// With `kind: request`: requests sent before it, with the same cookies, such as one for a token that it needs.
        "before" before: Vec<NamedRequest>;
        /// With `kind: form`: the page with the login form.
        "page" page: Option<Template>;
        /// With `kind: form`: what goes into which field, by the field's name; others are found by what they are for.
        "fields" fields: Named<Template>;
        /// With `kind: form`: a request that succeeds only for whoever is logged in, such as one for his own profile.
        "logged_in" logged_in: Option<Request>;
        /// Scopes to ask for; else those that the target's challenge names, else all that it supports.
        "scopes" scopes: Option<Vec<String>>;
        /// A client that is registered already. With `kind: client_credentials` and without it, each user is a client of its own: its
        /// name is the id, its password the secret.
        "client" client: Option<Client>;
        /// With `kind: bearer`: the token, the same one for all users; without it each one has its own, by `users.from`.
        "token" token: Option<At<SecretText>>;
        /// With `kind: token_exchange`: how the user's token becomes one to the target.
        "via" via: Option<At<Via>>;
        /// With `kind: token_exchange`: the user's token, and where it comes from.
        "subject" subject: Option<Subject>;
        /// With `kind: token_exchange`: whom the token is asked for, beside the target itself.
        "audience" audience: Option<At<String>>;
        /// Where there are pages to log in on: who passes them; `auto` when left out, `browser` where one is named.
        "driver" driver: Option<PageDriver>;
        /// Where there are pages to log in on: the browser for it; any that is on the machine when left out.
        "browser" browser: Option<BrowserKind>;
        /// Where there are pages to log in on: what a browser would not find on them by what it means.
        "selectors" selectors: Option<PageSelectors>;
        /// Requests that each user sends once after the login.
        "after" after: Vec<NamedRequest>;
        /// The request by which each user logs out at the end of the run.
        "logout" logout: Option<Request>;
    }
}

impl Login {
    /// Whether there is a page in these logins, so that a browser may be of use.
    pub fn has_pages(&self) -> bool {
        match self.kind {
            LoginKind::OAuth | LoginKind::Form => true,
            // For the token that is exchanged, unless that is given.
            LoginKind::TokenExchange => {
                let subject = self.subject.as_ref();
                subject.is_none_or(|subject| subject.value.is_none())
            }
            LoginKind::ClientCredentials
            | LoginKind::Bearer
            | LoginKind::Request
            | LoginKind::None => false,
        }
    }

    /// The names of what its requests save, each once and in their order by bytes: what steps know of an actor, too.
    pub fn saved(&self) -> Vec<String> {
        let named = self.before.iter().chain(&self.after);
        let requests = named.map(|named| &named.request).chain(&self.request);
        let names = requests.flat_map(|request| request.save.names());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

record! {
    /// An OAuth client that is registered already.
    Client ("a client") {
        /// The client id, or the URL of a client-id metadata document.
        "id" id: String;
        /// The client secret.
        "secret" secret: Option<SecretText>;
        /// How the secret is sent; else as the authorization server says.
        "auth" auth: Option<At<SecretWay>>;
        /// In place of a secret, a private key to sign assertions with (`private_key_jwt`): a PEM file, relative to this one, or its
        /// text as `${NAME}`.
        "key" key: Option<PrivateKey>;
        /// By which name the authorization server knows that key.
        "key_id" key_id: Option<At<String>>;
        /// The algorithm to sign by; else the usual one of the key's kind.
        "algorithm" algorithm: Option<At<Signing>>;
    }
}

impl Client {
    /// How it proves who it is.
    ///
    /// # Errors
    /// If its key cannot sign, or not by its algorithm.
    pub fn proof(&self) -> Result<Proof, AssertionKeyError> {
        let Some(key) = &self.key else {
            let way = self.auth.as_ref().map(|way| match way.value {
                SecretWay::Basic => TokenAuth::Basic,
                SecretWay::Post => TokenAuth::Post,
            });
            let secret = self.secret.as_ref().map(|secret| secret.0.clone());
            return Ok(secret.map_or(Proof::Public, |secret| Proof::Secret(secret, way)));
        };
        let algorithm = self.algorithm.as_ref().map(|at| at.value.into());
        let key_id = self.key_id.as_ref().map(|id| id.value.as_str());
        let key = AssertionKey::from_pem(&key.pem, algorithm, key_id)?;
        Ok(Proof::Key(Arc::new(key)))
    }
}

words! {
    /// How a client's secret is sent.
    SecretWay {
        /// In the `Authorization` header (`client_secret_basic`).
        Basic = "basic",
        /// In the form (`client_secret_post`).
        Post = "post",
    } default Basic
}

words! {
    /// By what a client signs assertions.
    Signing {
        /// RSA, PKCS #1, SHA-256.
        Rs256 = "RS256",
        /// RSA, PKCS #1, SHA-384.
        Rs384 = "RS384",
        /// RSA, PKCS #1, SHA-512.
        Rs512 = "RS512",
        /// RSA, PSS, SHA-256.
        Ps256 = "PS256",
        /// RSA, PSS, SHA-384.
        Ps384 = "PS384",
        /// RSA, PSS, SHA-512.
        Ps512 = "PS512",
        /// P-256.
        Es256 = "ES256",
        /// P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    } default Es256
}

impl From<Signing> for Algorithm {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::Rs256 => Self::RS256,
            Signing::Rs384 => Self::RS384,
            Signing::Rs512 => Self::RS512,
            Signing::Ps256 => Self::PS256,
            Signing::Ps384 => Self::PS384,
            Signing::Ps512 => Self::PS512,
            Signing::Es256 => Self::ES256,
            Signing::Es384 => Self::ES384,
            Signing::EdDsa => Self::EdDSA,
        }
    }
}

/// The text of a private key. Whether it is one shows [`Client::proof`].
#[derive(Clone, Debug)]
pub struct PrivateKey {
    /// Where it stands in the file.
    pub mark: Mark,
    /// PEM; empty where its file could not be read.
    pub pem: Secret,
}

impl Default for PrivateKey {
    fn default() -> Self {
        Self {
            mark: Mark::default(),
            pem: Secret::new(""),
        }
    }
}

impl Decode for PrivateKey {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let given = SecretText::decode(node, problems).0;
        let text = given.expose();
        let pem = if text.trim_start().starts_with("-----BEGIN") {
            given
        } else if text.is_empty() {
            Secret::new("")
        } else {
            match std::fs::read_to_string(problems.directory().join(text)) {
                Ok(pem) => Secret::new(pem),
                Err(error) => {
                    // The text may be a key that begins otherwise: it is not shown.
                    let message = format!("cannot read the file of the private key: {error}");
                    let help = "`key` is the path of a PEM file, relative to this file, or the PEM text itself";
                    problems.add_with_help(node.mark, message, help);
                    Secret::new("")
                }
            }
        };
        Self {
            mark: node.mark,
            pem,
        }
    }
}

impl JsonSchema for PrivateKey {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "PrivateKey".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

words! {
    /// How a user's token becomes one to the target.
    Via {
        /// Exchanged at the target's authorization server (RFC 8693).
        Exchange = "exchange",
        /// Exchanged at the identity provider for an identity assertion, which the target's authorization server takes:
        /// enterprise-managed authorization (ID-JAG).
        IdJag = "id_jag",
        /// Presented to the target's authorization server as it is (RFC 7523).
        Assertion = "assertion",
    } default Exchange
}

words! {
    /// What a token is.
    SubjectToken {
        /// An id token of a login.
        IdToken = "id_token",
        /// An access token.
        AccessToken = "access_token",
        /// Some other JWT.
        Jwt = "jwt",
    } default IdToken
}

record! {
    /// The token that an exchange begins with: `value`, the same one for all users; else each user's own `token` of `users.from`;
    /// else that of a login at `issuer`.
    Subject ("a subject") {
        /// What it is.
        "token" token: SubjectToken = SubjectToken::IdToken;
        /// The token itself, the same one for all users.
        "value" value: Option<At<SecretText>>;
        /// The identity provider; the target's own authorization server when left out.
        "issuer" issuer: Option<At<String>>;
        /// The client at that identity provider.
        "client" client: Option<Client>;
        /// Scopes to ask for in the login there.
        "scopes" scopes: Option<Vec<String>>;
    }
}

record! {
    /// An HTTP request. Its templates know `{user.name}`, `{user.password}`, `{user.email}`, `{user.display_name}`,
    /// `{target.url}`, `{target.origin}`, `{directory.url}`, `{directory.origin}` and what earlier requests saved. An address that starts with `/` is
    /// one of the target, as in a step.
    Request ("a request") {
        /// GET this URL.
        "get" get: Option<Template>;
        /// POST to this URL.
        "post" post: Option<Template>;
        /// PUT to this URL.
        "put" put: Option<Template>;
        /// DELETE this URL.
        "delete" delete: Option<Template>;
        /// Name and password for Basic authentication.
        "basic" basic: Option<Vec<Template>>;
        /// Headers.
        "headers" headers: Named<Template>;
        /// A JSON body.
        "json" json: Option<JsonTemplate>;
        /// A form body.
        "form" form: Named<Template>;
        /// The status, or statuses, that mean success; any 2xx when left out.
        "expect" expect: OneOrMany<u16>;
        /// Values kept from the answer: name -> JSONPath, { header: NAME }, { regex: "...(group)..." } or { cookie: NAME }.
        "save" save: Named<Capture>;
    }
}

/// The method and URL of a [`Request`].
impl Request {
    /// The method and the template of the URL; `None` when the file does not have exactly one.
    pub fn target(&self) -> Option<(&'static str, &Template)> {
        let mut given = [
            ("GET", &self.get),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("DELETE", &self.delete),
        ]
        .into_iter()
        .filter_map(|(method, url)| url.as_ref().map(|url| (method, url)));
        match (given.next(), given.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }
}

impl Request {
    /// Reports what its keys cannot mean together; `mark` is where it stands.
    pub(crate) fn check_shape(&self, mark: Mark, problems: &mut Problems) {
        if self.target().is_none() {
            problems.add(
                mark,
                "a request needs exactly one of get, post, put, delete",
            );
        }
        if let Some(basic) = self.basic.as_ref().filter(|basic| basic.len() != 2) {
            let mark = basic.first().map_or(self.mark, |first| first.mark);
            problems.add(
                mark,
                format!("`basic` needs a name and a password, found {}", basic.len()),
            );
        }
    }
}

/// A request with a name, written as a map with one key.
#[derive(Clone, Debug, Default)]
pub struct NamedRequest {
    /// The name.
    pub name: At<String>,
    /// The request.
    pub request: Request,
}

impl Decode for NamedRequest {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Map(entries) if entries.len() == 1 => {
                let (name, body) = &entries[0];
                let request = Request::decode(body, problems);
                request.check_shape(name.mark, problems);
                Self {
                    name: name.into(),
                    request,
                }
            }
            _ => {
                problems.wrong_kind(node, "a request under its name: `- name: { get: ... }`");
                Self::default()
            }
        }
    }
}

impl JsonSchema for NamedRequest {
    fn schema_name() -> Cow<'static, str> {
        "NamedRequest".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let request = generator.subschema_for::<Request>();
        json_schema!({ "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": request })
    }
}
