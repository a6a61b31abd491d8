//! A finding as a script for bash and curl. No secrets are in it: it logs in by itself, with the password from
//! `$THRONG_PASSWORD`, and reads cookies and the token against forgery from curl's jar.

use std::fmt::Write as _;

use http::HeaderName;
use throng_metrics::clean;

use super::Finding;
use crate::{
    account::Accounts,
    answer::{Sending, may_be_key},
    probe::Probe,
    request::{Body, Csrf, Part, Request, UNIQUE, UNIQUE_TOO, Who, percent_encoded},
};

/// A single argument may not be longer than this on Linux (128 KiB); what is goes through a pipe.
const LONGEST_ARGUMENT: usize = 60_000;
/// A longer line is nothing to read.
const LONGEST_LINE: usize = 1_000;

/// The whole script.
pub(super) fn script(finding: &Finding, sending: &Sending, accounts: &dyn Accounts) -> String {
    let mut out = String::from("#!/usr/bin/env bash\n");
    let _ = writeln!(out, "# {}: {}", finding.check, clean(&finding.about));
    let (operation, message) = (clean(&finding.operation), clean(&finding.message));
    let _ = writeln!(out, "# {operation}: {message}");
    let status = finding
        .status
        .map_or_else(|| "no answer".to_owned(), |s| s.to_string());
    let (seed, number) = (finding.seed, finding.probe.number);
    let _ = writeln!(out, "# Expect {status}. Seed {seed}, probe {number}.");
    if !sending.headers.is_empty() {
        let names = sending.headers.iter().map(|(name, _)| name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "# The target's own headers are taken from variables: {names}."
        );
    }
    let probe = &finding.probe;
    let users = users(probe);
    let origin = sending.origin.as_str().trim_end_matches('/');
    let _ = writeln!(out, "set -u; URL=${{THRONG_URL:-{origin}}}");
    for (name, _) in &sending.headers {
        let variable = variable(name);
        let _ = writeln!(out, ": \"${{{variable}?the value of the header {name}}}\"");
    }
    if !users.is_empty() {
        out.push_str(": \"${THRONG_PASSWORD:?the password of the users}\"\n");
    }
    out.push_str("dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT\n");
    let text = serde_json::to_string(probe).unwrap_or_default();
    if text.contains("{unique") {
        out.push_str("unique=u$(date +%s | tail -c 7)$(printf '%04d' $((RANDOM % 10000)))\n");
    }
    let sessions: Vec<Session> = users
        .into_iter()
        .map(|(name, index)| log_in(&mut out, name, index, accounts))
        .collect();
    let seconds = sending.timeout.as_secs().max(1);
    let _ = writeln!(
        out,
        "send() {{ curl -sk --path-as-is --globoff --max-time {seconds} -w '%{{http_code}}\\n' -o \"$dir/answer$1\" \"${{@:2}}\"; }}"
    );
    let commands: Vec<String> = (0..probe.steps.len())
        .map(|index| command(probe, index, sending, &sessions, accounts.is_empty()))
        .collect();
    if commands.iter().any(|command| command.contains("$(token "))
        && let Some(rule) = &sending.csrf
    {
        let cookie = quoted(&rule.double_submit.cookie);
        let _ = writeln!(
            out,
            "token() {{ awk -F'\\t' -v name={cookie} '$6 == name {{ value = $7 }} END {{ print value }}' \"$dir/$1.jar\"; }}"
        );
    }
    if commands.iter().any(|command| command.contains("$(value ")) {
        // The first member of that name in an answer.
        out.push_str(
            "value() { grep -oE \"\\\"$2\\\" *: *(\\\"[^\\\"]*\\\"|-?[0-9.]+)\" \"$dir/answer$1\" | head -n 1 | sed -E 's/^\"[^\"]*\" *: *\"?//; s/\"$//'; }\n",
        );
    }
    for (index, command) in commands.iter().enumerate() {
        let next = probe.steps.get(index + 1).is_some_and(|next| next.together);
        let together = probe.steps[index].together || next;
        let background = if together { " &" } else { "" };
        let _ = writeln!(out, "{command}{background}");
        if together && !next {
            out.push_str("wait\n");
        }
    }
    if let Some(last) = probe.steps.len().checked_sub(1) {
        let _ = writeln!(out, "head -c 2000 \"$dir/answer{last}\"; echo");
    }
    out
}

/// A session of the script.
struct Session {
    /// Its jar is `$dir/NAME.jar`.
    name: &'static str,
    /// Whether it goes by a token, in the variable `NAME_authorization`.
    token: bool,
}

