//! A finding as a script for bash and curl. No secrets are in it: it logs in by itself, with the password from
//! `$THRONG_PASSWORD`, and reads cookies and the token against forgery from curl's jar.

use std::fmt::Write as _;

use super::Finding;
use crate::{
    account::Accounts,
    answer::Sending,
    probe::{Probe, Step},
    request::{Body, Csrf, Part, Request, UNIQUE, UNIQUE_TOO, Who, percent_encoded},
};

/// A single argument may not be longer than this on Linux (128 KiB); what is goes through a pipe.
const LONGEST_ARGUMENT: usize = 60_000;
/// A longer line is nothing to read.
const LONGEST_LINE: usize = 1_000;

/// The whole script.
pub(super) fn script(finding: &Finding, sending: &Sending, accounts: &dyn Accounts) -> String {
    let mut out = String::from("#!/usr/bin/env bash\n");
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    let _ = writeln!(out, "# {}: {}", finding.check, line(&finding.about));
    let _ = writeln!(
        out,
        "# {}: {}",
        line(&finding.operation),
        line(&finding.message)
    );
    let status = finding
        .status
        .map_or_else(|| "no answer".to_owned(), |s| s.to_string());
    let _ = writeln!(
        out,
        "# Expect {status} at the end. Seed {}, probe {}.",
        finding.seed, finding.probe.number
    );
    if !sending.headers.is_empty() {
        let names: Vec<&str> = sending
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let _ = writeln!(
            out,
            "# The target's own headers are not in here: {}.",
            names.join(", ")
        );
    }
    out.push_str("set -u\n");
    let origin = sending.origin.as_str().trim_end_matches('/');
    let _ = writeln!(out, "URL=${{THRONG_URL:-{}}}", quoted(origin));
    out.push_str("dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT\n");
    let probe = &finding.probe;
    let text = serde_json::to_string(probe).unwrap_or_default();
    if text.contains("{unique") {
        out.push_str("unique=u$(date +%s | tail -c 7)$(printf '%04d' $((RANDOM % 10000)))\n");
    }
    let users = users(probe);
    if !users.is_empty() {
        out.push_str(": \"${THRONG_PASSWORD:?the password of the users}\"\n");
        out.push_str("authorization=''\n");
        for (name, index) in &users {
            log_in(&mut out, name, *index, accounts);
        }
    }
    for (name, _) in &users {
        if name == "fresh" {
            // What the session was known by, before anything ends it.
            out.push_str("cp \"$dir/fresh.jar\" \"$dir/kept.jar\" 2>/dev/null; kept_authorization=$fresh_authorization\n");
        }
    }
    if let Some(rule) = &sending.csrf
        && !users.is_empty()
    {
        let cookie = &rule.double_submit.cookie;
        let _ = writeln!(
            out,
            "token() {{ awk -F'\\t' -v name={} '$6 == name {{ value = $7 }} END {{ print value }}' \"$dir/$1.jar\"; }}",
            quoted(cookie)
        );
    }
    if probe
        .steps
        .iter()
        .any(|step| step.request.needs().next().is_some())
    {
        // The first member of that name in an answer.
        out.push_str(
            "value() { grep -oE \"\\\"$2\\\" *: *(\\\"[^\\\"]*\\\"|-?[0-9.]+)\" \"$dir/answer$1\" | head -n 1 | sed -E 's/^\"[^\"]*\" *: *\"?//; s/\"$//'; }\n",
        );
    }
    for (index, step) in probe.steps.iter().enumerate() {
        let together =
            step.together || probe.steps.get(index + 1).is_some_and(|next| next.together);
        let command = command(step, index, sending, together);
        let _ = writeln!(out, "{command}");
        if together && !probe.steps.get(index + 1).is_some_and(|next| next.together) {
            out.push_str("wait\n");
        }
    }
    let last = shown(probe);
    if last.len() == 1 {
        let _ = writeln!(out, "head -c 2000 \"$dir/answer{}\"; echo", last[0]);
    }
    out
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
        quoted(&request.method)
    );
    for (name, value) in &request.headers {
        let _ = write!(line, " -H {}", header(name, value));
    }
    if !data.is_empty() {
        let _ = write!(line, " {data}");
    }
    let _ = write!(line, " {}{}", quoted(origin), url(request));
    Some(line)
}

/// The steps whose answers are worth a look at the end.
fn shown(probe: &Probe) -> Vec<usize> {
    let last = probe.steps.len().saturating_sub(1);
    if probe.steps.get(last).is_some_and(|step| step.together) {
        Vec::new()
    } else {
        vec![last]
    }
}

