//! What a scenario file may say of where its users are made and deleted.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::accounts::{Client, NamedRequest, Request};
use crate::decode::{At, Decode, Named, OneOrMany, record, words};
use crate::node::Node;
use crate::problem::{Mark, Problems};
use crate::scalar::{Pattern, SecretText};
use crate::template::Template;

words! {
    /// What creates and deletes the users.
    DirectoryKind {
        /// Nextcloud's user provisioning API (OCS).
        Nextcloud = "nextcloud",
        /// A SCIM 2.0 server (RFC 7644).
        Scim = "scim",
        /// A realm of a Keycloak, by its admin REST API.
        Keycloak = "keycloak",
        /// Requests declared here, as an administrator.
        Http = "http",
        /// A target where everybody may register, by a request declared here.
        Register = "http-register",
        /// None: the users are there already.
        None = "none",
    } default Nextcloud
}

impl DirectoryKind {
    /// Whether a user of it is made and deleted by requests that the file declares.
    pub fn is_declared(self) -> bool {
        matches!(self, Self::Http | Self::Register)
    }
}

record! {
    /// Where the users are created and deleted.
    Directory ("the directory") {
        /// What it is.
        "kind" kind: DirectoryKind;
        /// Where it is: with `kind: scim` its base URL; with `kind: http` what its paths are below, else the target.
        "url" url: Option<At<String>>;
        /// Name of an administrator.
        "admin" admin: Option<At<String>>;
        /// The administrator's password; better given as `${NAME}`.
        "password" password: Option<At<SecretText>>;
        /// With `kind: scim` or `http`: a bearer token instead of name and password; better given as `${NAME}`.
        "token" token: Option<At<SecretText>>;
        /// With `kind: keycloak`: the realm whose users are made.
        "realm" realm: Option<At<String>>;
        /// With `kind: keycloak`: the realm at which the administrator logs in; `master` when left out.
        "admin_realm" admin_realm: Option<At<String>>;
        /// With `kind: keycloak`: the client by which the administrator logs in, or, with a secret and without an administrator,
        /// the one that manages the users; `admin-cli` when left out.
        "client" client: Option<Client>;
        /// With `kind: scim` or `http`: requests that log the administrator in, made before the others and again after a 401; what
        /// they save, the others may use.
        "before" before: Vec<NamedRequest>;
        /// With `kind: scim` or `http`: headers of all other requests.
        "headers" headers: Named<Template>;
        /// With `kind: http-register`: the request that makes a user, or the page with the form that does.
        "register" register: Option<Registering>;
        /// With `kind: http`: the request that makes a user.
        "create" create: Option<Request>;
        /// With `kind: http` or `http-register`: the status, or statuses, by which the request says that there is such a user. With
        /// `users.password` that user is used, and not deleted; without, it is an error.
        "exists" exists: OneOrMany<u16>;
        /// With `kind: http` or `http-register`: a request that deletes a user; of the user it knows `{user.name}`, and `{user.id}`
        /// if the `list` tells it. Without it the users of a run stay, and are named in its report.
        "delete" delete: Option<Request>;
        /// With `kind: http`: the request that lists users.
        "list" list: Option<Listing>;
    }
}

record! {
    /// A request that lists users, and where in its answer they are. Its address knows `{search}` (what names begin with, or a
    /// whole name), and to be asked page by page `{page}` (from 1), `{offset}` (from 0) or `{start}` (from 1).
    Listing ("a list") {
        /// GET this URL.
        "get" get: Template;
        /// Headers.
        "headers" headers: Named<Template>;
        /// Where the list is in the answer; `$`, the answer itself, when left out.
        "users" users: Option<At<String>>;
        /// Where a user's name is in its element; `$`, the element itself, when left out.
        "name" name: Option<At<String>>;
        /// Where a user's id is in its element; then `delete` knows `{user.id}`.
        "id" id: Option<At<String>>;
        /// Whether names that differ in upper and lower case only are the same.
        "caseless" caseless: bool = false;
    }
}

impl Listing {
    /// The request.
    pub fn request(&self) -> Request {
        Request {
            mark: self.mark,
            get: Some(self.get.clone()),
            headers: self.headers.clone(),
            ..Request::default()
        }
    }
}

record! {
    /// A page with a form by which users register. The fields for name, mail address and password are found by what they are
    /// for.
    SignUp ("a registration form") {
        /// The page.
        "page" page: Template;
        /// What goes into which field, by the field's name.
        "fields" fields: Named<Template>;
        /// The page that comes back where there is such a user matches this. With `users.password` that user is used, and not
        /// deleted; without, it is an error.
        "exists" exists: Option<Pattern>;
    }
}

/// What makes a user: a request, or a form on a page.
#[derive(Clone, Debug)]
pub enum Registering {
    /// A request.
    Request(Box<Request>),
    /// A form.
    Form(SignUp),
}

impl Registering {
    /// Where it stands in the file.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Request(request) => request.mark,
            Self::Form(form) => form.mark,
        }
    }
}

impl Default for Registering {
    fn default() -> Self {
        Self::Request(Box::default())
    }
}

impl Decode for Registering {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match node.get("page") {
            Some(_) => Self::Form(SignUp::decode(node, problems)),
            None => Self::Request(Box::new(Request::decode(node, problems))),
        }
    }
}

impl JsonSchema for Registering {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Registering".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let request = generator.subschema_for::<Request>();
        let form = generator.subschema_for::<SignUp>();
        json_schema!({ "anyOf": [request, form] })
    }
}
