//! A declared login as lines of bash and curl, for whoever wants to see a finding with his own eyes.
//!
//! Only what can be said in a few lines: requests whose placeholders are the user's own, and a token out of a JSON answer.

use std::fmt::Write as _;

use throng_client::DoubleSubmit;
use throng_identity::hooks::{Hook, HookAuth, HookBody, SaveFrom};
use throng_identity::provision::{Identity, LoginWay};
use throng_workflow::Scenario;
use throng_workflow::template::Template;
use url::Url;

/// The lines that open a session of a user: with the origin in `$URL`, the password in `$THRONG_PASSWORD`, cookies into
/// `$jar`, and a token, if there is one, into `authorization`. `None` where that takes more.
pub(super) fn login_script(
    login: &LoginWay,
    identity: &Identity,
    authorization: Option<&Template>,
    scenario: &Scenario,
) -> Option<String> {
    let LoginWay::Requests(requests) = login else {
        return None;
    };
    let origin = Url::parse(&scenario.target.url)
        .ok()?
        .origin()
        .ascii_serialization();
    let mut script = String::new();
    for (index, request) in requests.iter().enumerate() {
        // Before the first answer there is no cookie.
        let csrf = request.csrf.as_ref().filter(|_| index > 0);
        let command = command(request, csrf, identity, &origin)?;
        let _ = writeln!(script, "{command} > \"$jar.answer\"");
    }
    if let Some(template) = authorization {
        let saved = &requests.last()?.save;
        let text = template.fill(|name| {
            let name = name.strip_prefix("user.").unwrap_or(name);
            let (_, from) = saved.iter().find(|(saved, _)| saved == name)?;
            let SaveFrom::Path(path) = from else {
                return None;
            };
            let member = path.rsplit(['.', '/']).next()?;
            Some(format!(
                "$(grep -oE '\"{member}\" *: *\"[^\"]*\"' \"$jar.answer\" | head -n 1 | sed -E 's/^\"[^\"]*\" *: *\"//; s/\"$//')"
            ))
        });
        let _ = writeln!(script, "authorization=\"{}\"", text.ok()?);
    }
    Some(script)
}

fn command(
    request: &Hook,
    csrf: Option<&DoubleSubmit>,
    identity: &Identity,
    origin: &str,
) -> Option<String> {
    let url = request.url.strip_prefix(origin)?;
    let mut line = format!(
        "curl -sk -X {} -b \"$jar\" -c \"$jar\"",
        request.method.as_str()
    );
    if !shows_no_secret(request) {
        return None;
    }
    for (name, value) in &request.headers {
        if value == origin {
            let _ = write!(line, " -H \"{name}: $URL\"");
        } else {
            let header = format!("{name}: {value}");
            let _ = write!(line, " -H {}", quoted(&header, identity)?);
        }
    }
    if let HookAuth::Basic { user, password } = &request.auth {
        let both = shown("password", password).then(|| format!("{user}:{password}"))?;
        let _ = write!(line, " -u {}", quoted(&both, identity)?);
    }
    if let Some(csrf) = csrf {
        let _ = write!(
            line,
            " -H \"{}: $(awk -F'\\t' '$6 == \"{}\" {{ value = $7 }} END {{ print value }}' \"$jar\")\"",
            csrf.header, csrf.cookie
        );
    }
    match &request.body {
        HookBody::None => {}
        HookBody::Form(fields) => {
            for (name, value) in fields {
                let field = quoted(&format!("{name}={value}"), identity)?;
                let _ = write!(line, " --data-urlencode {field}");
            }
        }
        HookBody::Json(value) => {
            let _ = write!(
                line,
                " -H 'Content-Type: application/json' --data-binary {}",
                quoted(&value.to_string(), identity)?
            );
        }
    }
    let _ = write!(line, " \"$URL\"{}", quoted(url, identity)?);
    Some(line)
}

/// Whether all headers and all of the body of a declared request may stand in a script.
pub(crate) fn shows_no_secret(request: &Hook) -> bool {
    let mut headers = request.headers.iter();
    headers.all(|(name, value)| shown(name.as_str(), value))
        && match &request.body {
            HookBody::None => true,
            HookBody::Form(fields) => fields.iter().all(|(name, value)| shown(name, value)),
            HookBody::Json(value) => {
                let members = value.as_object().into_iter().flatten();
                let mut texts = members.filter_map(|(name, value)| Some((name, value.as_str()?)));
                texts.all(|(name, value)| shown(name, value))
            }
        }
}

/// Whether a value may stand in a script: one that is called a secret only where it's the user's own, which is filled in
/// when the script runs.
fn shown(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["secret", "token", "key", "pass", "auth", "cookie"];
    value.contains('{') || !secret.iter().any(|word| name.contains(word))
}

/// A template of the identity crate as a word of bash, the user's own filled in. `None` for placeholders that only an earlier
/// answer fills.
fn quoted(template: &str, identity: &Identity) -> Option<String> {
    let mut word = String::from("'");
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        word.push_str(&before.replace('\'', r"'\''"));
        let placeholder = after.split_once('}').filter(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        let Some((name, after)) = placeholder else {
            // A brace of JSON.
            word.push('{');
            rest = after;
            continue;
        };
        let n = identity.n.to_string();
        let value = match name {
            "name" => &identity.name,
            "display_name" => &identity.display_name,
            "email" => &identity.email,
            "n" => &n,
            "password" => {
                word.push_str("'\"$THRONG_PASSWORD\"'");
                rest = after;
                continue;
            }
            _ => return None,
        };
        word.push_str(&value.replace('\'', r"'\''"));
        rest = after;
    }
    word.push_str(&rest.replace('\'', r"'\''"));
    word.push('\'');
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_the_scenario_is_in_no_script() {
        assert!(shown("password", "{password}"));
        assert!(shown("grant_type", "password"));
        for (name, value) in [
            ("X-Api-Key", "k1"),
            ("client_secret", "s1"),
            ("Authorization", "Basic YQ=="),
        ] {
            assert!(!shown(name, value), "{name}");
        }
    }
}