/// The sessions that a script needs, and whose they are.
fn users(probe: &Probe) -> Vec<(String, usize)> {
    let mut users: Vec<(String, usize)> = Vec::new();
    let mut add = |name: String, index| {
        if !users.iter().any(|(known, _)| *known == name) {
            users.push((name, index));
        }
    };
    for step in &probe.steps {
        match step.request.who {
            Who::Nobody => {}
            Who::Own => add("own".to_owned(), 0),
            Who::Other(n) => add(format!("other{n}"), usize::from(n)),
            Who::Fresh | Who::Kept => add("fresh".to_owned(), 0),
        }
        if step.request.csrf == Csrf::Others {
            add("other1".to_owned(), 1);
        }
    }
    users
}

fn log_in(out: &mut String, name: &str, index: usize, accounts: &dyn Accounts) {
    let _ = writeln!(out, "jar=$dir/{name}.jar; : > \"$jar\"");
    match accounts.login_script(index % accounts.len().max(1)) {
        Some(script) => {
            out.push_str(script.trim_end());
            out.push('\n');
        }
        None => {
            let _ = writeln!(
                out,
                "echo 'log user {} in first: put the cookies into a jar of curl and name it in THRONG_JAR_{index}' >&2\ncp \"${{THRONG_JAR_{index}:-/dev/null}}\" \"$jar\"",
                index + 1
            );
        }
    }
    let _ = writeln!(out, "{name}_authorization=$authorization; authorization=''");
}

fn command(step: &Step, index: usize, sending: &Sending, together: bool) -> String {
    let request = &step.request;
    let mut options = String::from("curl -sk --path-as-is --globoff");
    let _ = write!(
        options,
        " --max-time {} -o \"$dir/answer{index}\" -w '%{{http_code}}\\n' -X {}",
        sending.timeout.as_secs().max(1),
        quoted(&request.method)
    );
    let session = match request.who {
        Who::Nobody => None,
        Who::Own => Some("own".to_owned()),
        Who::Other(n) => Some(format!("other{n}")),
        Who::Fresh => Some("fresh".to_owned()),
        Who::Kept => Some("kept".to_owned()),
    };
    if let Some(session) = &session {
        let _ = write!(options, " -b \"$dir/{session}.jar\"");
        if request.who != Who::Kept && !together {
            let _ = write!(options, " -c \"$dir/{session}.jar\"");
        }
        let _ = write!(
            options,
            " ${{{session}_authorization:+-H \"Authorization: ${session}_authorization\"}}"
        );
    }
    if let (Some(rule), Some(session)) = (&sending.csrf, &session)
        && sending.needs_token(&request.method)
    {
        let header = rule.double_submit.header.as_str();
        let _ = write!(options, " -H \"Origin: $URL\"");
        match request.csrf {
            Csrf::Right => {
                let _ = write!(options, " -H \"{header}: $(token {session})\"");
            }
            Csrf::Others => {
                let other = if session == "own" { "other1" } else { "own" };
                let _ = write!(options, " -H \"{header}: $(token {other})\"");
            }
            Csrf::Missing => {}
        }
    }
    for (name, value) in &request.headers {
        let _ = write!(options, " -H {}", header(name, value));
    }
    let mut before = String::new();
    match data(&request.body) {
        Some((Some(pipe), arguments)) => {
            before = format!("{pipe} | ");
            let _ = write!(options, " {arguments}");
        }
        Some((None, arguments)) => {
            let _ = write!(options, " {arguments}");
        }
        None => {}
    }
    let target = url(request);
    let background = if together { " &" } else { "" };
    if request.method == "HEAD" {
        options = options.replacen(" -X 'HEAD'", " -I", 1);
    }
    format!("{before}{options} \"$URL\"{target}{background}")
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

fn url(request: &Request) -> String {
    let mut target = String::new();
    let mut literal = String::new();
    let mut rest = request.path.as_str();
    let flush = |literal: &mut String, target: &mut String| {
        if !literal.is_empty() {
            target.push_str(&quoted(literal));
            literal.clear();
        }
    };
    let put = |part: &Part, literal: &mut String, target: &mut String| match part {
        Part::Text(text) => literal.push_str(&encoded(text)),
        Part::Encoded(text) => literal.push_str(text),
        Part::Bound { step, pointer } => {
            flush(literal, target);
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let _ = write!(target, "\"$(value {step} {})\"", quoted(name));
        }
    };
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        literal.push_str(before);
        match request.path_values.get(name) {
            Some(part) => put(part, &mut literal, &mut target),
            None => literal.push_str(&percent_encoded(name.as_bytes())),
        }
        rest = after;
    }
    literal.push_str(rest);
    for (index, (name, value)) in request.query.iter().enumerate() {
        literal.push(if index == 0 { '?' } else { '&' });
        literal.push_str(&encoded(name));
        literal.push('=');
        put(value, &mut literal, &mut target);
    }
    if !literal.is_empty() {
        target.push_str(&quoted(&literal));
    }
    target
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
            format!(
                "{}\"$(value {step} {})\"",
                quoted(&format!("{name}: ")),
                quoted(key)
            )
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
