//! A login as lines of bash and curl, for whoever wants to see a finding with his own eyes. The scripts of monkeys and those of
//! properties have it in common.
//!
//! Only what can be said in a few lines: requests whose placeholders are the user's own or what an earlier one saved, and forms on
//! a page of their own. Who goes by a token that a browser's walk brings is asked for one.

use std::fmt::Write as _;

use throng_client::DoubleSubmit;
use throng_fuzz::shell::{self, Piece, joined, quoted, word};
use throng_identity::hooks::{Hook, HookAuth, HookBody, SaveFrom};
use throng_identity::login::FormLogin;
use throng_identity::provision::{Identity, LoginWay};
use throng_workflow::Scenario;
use throng_workflow::template::Template;
use url::Url;

/// The lines that open a session of a user: with the origin in `$URL`, the password in `$THRONG_PASSWORD`, cookies into
/// `$jar` (where the users have not `one_password`, each has a variable of his own), what the requests save into `saved_...`, and a token, if there is one, into `authorization`. `None` where that takes
/// more.
pub(super) fn login_script(
    login: Option<&LoginWay>,
    identity: &Identity,
    authorization: Option<&Template>,
    scenario: &Scenario,
    one_password: bool,
) -> Option<String> {
    let origin = Url::parse(&scenario.target.url)
        .ok()?
        .origin()
        .ascii_serialization();
    let place = Place {
        identity,
        origin: &origin,
        password: match one_password {
            true => "${THRONG_PASSWORD}".to_owned(),
            false => {
                let (number, name) = (identity.n, plain(&identity.name));
                format!("${{THRONG_PASSWORD_{number}:?the password of {name}}}")
            }
        },
    };
    let mut script = match login {
        Some(LoginWay::Requests(requests)) => place.requests(requests)?,
        Some(LoginWay::Form(form)) => place.form(form)?,
        // The walk through a provider's pages takes more than lines of bash.
        _ if identity.tokens.is_some() => return Some(place.token()),
        _ => return None,
    };
    if let Some(template) = authorization {
        let mut saved = String::new();
        let text = template.fill(|name| {
            let name = name.strip_prefix("user.").unwrap_or(name);
            let variable = variable(name);
            script
                .contains(&format!("\n{variable}="))
                .then(|| format!("${{{variable}}}"))
        });
        let _ = writeln!(saved, "authorization=\"{}\"", text.ok()?);
        script.push_str(&saved);
    }
    Some(script)
}

/// The variable that holds what a request of a login saved.
pub(crate) fn variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("saved_{}", name.chars().map(plain).collect::<String>())
}

/// Whose login it is, and where.
struct Place<'a> {
    identity: &'a Identity,
    origin: &'a str,
    /// What bash puts in for it.
    password: String,
}

/// A name as it may stand in a message of bash's.
fn plain(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "_.-@".contains(*c);
    name.chars().filter(plain).collect()
}

