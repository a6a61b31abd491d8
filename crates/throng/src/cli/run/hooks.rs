//! The file's after-login requests as the identity crate runs them.

use http::Method;
use serde_json::Value;
use throng_identity::hooks::{Hook, HookAuth, HookBody};
use throng_workflow::model::{NamedRequest, Request, Scenario};
use throng_workflow::template::{JsonTemplate, Template};
use url::Url;

/// What is the same for all users.
struct Places<'a> {
    target: &'a str,
    origin: String,
    directory: &'a str,
}

/// Translates all requests of `login.after`.
///
/// # Errors
/// An unknown placeholder, named with its request.
pub(crate) fn translate(scenario: &Scenario) -> anyhow::Result<Vec<Hook>> {
    let target = Url::parse(&scenario.target.url)?;
    let places = Places {
        target: &scenario.target.url,
        origin: target.origin().ascii_serialization(),
        directory: scenario
            .directory
            .as_ref()
            .map_or("", |directory| directory.url.trim_end_matches('/')),
    };
    scenario
        .login
        .after
        .iter()
        .map(|request| hook(request, &places))
        .collect()
}

fn hook(named: &NamedRequest, places: &Places<'_>) -> anyhow::Result<Hook> {
    let request = &named.request;
    let text = |template: &Template| {
        places
            .fill(template)
            .map_err(|problem| anyhow::anyhow!("login.after.{}: {problem}", named.name.value))
    };
    let (method, url) = request
        .target()
        .ok_or_else(|| anyhow::anyhow!("login.after.{}: no URL", named.name.value))?;
    let auth = match request.basic.as_deref() {
        Some([user, password]) => HookAuth::Basic {
            user: text(user)?,
            password: text(password)?,
        },
        _ => HookAuth::None,
    };
    Ok(Hook {
        name: named.name.value.clone(),
        method: Method::from_bytes(method.as_bytes())?,
        url: text(url)?,
        headers: request
            .headers
            .0
            .iter()
            .map(|(name, value)| Ok((name.value.clone(), text(value)?)))
            .collect::<anyhow::Result<_>>()?,
        auth,
        body: body(request, &text)?,
        expect: request.expect.0.clone(),
        save: request
            .save
            .0
            .iter()
            .map(|(name, path)| Ok((name.value.clone(), text(&path.template)?)))
            .collect::<anyhow::Result<_>>()?,
    })
}

impl Places<'_> {
    /// Puts in what is the same for everybody; what differs by user stays a placeholder, in the identity crate's words.
    fn fill(&self, template: &Template) -> Result<String, String> {
        template
            .fill(|name| {
                Some(match name {
                    "target.url" => self.target.to_owned(),
                    "target.origin" => self.origin.clone(),
                    "directory.url" => self.directory.to_owned(),
                    other => format!("{{{}}}", other.strip_prefix("user.").unwrap_or(other)),
                })
            })
            .map_err(|name| format!("nothing is known of {{{name}}}"))
    }
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
