//! How a person gets the cookies that the printed requests are sent with.

use throng_identity::hooks::{Hook, HookAuth, HookBody};
use throng_workflow::Scenario;
use throng_workflow::model::LoginKind;

use super::show::quoted;
use crate::cli::fuzz::shows_no_secret;
use crate::cli::run::hooks::Places;

/// Where no line can be printed.
const LOGGED_IN: &str = "cookies.txt is that of a user who is logged in";

/// A comment on the printed requests: the login of a user as a line for the shell, where it is one declared request. The
/// password is taken from `$THRONG_PASSWORD`.
pub(super) fn script(scenario: &Scenario, user: &str) -> Option<String> {
    let login = &scenario.login;
    match (login.kind, &login.request) {
        (LoginKind::None, _) => None,
        (LoginKind::Request, Some(request)) if login.before.is_empty() => {
            let hook = Places::of(scenario).ok()?.hook("login", request).ok()?;
            Some(match curl(&hook, user) {
                Some(line) => format!("cookies.txt is made by: {line}"),
                None => LOGGED_IN.to_owned(),
            })
        }
        _ => Some(LOGGED_IN.to_owned()),
    }
}

/// `None` where a line would need a secret of the scenario's, or more than a line.
fn curl(hook: &Hook, user: &str) -> Option<String> {
    if !matches!(hook.auth, HookAuth::None) || !shows_no_secret(hook) {
        return None;
    }
    let mut line = format!("curl -sk -c cookies.txt -X {}", hook.method);
    for (name, value) in &hook.headers {
        line.push_str(&format!(
            " -H {}",
            filled(&format!("{name}: {value}"), user)
        ));
    }
    match &hook.body {
        HookBody::None => {}
        HookBody::Form(fields) => {
            for (name, value) in fields {
                line.push_str(&format!(
                    " --data-urlencode {}",
                    filled(&format!("{name}={value}"), user)
                ));
            }
        }
        HookBody::Json(value) => {
            let body = filled(&value.to_string(), user);
            line.push_str(&format!(
                " -H 'Content-Type: application/json' --data-binary {body}"
            ));
        }
    }
    line.push_str(&format!(" {}", filled(&hook.url, user)));
    Some(line)
}

/// A word of the shell with the user's name and password put in.
fn filled(template: &str, user: &str) -> String {
    let parts: Vec<String> = template
        .replace("{name}", user)
        .split("{password}")
        .map(quoted)
        .collect();
    parts.join("\"$THRONG_PASSWORD\"").replace("''", "")
}

#[cfg(test)]
mod tests {
    use throng_workflow::{Environment, Overrides, ScenarioFile};

    use super::*;

    #[test]
    fn a_key_of_the_scenarios_is_not_printed() {
        let shown = |request: &str| {
            let text = format!(
                "name: api\ntarget: {{ protocol: http, url: \"http://localhost:1\" }}\nlogin:\n  kind: request\n  request: {request}\n\
                 users: {{ password: hunter22 }}\nworkload: all\nworkloads: {{ all: {{ look: 1 }} }}\n\
                 workflows: {{ look: {{ actors: [a], steps: [ {{ see: {{ get: / }} }} ] }} }}\n"
            );
            let environment = Environment::new(&|_| None);
            let file = ScenarioFile::parse("api", &text, &Overrides::default(), &environment)
                .expect("a scenario");
            script(&file.scenario, "ann").expect("a line")
        };
        let plain = shown(
            "{ post: /login, form: { name: \"{user.name}\", password: \"{user.password}\" } }",
        );
        assert!(
            plain.contains("name=ann") && plain.contains("$THRONG_PASSWORD"),
            "{plain}"
        );
        for request in [
            "{ post: /login, headers: { X-Api-Key: k3y-of-mine }, form: { name: \"{user.name}\" } }",
            "{ post: /login, form: { name: \"{user.name}\", client_secret: k3y-of-mine } }",
        ] {
            assert_eq!(shown(request), LOGGED_IN);
        }
    }
}