impl Place<'_> {
    fn requests(&self, requests: &[Hook]) -> Option<String> {
        let mut script = String::new();
        let mut saved: Vec<&str> = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            // Before the first answer there is no cookie.
            let csrf = request.csrf.as_ref().filter(|_| index > 0);
            let command = self.command(request, csrf, &saved)?;
            let _ = writeln!(script, "{command} {}", self.or_end(request));
            for (name, from) in &request.save {
                let found = found(from)?;
                let _ = writeln!(script, "{}={found}", variable(name));
                saved.push(name);
            }
        }
        Some(script)
    }

    /// What happens where a login fails: nothing that follows would show anything.
    fn or_end(&self, request: &Hook) -> String {
        match request.expect.iter().any(|status| *status >= 400) {
            true => "> \"$jar.answer\"".to_owned(),
            false => format!("-f > \"$jar.answer\" || {}", self.end()),
        }
    }

    fn end(&self) -> String {
        let words = format!("cannot log in as {}", self.identity.name);
        format!("{{ echo {} >&2; exit 1; }}", quoted(&words))
    }

    fn token(&self) -> String {
        let (number, name) = (self.identity.n, plain(&self.identity.name));
        format!("authorization=\"Bearer ${{THRONG_TOKEN_{number}:?an access token of {name}}}\"\n")
    }

    fn command(
        &self,
        request: &Hook,
        csrf: Option<&DoubleSubmit>,
        saved: &[&str],
    ) -> Option<String> {
        let url = request.url.strip_prefix(self.origin)?;
        if !shows_no_secret(request) {
            return None;
        }
        let mut line = format!(
            "curl -sk -X {} -b \"$jar\" -c \"$jar\"",
            request.method.as_str()
        );
        let mut saves = request.save.iter();
        if saves.any(|(_, from)| matches!(from, SaveFrom::Header(_))) {
            line.push_str(" -D \"$jar.head\"");
        }
        for (name, value) in &request.headers {
            let value = match value == self.origin {
                true => vec![Piece::expansion("${URL}")],
                false => self.filled(value, saved)?,
            };
            let _ = write!(line, " {}", shell::header(name, &value));
        }
        if let HookAuth::Basic { user, password } = &request.auth {
            let both = shown("password", password).then(|| format!("{user}:{password}"))?;
            let _ = write!(line, " -u {}", joined(&self.filled(&both, saved)?));
        } else if !matches!(request.auth, HookAuth::None) {
            return None;
        }
        if let Some(csrf) = csrf {
            let token = Piece::expansion(format!("$({})", of_jar(&csrf.cookie)));
            let _ = write!(line, " {}", shell::header(csrf.header.as_str(), &[token]));
        }
        match &request.body {
            HookBody::None => {}
            HookBody::Form(fields) => {
                for (name, value) in fields {
                    let field = self.filled(&format!("{name}={value}"), saved)?;
                    let _ = write!(line, " --data-urlencode {}", joined(&field));
                }
            }
            HookBody::Json(value) => {
                let _ = write!(
                    line,
                    " -H 'Content-Type: application/json' --data-binary {}",
                    joined(&self.filled(&value.to_string(), saved)?)
                );
            }
        }
        let mut address = vec![Piece::expansion("${URL}")];
        address.extend(self.filled(url, saved)?);
        let _ = write!(line, " {}", shell::in_double_quotes(&address));
        Some(line)
    }

    /// The form of a page: its hidden fields are sent as they come, and what the scenario doesn't name is found by its kind.
    /// None where curl would not find the form: users log in by a browser.
    fn form(&self, login: &FormLogin) -> Option<String> {
        if login.driver.is_by_browser() {
            return None;
        }
        let page = login.form.page.strip_prefix(self.origin)?;
        let mut address = vec![Piece::expansion("${URL}")];
        address.extend(self.filled(page, &[])?);
        let mut script = format!(
            "page=$(curl -sk -L -b \"$jar\" -c \"$jar\" -w '\\n%{{url_effective}}' {}); at=${{page##*$'\\n'}}\n{FORM}",
            shell::in_double_quotes(&address)
        );
        let named = &login.form.fields;
        let holds = |placeholder: &str| named.iter().any(|(_, value)| value.contains(placeholder));
        if !holds("{password}") {
            let _ = writeln!(
                script,
                "fields+=(--data-urlencode \"$(inputs | grep -iE 'type *= *.?password' | head -n 1 | attribute name)={}\")",
                self.password
            );
        }
        if !holds("{name}") && !holds("{email}") {
            let name = joined(&[Piece::text(&self.identity.name)]);
            let _ = writeln!(
                script,
                "fields+=(--data-urlencode \"$(inputs | grep -iEv 'type *= *.?(hidden|password|submit|checkbox|radio|button|image|reset)' | head -n 1 | attribute name)=\"{name})"
            );
        }
        for (name, value) in named {
            if !shown(name, value) {
                return None;
            }
            let field = joined(&self.filled(&format!("{name}={value}"), &[])?);
            let _ = writeln!(script, "fields+=(--data-urlencode {field})");
        }
        let end = self.end();
        let _ = writeln!(
            script,
            "curl -sk -L -f -b \"$jar\" -c \"$jar\" -e \"$at\" -o \"$jar.answer\" \"${{fields[@]}}\" \"$action\" || {end}"
        );
        if let Some(probe) = &login.logged_in
            && let Some(command) = self.command(probe, None, &[])
        {
            let _ = writeln!(script, "{command} {}", self.or_end(probe));
        }
        Some(script)
    }

    /// A template of the identity crate with the user's own filled in. `None` for placeholders that nothing fills.
    fn filled(&self, template: &str, saved: &[&str]) -> Option<Vec<Piece>> {
        let mut pieces = vec![];
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let placeholder = after.split_once('}').filter(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            let Some((name, after)) = placeholder else {
                // A brace of JSON.
                text.push('{');
                rest = after;
                continue;
            };
            rest = after;
            let expansion = match name {
                "name" => {
                    text.push_str(&self.identity.name);
                    continue;
                }
                "display_name" => {
                    text.push_str(&self.identity.display_name);
                    continue;
                }
                "email" => {
                    text.push_str(&self.identity.email);
                    continue;
                }
                "n" => {
                    text.push_str(&self.identity.n.to_string());
                    continue;
                }
                "password" => self.password.clone(),
                name if saved.contains(&name) => format!("${{{}}}", variable(name)),
                _ => return None,
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Expansion(expansion));
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Some(pieces)
    }
}

