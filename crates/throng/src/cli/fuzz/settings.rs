//! What a scenario says of its monkeys, as the swarm's settings.

use anyhow::Context;
use http::{HeaderName, HeaderValue, Method};
use throng_client::DoubleSubmit;
use throng_fuzz::{Accepted, Check, CsrfRule, Document, Sending, Settings};
use throng_workflow::Scenario;
use throng_workflow::http::UNSAFE;
use url::Url;

use super::document::Found;

/// The settings of a swarm on a scenario's target. `origin` is the scenario's file or name, as it was asked for.
///
/// # Errors
/// If the target's URL or a header of it is none.
pub(crate) fn settings(
    scenario: &Scenario,
    origin: &str,
    found: &Found,
    seed: u64,
) -> anyhow::Result<Settings> {
    let monkey = &scenario.monkey;
    let mut settings = Settings::new(sending(scenario)?, seed);
    settings.baggage = scenario.target.baggage;
    settings.accept = monkey
        .accept
        .iter()
        .map(|accepted| {
            let check = accepted.check.map(|check| check.word().parse::<Check>());
            Ok(Accepted {
                check: check.transpose()?,
                operation: accepted.operation.as_ref().map(|name| name.value.clone()),
                status: accepted.status,
                reason: accepted.reason.clone(),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    settings.logout = monkey
        .logout
        .as_ref()
        .map(|name| name.value.clone())
        .or_else(|| declared_logout(scenario, &found.document));
    settings.skip = monkey.skip.iter().map(|name| name.value.clone()).collect();
    settings.probes = monkey.probes.as_ref().map(|probes| probes.value);
    settings.scenario = Some(origin.to_owned());
    settings.openapi = Some(found.source.clone());
    Ok(settings)
}

/// How requests go to a scenario's target.
fn sending(scenario: &Scenario) -> anyhow::Result<Sending> {
    let (target, monkey) = (&scenario.target, &scenario.monkey);
    let url = Url::parse(&target.url)?;
    let csrf = target
        .csrf
        .as_ref()
        .map(|csrf| {
            let methods: Vec<&str> = if csrf.methods.is_empty() {
                UNSAFE.to_vec()
            } else {
                csrf.methods.iter().map(|method| &*method.value).collect()
            };
            anyhow::Ok(CsrfRule {
                double_submit: DoubleSubmit {
                    cookie: csrf.cookie.clone(),
                    header: HeaderName::from_bytes(csrf.header.as_bytes())?,
                },
                methods: methods
                    .into_iter()
                    .map(|method| Ok(Method::from_bytes(method.as_bytes())?))
                    .collect::<anyhow::Result<_>>()?,
            })
        })
        .transpose()?;
    let headers = target.headers.0.iter().map(|(name, value)| {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        Ok((HeaderName::from_bytes(name.value.as_bytes())?, value))
    });
    Ok(Sending {
        origin: Url::parse(&url.origin().ascii_serialization())?,
        timeout: monkey.timeout.0,
        window: monkey.window.0,
        largest_body: usize::try_from(monkey.largest_answer.value)
            .context("monkey.largest_answer")?,
        csrf,
        headers: headers.collect::<anyhow::Result<_>>()?,
    })
}

/// The operation by which the scenario's users log out, if it's one of the document.
fn declared_logout(scenario: &Scenario, document: &Document) -> Option<String> {
    let (method, path) = scenario.login.logout.as_ref()?.target()?;
    let path = path.fill(|_| None).ok()?;
    let name = format!("{method} {path}");
    document.operation(&name).map(|found| found.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema's list of words that has this one.
    fn words_with<'a>(
        schema: &'a serde_json::Value,
        word: &str,
    ) -> Option<&'a Vec<serde_json::Value>> {
        match schema {
            serde_json::Value::Array(items) if items.iter().any(|item| item == word) => Some(items),
            serde_json::Value::Array(items) => items.iter().find_map(|item| words_with(item, word)),
            serde_json::Value::Object(members) => {
                members.values().find_map(|member| words_with(member, word))
            }
            _ => None,
        }
    }

    #[test]
    fn a_file_may_accept_every_check_and_no_other() {
        let schema = serde_json::to_value(throng_workflow::schema::schema()).expect("JSON");
        let words = words_with(&schema, "server_error").expect("the checks");
        let ids: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(*words, ids);
    }
}
