//! The file's declared requests as the identity crate makes them: register, log in, what follows a login, delete.

use http::{HeaderName, Method};
use serde_json::Value;
use throng_client::DoubleSubmit;
use throng_identity::hooks::{Hook, HookAuth, HookBody, SaveFrom};
use throng_identity::login::FormPage;
use throng_workflow::decode::Named;
use throng_workflow::http::{Capture, Csrf};
use throng_workflow::model::{DirectoryKind, NamedRequest, Request, Scenario};
use throng_workflow::template::{JsonTemplate, Template};
use url::Url;

/// What is the same for all users.
pub(crate) struct Places<'a> {
    target: &'a str,
    /// Where a path is put.
    base: String,
    origin: String,
    directory: &'a str,
    directory_origin: String,
    csrf: Option<&'a Csrf>,
}

impl<'a> Places<'a> {
    /// Those of a scenario.
    ///
    /// # Errors
    /// If the target's URL is none.
    pub(crate) fn of(scenario: &'a Scenario) -> anyhow::Result<Self> {
        let directory = scenario.directory.as_ref();
        let directory = directory
            .and_then(|directory| directory.url.as_ref())
            .map_or("", |url| url.trim_end_matches('/'));
        Ok(Self {
            target: &scenario.target.url,
            base: scenario.target.base(),
            origin: Url::parse(&scenario.target.url)?
                .origin()
                .ascii_serialization(),
            directory,
            // The file's check has refused what is no address.
            directory_origin: Url::parse(directory)
                .map_or_else(|_| String::new(), |url| url.origin().ascii_serialization()),
            csrf: scenario.target.csrf.as_ref(),
        })
    }

    /// The same for requests of the directory: where that has an address of its own, paths are below it.
    ///
    /// # Errors
    /// If the target's URL is none.
    pub(crate) fn of_directory(scenario: &'a Scenario) -> anyhow::Result<Self> {
        let places = Self::of(scenario)?;
        let elsewhere = scenario.directory.as_ref();
        let elsewhere =
            elsewhere.is_some_and(|it| it.kind == DirectoryKind::Http && it.url.is_some());
        if !elsewhere {
            return Ok(places);
        }
        Ok(Self {
            base: places.directory.to_owned(),
            csrf: None,
            ..places
        })
    }

    /// Translates headers.
    ///
    /// # Errors
    /// An unknown placeholder.
    pub(crate) fn headers(
        &self,
        headers: &Named<Template>,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let headers = headers.0.iter();
        headers
            .map(|(name, value)| {
                let value = self.fill(value);
                let value = value
                    .map_err(|problem| anyhow::anyhow!("the header {}: {problem}", name.value))?;
                Ok((name.value.clone(), value))
            })
            .collect()
    }

    /// Translates requests that have names.
    ///
    /// # Errors
    /// An unknown placeholder, named with its request.
    pub(crate) fn hooks(&self, requests: &[NamedRequest]) -> anyhow::Result<Vec<Hook>> {
        requests
            .iter()
            .map(|named| self.hook(&named.name.value, &named.request))
            .collect()
    }