/// A single request that nobody need log in for as a line of curl; anything more takes the script.
pub(super) fn line(probe: &Probe, origin: &str) -> Option<String> {
    let [step] = probe.steps.as_slice() else {
        return None;
    };
    let request = &step.request;
    let plain = request.who == Who::Nobody
        && !serde_json::to_string(request).is_ok_and(|text| text.contains("{unique"));
    let data = data(&request.body);
    let (pipe, data) = data.unwrap_or_default();
    if !plain || data.len() > LONGEST_LINE {
        return None;
    }
    let mut line = pipe.map_or_else(String::new, |pipe| format!("{pipe} | "));
    let _ = write!(
        line,
        "curl -sk --path-as-is --globoff -X {}",
        word(&request.method)
    );
    for (name, value) in &request.headers {
        let _ = write!(line, " -H {}", header(name, value));
    }
    if !data.is_empty() {
        let _ = write!(line, " {data}");
    }
    let _ = write!(line, " {}", url(origin, request));
    Some(line)
}

/// The sessions that a script needs, and whose they are.
fn users(probe: &Probe) -> Vec<(&'static str, usize)> {
    let mut users: Vec<(&'static str, usize)> = Vec::new();
    let mut add = |name, index| {
        if !users.iter().any(|(known, _)| *known == name) {
            users.push((name, index));
        }
    };
    for step in &probe.steps {
        match step.request.who {
            Who::Nobody => {}
            Who::Own => add("own", 0),
            Who::Other(n) => add(OTHERS[usize::from(n) % OTHERS.len()], usize::from(n)),
            Who::Fresh | Who::Kept => add("fresh", 0),
        }
        if step.request.csrf == Csrf::Others {
            add("other", 1);
        }
    }
    users
}

/// Names of further users' sessions. More than one is never needed, as probes are made now.
const OTHERS: [&str; 3] = ["own", "other", "third"];

fn log_in(out: &mut String, name: &'static str, index: usize, accounts: &dyn Accounts) -> Session {
    let _ = writeln!(out, "jar=$dir/{name}.jar; : > \"$jar\"");
    let script = accounts.login_script(index % accounts.len().max(1));
    let token = script
        .as_ref()
        .is_some_and(|script| script.contains("authorization="));
    match script {
        Some(script) => {
            out.push_str(script.trim_end());
            out.push('\n');
        }
        None => {
            let user = index + 1;
            let _ = writeln!(
                out,
                "cp \"${{THRONG_JAR_{user}:?log user {user} in with curl -c JAR, and name the jar here}}\" \"$jar\""
            );
        }
    }
    if token {
        let _ = writeln!(out, "{name}_authorization=$authorization");
    }
    if name == "fresh" {
        // What the session was known by, before anything ends it.
        out.push_str("cp \"$jar\" \"$dir/kept.jar\"\n");
    }
    Session { name, token }
}

/// The variable that a header of the target is taken from.
fn variable(name: &HeaderName) -> String {
    let name = name.as_str().to_ascii_uppercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("THRONG_{}", name.chars().map(plain).collect::<String>())
}

fn command(
    probe: &Probe,
    index: usize,
    sending: &Sending,
    sessions: &[Session],
    nobody_has_keys: bool,
) -> String {
    let request = &probe.steps[index].request;
    let session_of = |request: &Request| match request.who {
        Who::Nobody => None,
        Who::Own => Some("own"),
        Who::Other(n) => Some(OTHERS[usize::from(n) % OTHERS.len()]),
        Who::Fresh | Who::Kept => Some("fresh"),
    };
    let session = session_of(request);
    let mut options = match request.method.as_str() {
        "HEAD" => "-I".to_owned(),
        method => format!("-X {}", word(method)),
    };
    let keys = match request.who {
        Who::Nobody => nobody_has_keys,
        Who::Kept => false,
        _ => true,
    };
    for (name, _) in &sending.headers {
        let own = request
            .headers
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name.as_str()));
        if !own && (keys || !may_be_key(name)) {
            let _ = write!(options, " -H \"{name}: ${}\"", variable(name));
        }
    }
    if let Some(name) = session {
        let kept = request.who == Who::Kept;
        let jar = if kept { "kept" } else { name };
        let _ = write!(options, " -b \"$dir/{jar}.jar\"");
        // What this answer sets is for those that follow.
        let later = probe.steps[index + 1..].iter().any(|step| {
            session_of(&step.request) == session && step.request.who != Who::Kept && !step.together
        });
        if later && !kept {
            let _ = write!(options, " -c \"$dir/{jar}.jar\"");
        }
        if sessions.iter().any(|it| it.name == name && it.token) {
            let _ = write!(options, " -H \"Authorization: ${name}_authorization\"");
        }
        if let Some(rule) = &sending.csrf
            && sending.needs_token(&request.method)
        {
            let header = rule.double_submit.header.as_str();
            let whose = match request.csrf {
                Csrf::Right => Some(jar),
                Csrf::Others if name == "own" => Some("other"),
                Csrf::Others => Some("own"),
                Csrf::Missing => None,
            };
            options.push_str(" -H \"Origin: $URL\"");
            if let Some(whose) = whose {
                let _ = write!(options, " -H \"{header}: $(token {whose})\"");
            }
        }
    }
    for (name, value) in &request.headers {
        let _ = write!(options, " -H {}", header(name, value));
    }
    let mut before = String::new();
    if let Some((pipe, arguments)) = data(&request.body) {
        if let Some(pipe) = pipe {
            before = format!("{pipe} | ");
        }
        let _ = write!(options, " {arguments}");
    }
    format!("{before}send {index} {options} {}", url("$URL", request))
}