/// A cookie of `$jar`.
fn of_jar(cookie: &str) -> String {
    format!(
        "awk -F'\\t' -v name={} '$6 == name {{ value = $7 }} END {{ print value }}' \"$jar\"",
        word(cookie)
    )
}

/// What an answer gave, as an expansion. `None` where it is found by what bash has not.
fn found(from: &SaveFrom) -> Option<String> {
    Some(match from {
        SaveFrom::Path(path) => {
            let member = path.rsplit(['.', '/']).next()?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if member.is_empty() || !member.chars().all(plain) {
                return None;
            }
            format!(
                "$(grep -oE '\"{member}\" *: *(\"[^\"]*\"|-?[0-9.]+)' \"$jar.answer\" | head -n 1 | sed -E 's/^\"[^\"]*\" *: *\"?//; s/\"$//')"
            )
        }
        SaveFrom::Header(name) => format!(
            "$(grep -i '^{name}:' \"$jar.head\" | tail -n 1 | sed -E 's/^[^:]*: *//; s/\\r$//')"
        ),
        SaveFrom::Cookie(name) => format!("$({})", of_jar(name)),
        SaveFrom::Regex(_) => return None,
    })
}

/// The form with a password in `$page`, from `$at`: where it goes, and its hidden fields as arguments for curl.
const FORM: &str = r#"attribute() { sed -nE "s/^.*[ \"']$1 *= *(\"([^\"]*)\"|'([^']*)'|([^ >\"']+)).*$/\2\3\4/Ip" | sed "s/&#[xX]2[bB];/+/g; s/&#[xX]27;/'/g; s/&#39;/'/g; s/&quot;/\"/g; s/&lt;/</g; s/&gt;/>/g; s/&#[xX]3[dD];/=/g; s/&amp;/\&/g"; }
form=$(tr '\r\n' '  ' <<< "$page" | sed -E 's/<(form[ >])/\n<\1/Ig' | grep -iE '^<form.*type *= *.?password' | head -n 1)
inputs() { grep -oiE '<input[^>]*>' <<< "${form%%</form*}"; }
action=$(grep -oiE '^<form[^>]*>' <<< "$form" | attribute action)
case $action in
  '') action=$at ;;
  http://* | https://*) ;;
  /*) action=$(grep -oE '^[a-z]+://[^/]+' <<< "$at")$action ;;
  *) action=${at%/*}/$action ;;
esac
fields=()
while read -r input; do
  fields+=(--data-urlencode "$(attribute name <<< "$input")=$(attribute value <<< "$input")")
done < <(inputs | grep -iE 'type *= *.?hidden')
"#;

/// Whether all headers and all of the body of a declared request may stand in a script.
fn shows_no_secret(request: &Hook) -> bool {
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