    /// Translates a request called `name`. An address that starts with `/` is one of the target.
    ///
    /// # Errors
    /// An unknown placeholder.
    pub(crate) fn hook(&self, name: &str, request: &Request) -> anyhow::Result<Hook> {
        let text = |template: &Template| {
            self.fill(template)
                .map_err(|problem| anyhow::anyhow!("the request {name}: {problem}"))
        };
        let (method, url) = request
            .target()
            .ok_or_else(|| anyhow::anyhow!("the request {name}: no URL"))?;
        let url = text(url)?;
        let csrf = self
            .csrf
            .filter(|csrf| url.starts_with('/') && csrf.covers(method));
        let mut headers = request
            .headers
            .0
            .iter()
            .map(|(name, value)| Ok((name.value.clone(), text(value)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let says_origin = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("origin"));
        if csrf.is_some() && !says_origin {
            headers.push(("Origin".to_owned(), self.origin.clone()));
        }
        let auth = match request.basic.as_deref() {
            Some([user, password]) => HookAuth::Basic {
                user: text(user)?,
                password: text(password)?,
            },
            _ => HookAuth::None,
        };
        Ok(Hook {
            name: name.to_owned(),
            method: Method::from_bytes(method.as_bytes())?,
            url: self.address(url),
            headers,
            auth,
            body: body(request, &text)?,
            expect: request.expect.0.clone(),
            save: request
                .save
                .0
                .iter()
                .map(|(name, from)| Ok((name.value.clone(), save_from(from, &text)?)))
                .collect::<anyhow::Result<_>>()?,
            csrf: csrf.map(|csrf| self.double_submit(csrf)).transpose()?,
        })
    }

    /// Translates the page of a form called `name`.
    ///
    /// # Errors
    /// An unknown placeholder.
    pub(crate) fn form(
        &self,
        name: &str,
        page: &Template,
        fields: &Named<Template>,
    ) -> anyhow::Result<FormPage> {
        let text = |template: &Template| {
            self.fill(template)
                .map_err(|problem| anyhow::anyhow!("the form {name}: {problem}"))
        };
        let fields = fields.0.iter();
        let fields = fields.map(|(field, value)| Ok((field.value.clone(), text(value)?)));
        Ok(FormPage {
            name: name.to_owned(),
            page: self.address(text(page)?),
            fields: fields.collect::<anyhow::Result<_>>()?,
        })
    }

    /// A path as an address of the target.
    fn address(&self, url: String) -> String {
        if url.starts_with('/') {
            format!("{}{url}", self.base)
        } else {
            url
        }
    }

    fn double_submit(&self, csrf: &Csrf) -> anyhow::Result<DoubleSubmit> {
        Ok(DoubleSubmit {
            cookie: csrf.cookie.clone(),
            header: HeaderName::from_bytes(csrf.header.as_bytes())?,
        })
    }

    /// Puts in what is the same for everybody; what differs by user stays a placeholder, in the identity crate's words.
    fn fill(&self, template: &Template) -> Result<String, String> {
        template
            .fill(|name| {
                Some(match name {
                    "target.url" => self.target.to_owned(),
                    "target.origin" => self.origin.clone(),
                    "directory.url" => self.directory.to_owned(),
                    "directory.origin" => self.directory_origin.clone(),
                    "directory.admin" => "{directory_admin}".to_owned(),
                    "directory.password" => "{directory_password}".to_owned(),
                    "directory.token" => "{directory_token}".to_owned(),
                    other => format!("{{{}}}", other.strip_prefix("user.").unwrap_or(other)),
                })
            })
            .map_err(|name| format!("nothing is known of {{{name}}}"))
    }
}

fn save_from(
    from: &Capture,
    text: &impl Fn(&Template) -> anyhow::Result<String>,
) -> anyhow::Result<SaveFrom> {
    Ok(match from {
        Capture::Path(path) => SaveFrom::Path(text(&path.template)?),
        Capture::Header(name) => SaveFrom::Header(HeaderName::from_bytes(name.as_bytes())?),
        Capture::Regex(regex) => SaveFrom::Regex(regex.0.clone()),
        Capture::Cookie(name) => SaveFrom::Cookie(name.value.clone()),
    })
}

fn body(
    request: &Request,
    text: &impl Fn(&Template) -> anyhow::Result<String>,
) -> anyhow::Result<HookBody> {
    if let Some(value) = &request.json {
        return Ok(HookBody::Json(json(value, text)?));
    }
    if request.form.0.is_empty() {
        return Ok(HookBody::None);
    }
    let fields = request
        .form
        .0
        .iter()
        .map(|(name, value)| Ok((name.value.clone(), text(value)?)));
    Ok(HookBody::Form(fields.collect::<anyhow::Result<_>>()?))
}

fn json(
    template: &JsonTemplate,
    text: &impl Fn(&Template) -> anyhow::Result<String>,
) -> anyhow::Result<Value> {
    Ok(match template {
        JsonTemplate::Null => Value::Null,
        JsonTemplate::Bool(value) => Value::Bool(*value),
        JsonTemplate::Number(number) => Value::Number(number.clone()),
        JsonTemplate::Text(template) => Value::String(text(template)?),
        JsonTemplate::List(items) => Value::Array(
            items
                .iter()
                .map(|item| json(item, text))
                .collect::<anyhow::Result<_>>()?,
        ),
        JsonTemplate::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Ok((key.value.clone(), json(value, text)?)))
                .collect::<anyhow::Result<_>>()?,
        ),
    })
}
