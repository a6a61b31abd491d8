//! How a person gets the cookies that the printed requests are sent with.

use throng_identity::hooks::{Hook, HookBody};
use throng_workflow::Scenario;
use throng_workflow::model::LoginKind;

use super::show::quoted;
use crate::cli::run::hooks::Places;

/// A comment on the printed requests: the login of a user as a line for the shell, where it is one declared request. The
/// password is taken from `$THRONG_PASSWORD`.
pub(super) fn script(scenario: &Scenario, user: &str) -> Option<String> {
    let login = &scenario.login;
    match (login.kind, &login.request) {
        (LoginKind::None, _) => None,
        (LoginKind::Request, Some(request)) if login.before.is_empty() => {
            let hook = Places::of(scenario).ok()?.hook("login", request).ok()?;
            Some(format!("cookies.txt is made by: {}", curl(&hook, user)?))
        }
        _ => Some("cookies.txt is that of a user who is logged in".to_owned()),
    }
}

fn curl(hook: &Hook, user: &str) -> Option<String> {
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
