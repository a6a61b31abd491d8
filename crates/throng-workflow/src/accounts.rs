//! What a scenario file may say of how its users log in, and of the requests that this and their [directory](crate::directory) take.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

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
        /// One request, declared here; the cookies that its answer sets are the session.
        Request = "request",
        /// The form on a page; the cookies that come of it are the session.
        Form = "form",
        /// Not at all: the target asks nobody who he is. Users are names only, and nothing is created.
        None = "none",
    } default OAuth
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
        /// A client that is registered already.
        "client" client: Option<Client>;
        /// Requests that each user sends once after the login.
        "after" after: Vec<NamedRequest>;
        /// The request by which each user logs out at the end of the run.
        "logout" logout: Option<Request>;
    }
}

impl Login {
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
