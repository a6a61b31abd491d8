//! Who the users are and how they log in: the keys that each kind needs, and the placeholders of declared requests: known
//! words, and what earlier requests saved.

use std::str::FromStr as _;

use ::http::HeaderName;

use crate::decode::Named;
use crate::http::Capture;
use crate::model::{Client, Login, LoginKind, Protocol, Request, Scenario, Subject, Via};
use crate::problem::{Mark, Problems};
use crate::template::{Placeholder, Template, is_name};

/// What a request knows of the places.
const PLACES: [&str; 4] = [
    "target.url",
    "target.origin",
    "directory.url",
    "directory.origin",
];
/// What it knows of its user.
pub(super) const USER: [&str; 4] = [
    "user.name",
    "user.display_name",
    "user.email",
    "user.password",
];

/// What each user has from the beginning. What a request saved under such a name would take its place: the user would log in as
/// somebody else, and a secret would be shown like a name.
const GIVEN: [&str; 5] = ["name", "display_name", "email", "password", "n"];

/// Reports what is missing, what does not belong there, and placeholders that nothing fills.
pub(super) fn check(scenario: &Scenario, problems: &mut Problems) {
    check_keys(&scenario.login, problems);
    if scenario.target.protocol == Protocol::Mcp
        && let Some(logout) = &scenario.login.logout
    {
        problems.add(
            logout.mark,
            "`logout` is for targets with `protocol: http`: an MCP session is ended by itself",
        );
    }
    let url = scenario.directory.as_ref().and_then(|d| d.url.as_ref());
    let has_address = url.is_some();
    let mut declared = Declared {
        has_address,
        saved: Vec::new(),
        problems,
    };
    if let Some(directory) = &scenario.directory {
        super::directory::check(directory, &mut declared);
    }
    declared.saved.clear();
    let login = &scenario.login;
    for named in &login.before {
        declared.check(&named.request, &USER);
    }
    for request in login.request.iter() {
        request.check_shape(request.mark, declared.problems);
        declared.check(request, &USER);
    }
    for page in login.page.iter() {
        declared.check_form(page, &login.fields, &USER);
    }
    for request in login.logged_in.iter() {
        request.check_shape(request.mark, declared.problems);
        declared.check(request, &USER);
        declared.nothing_saved(request);
    }
    for named in &login.after {
        declared.check(&named.request, &USER);
    }
    for request in login.logout.iter() {
        request.check_shape(request.mark, declared.problems);
        declared.check(request, &USER);
        declared.nothing_saved(request);
    }
}

fn check_keys(login: &Login, problems: &mut Problems) {
    let mut wants = Wants {
        mark: login.mark,
        what: "login",
        kind: login.kind.word(),
        problems,
    };
    let request = login.request.as_ref().map(|request| request.mark);
    let before = login.before.first().map(|named| named.name.mark);
    let page = login.page.as_ref().map(|page| page.mark);
    let fields = login.fields.0.first().map(|(name, _)| name.mark);
    let logged_in = login.logged_in.as_ref().map(|request| request.mark);
    let client = login.client.as_ref();
    let token = login.token.as_ref().map(|token| token.mark);
    let exchange = [
        ("via", login.via.as_ref().map(|via| via.mark)),
        (
            "subject",
            login.subject.as_ref().map(|subject| subject.mark),
        ),
        (
            "audience",
            login.audience.as_ref().map(|audience| audience.mark),
        ),
    ];
    let logout = login.logout.as_ref().map(|request| request.mark);
    if login.kind == LoginKind::Request {
        wants.needed("request", request);
    } else {
        wants.foreign("request", request);
        wants.foreign("before", before);
    }
    if login.kind == LoginKind::Form {
        wants.needed("page", page);
    } else {
        wants.foreign("page", page);
        wants.foreign("fields", fields);
        wants.foreign("logged_in", logged_in);
    }
    if !login.has_pages() {
        let selectors = login.selectors.as_ref().map(|selectors| selectors.mark);
        wants.foreign("driver", login.driver.map(|_| login.mark));
        wants.foreign("browser", login.browser.map(|_| login.mark));
        wants.foreign("selectors", selectors);
    }
    if matches!(
        login.kind,
        LoginKind::Request | LoginKind::Form | LoginKind::Bearer
    ) {
        wants.foreign("client", client.map(|client| client.mark));
    }
    if login.kind != LoginKind::Bearer {
        wants.foreign("token", token);
    }
    if login.kind != LoginKind::TokenExchange {
        for (key, mark) in exchange {
            wants.foreign(key, mark);
        }
    }
    if !matches!(login.kind, LoginKind::Request | LoginKind::Form) {
        wants.foreign("logout", logout);
    }
    if let Some(client) = client {
        check_client(client, login.kind == LoginKind::ClientCredentials, problems);
    }
    if let Some(subject) = &login.subject {
        let via = login.via.as_ref().map_or(Via::Exchange, |via| via.value);
        check_subject(subject, via, problems);
    }
}