/// What brings the body: a command to pipe from, and curl's options.
fn data(body: &Body) -> Option<(Option<String>, String)> {
    let (kind, bytes) = match body {
        Body::None => return None,
        Body::Json(value) => (
            "application/json".to_owned(),
            value.to_string().into_bytes(),
        ),
        Body::Form(pairs) => {
            let mut form = String::new();
            for (index, (name, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    form.push('&');
                }
                let _ = write!(form, "{}={}", encoded(name), encoded(value));
            }
            (
                "application/x-www-form-urlencoded".to_owned(),
                form.into_bytes(),
            )
        }
        Body::Raw {
            content_type,
            bytes,
        } => (content_type.clone(), bytes.0.to_vec()),
    };
    let kind = if kind.is_empty() {
        "-H 'Content-Type:'".to_owned()
    } else {
        format!("-H {}", quoted(&format!("Content-Type: {kind}")))
    };
    match String::from_utf8(bytes) {
        Ok(text)
            if text.len() <= LONGEST_ARGUMENT && !text.contains('\0') && !text.starts_with('@') =>
        {
            Some((None, format!("{kind} --data-binary {}", quoted(&text))))
        }
        Ok(text) if !text.contains('\0') => Some((
            Some(format!("printf %s {}", quoted(&text))),
            format!("{kind} --data-binary @-"),
        )),
        Ok(text) => Some((
            Some(octal(text.as_bytes())),
            format!("{kind} --data-binary @-"),
        )),
        Err(error) => Some((
            Some(octal(error.as_bytes())),
            format!("{kind} --data-binary @-"),
        )),
    }
}

/// Bytes as printf makes them.
fn octal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 + 10);
    text.push_str("printf '");
    for byte in bytes {
        match byte {
            b'%' => text.push_str("%%"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'{' | b'}' | b'"' | b':' | b',' => {
                text.push(char::from(*byte));
            }
            byte => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text.push('\'');
    text
}

/// The address as a word of bash, after an origin (or a variable) that needs no quoting of its own.
fn url(origin: &str, request: &Request) -> String {
    let mut target = format!("\"{origin}");
    let mut put = |part: &Part| match part {
        Part::Text(text) => target.push_str(&in_double_quotes(&encoded(text))),
        Part::Encoded(text) => target.push_str(&in_double_quotes(text)),
        Part::Bound { step, pointer } => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let _ = write!(target, "$(value {step} {})", word(name));
        }
    };
    let literal = |text: &str| Part::Encoded(text.to_owned());
    let mut rest = request.path.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        put(&literal(before));
        match request.path_values.get(name) {
            Some(part) => put(part),
            None => put(&literal(&percent_encoded(name.as_bytes()))),
        }
        rest = after;
    }
    put(&literal(rest));
    for (index, (name, value)) in request.query.iter().enumerate() {
        put(&literal(if index == 0 { "?" } else { "&" }));
        put(&literal(&encoded(name)));
        put(&literal("="));
        put(value);
    }
    target.push('"');
    target
}

/// A text inside of double quotes of bash, with what is unique filled in.
fn in_double_quotes(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.replace(UNIQUE_TOO, "${unique}x")
        .replace(UNIQUE, "$unique")
}

/// A word that needs no quotes as it is, any other in quotes.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Percent-encoded, but for what stands for a unique text.
fn encoded(text: &str) -> String {
    let unique = percent_encoded(UNIQUE.as_bytes());
    let too = percent_encoded(UNIQUE_TOO.as_bytes());
    percent_encoded(text.as_bytes())
        .replace(&too, UNIQUE_TOO)
        .replace(&unique, UNIQUE)
}

fn header(name: &str, value: &Part) -> String {
    match value {
        Part::Text(text) | Part::Encoded(text) if text.is_empty() => quoted(&format!("{name};")),
        Part::Text(text) | Part::Encoded(text) => quoted(&format!("{name}: {text}")),
        Part::Bound { step, pointer } => {
            let key = pointer.rsplit('/').next().unwrap_or_default();
            format!("\"{name}: $(value {step} {})\"", word(key))
        }
    }
}

/// A text for bash: in single quotes, with what is unique filled in.
fn quoted(text: &str) -> String {
    let plain = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    if !text.contains("{unique") {
        return plain(text);
    }
    let text = plain(text);
    text.replace(UNIQUE_TOO, "'\"${unique}x\"'")
        .replace(UNIQUE, "'\"$unique\"'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_bytes_reach_bash_as_they_are() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("a{unique}b"), "'a'\"$unique\"'b'");
        assert_eq!(octal(b"\x00%\xff a"), "printf '\\000%%\\377 a'");
        assert_eq!(encoded("{unique}@x"), "{unique}%40x");
    }
}