fn check_client(client: &Client, has_credentials: bool, problems: &mut Problems) {
    let key = client.key.as_ref();
    if let Some(key) = key {
        if client.secret.is_some() {
            problems.add(key.mark, "a client has a `secret` or a `key`, not both");
        }
        if let Some(auth) = &client.auth {
            problems.add(
                auth.mark,
                "`auth` is for a `secret`: a `key` signs assertions",
            );
        }
        // What could not be read was told of.
        if !key.pem.expose().is_empty()
            && let Err(error) = client.proof()
        {
            problems.add(key.mark, error.to_string());
        }
        return;
    }
    let of_key = [
        client.key_id.as_ref().map(|at| ("key_id", at.mark)),
        client.algorithm.as_ref().map(|at| ("algorithm", at.mark)),
    ];
    for (name, mark) in of_key.into_iter().flatten() {
        problems.add(mark, format!("`{name}` is for a `key`, and there is none"));
    }
    if has_credentials && client.secret.is_none() && !problems.lost_between(client.mark, None) {
        problems.add_with_help(
            client.mark,
            "a client without credentials cannot ask for a token by them",
            "give its `secret`, better as `${NAME}`, or a `key`",
        );
    }
}

fn check_subject(subject: &Subject, via: Via, problems: &mut Problems) {
    if let Some(client) = &subject.client {
        check_client(client, false, problems);
        if subject.issuer.is_none() {
            problems.add(
                client.mark,
                "`subject.client` is for an `issuer` of its own: without one, `login.client` is the client",
            );
        }
    } else if let Some(issuer) = &subject.issuer
        && (subject.value.is_none() || via == Via::IdJag)
        && !problems.lost_between(subject.mark, None)
    {
        problems.add(
            issuer.mark,
            "an identity provider beside the target's own needs `subject.client`: a client that is registered there",
        );
    }
    if let Some(issuer) = &subject.issuer
        && !issuer.value.starts_with("http://")
        && !issuer.value.starts_with("https://")
    {
        problems.add(issuer.mark, "expected an http or https URL");
    }
}

/// The keys of one kind of a thing.
pub(super) struct Wants<'a> {
    pub(super) mark: Mark,
    pub(super) what: &'static str,
    pub(super) kind: &'static str,
    pub(super) problems: &'a mut Problems,
}

impl Wants<'_> {
    pub(super) fn needed(&mut self, key: &str, found: Option<Mark>) {
        if found.is_none() && !self.problems.lost_between(self.mark, None) {
            let (what, kind) = (self.what, self.kind);
            self.problems.add(
                self.mark,
                format!("a {what} of kind `{kind}` needs `{key}`"),
            );
        }
    }

    pub(super) fn foreign(&mut self, key: &str, found: Option<Mark>) {
        if let Some(mark) = found {
            let (what, kind) = (self.what, self.kind);
            self.problems
                .add(mark, format!("a {what} of kind `{kind}` has no `{key}`"));
        }
    }
}

/// Declared requests, in the order in which they are made.
pub(super) struct Declared<'a, 'p> {
    pub(super) has_address: bool,
    pub(super) saved: Vec<&'a str>,
    pub(super) problems: &'p mut Problems,
}

impl<'a> Declared<'a, '_> {
    pub(super) fn check(&mut self, request: &'a Request, user: &[&str]) {
        self.placeholders(placeholders(request).into_iter(), user);
        self.saves(request);
    }

    /// A form knows its user and the places; nothing was saved before it.
    pub(super) fn check_form(
        &mut self,
        page: &'a Template,
        fields: &'a Named<Template>,
        user: &[&str],
    ) {
        let fields = fields.0.iter().map(|(_, value)| value);
        let all = std::iter::once(page).chain(fields);
        self.placeholders(all.flat_map(|template| template.placeholders()), user);
    }

    /// Nothing comes after it that could use what it saves.
    pub(super) fn nothing_saved(&mut self, request: &Request) {
        if let Some((name, _)) = request.save.0.first() {
            self.problems
                .add(name.mark, "what this request saves is never used");
        }
    }

    pub(super) fn placeholders(
        &mut self,
        all: impl Iterator<Item = &'a Placeholder>,
        user: &[&str],
    ) {
        for placeholder in all {
            let name = placeholder.name();
            if matches!(name.as_str(), "directory.url" | "directory.origin") && !self.has_address {
                self.problems.add(
                    placeholder.mark,
                    format!("`{{{name}}}` needs a `directory` with a `url` in the file"),
                );
            }
            let known = user.iter().chain(&PLACES).chain(&self.saved).copied();
            if !known.clone().any(|word| word == name) {
                self.problems
                    .unknown(placeholder.mark, "placeholder", &name, known);
            }
        }
    }

    fn saves(&mut self, request: &'a Request) {
        for (name, from) in &request.save.0 {
            if !is_name(name) {
                self.problems.add(
                    name.mark,
                    format!("`{}` cannot be a variable: it is not a name", name.value),
                );
            }
            if GIVEN.contains(&name.as_str()) {
                self.problems.add_with_help(
                    name.mark,
                    format!("`{}` is what each user has already", name.value),
                    "save it under another name",
                );
            }
            match from {
                Capture::Path(path) if !path.template.is_literal() => {
                    self.problems
                        .add(path.template.mark, "a path here has no placeholders");
                }
                Capture::Header(header) if HeaderName::from_str(&header.value).is_err() => {
                    self.problems
                        .add(header.mark, format!("`{}` is no header name", header.value));
                }
                _ => {}
            }
            self.saved.push(name);
        }
    }
}

fn placeholders(request: &Request) -> Vec<&Placeholder> {
    let urls = [&request.get, &request.post, &request.put, &request.delete];
    let basic = request.basic.iter().flatten();
    let pairs = request
        .headers
        .0
        .iter()
        .chain(&request.form.0)
        .map(|(_, value)| value);
    let texts = urls.into_iter().flatten().chain(basic).chain(pairs);
    let json = request.json.iter().flat_map(|json| json.placeholders());
    texts
        .flat_map(|template| template.placeholders())
        .chain(json)
        .collect()
}
