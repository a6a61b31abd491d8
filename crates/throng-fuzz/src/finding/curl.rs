//! A finding as a script for bash and curl. No secrets are in it: it logs in by itself, with the password from
//! `$THRONG_PASSWORD`, and reads cookies and the token against forgery from curl's jar.

use std::fmt::Write as _;

use throng_metrics::clean;

use super::Finding;
use crate::{
    account::Accounts,
    answer::{Sending, may_be_key},
    probe::Probe,
    request::{Body, Csrf, Part, Request, UNIQUE, UNIQUE_TOO, Who, percent_encoded},
    shell::{self, Piece, Session, in_double_quotes, word},
};

/// A longer line is nothing to read.
const LONGEST_LINE: usize = 1_000;

/// The whole script.
pub(super) fn script(finding: &Finding, sending: &Sending, accounts: &dyn Accounts) -> String {
    let mut out = String::from(shell::FIRST_LINE);
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
    out.push_str(&shell::target(origin));
    for (name, _) in &sending.headers {
        out.push_str(&shell::wanted(name.as_str()));
    }
    let logins: Vec<Option<String>> = users
        .iter()
        .map(|(_, index)| accounts.login_script(index % accounts.len().max(1)))
        .collect();
    out.push_str(shell::password(logins.iter().flatten().map(String::as_str)));
    out.push_str(shell::DIRECTORY);
    let text = serde_json::to_string(probe).unwrap_or_default();
    if text.contains("{unique") {
        out.push_str(shell::UNIQUE);
    }
    let sessions: Vec<Session> = users
        .into_iter()
        .zip(&logins)
        .map(|((name, index), login)| {
            let session = shell::log_in(&mut out, name, index + 1, login.as_deref());
            if name == "fresh" {
                // What the session was known by, before anything ends it.
                out.push_str("cp \"$jar\" \"$dir/kept.jar\"\n");
            }
            session
        })
        .collect();
    let seconds = sending.timeout.as_secs().max(1);
    out.push_str(&shell::send(seconds));
    let commands: Vec<String> = (0..probe.steps.len())
        .map(|index| command(probe, index, sending, &sessions, accounts.is_empty()))
        .collect();
    if commands.iter().any(|command| command.contains("$(token "))
        && let Some(rule) = &sending.csrf
    {
        out.push_str(&shell::token(&rule.double_submit.cookie));
    }
    if commands.iter().any(|command| command.contains("$(value ")) {
        out.push_str(shell::VALUE);
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
    let _ = write!(line, "{} -X {}", shell::CURL, word(&request.method));
    for (name, value) in &request.headers {
        let _ = write!(line, " {}", header(name, value));
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
    let mut options = shell::method(&request.method);
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
            let _ = write!(
                options,
                " -H \"{name}: ${}\"",
                shell::variable(name.as_str())
            );
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
        let _ = write!(options, " {}", header(name, value));
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
    Some(match String::from_utf8(bytes) {
        Ok(text) => shell::data(&kind, &filled(&text)),
        Err(error) => shell::data_of_bytes(&kind, error.as_bytes()),
    })
}

/// The address as a word of bash, after an origin (or a variable) that needs no quoting of its own.
fn url(origin: &str, request: &Request) -> String {
    let mut target = vec![match origin {
        "$URL" => Piece::expansion("${URL}"),
        origin => Piece::text(origin),
    }];
    let mut put = |part: &Part| match part {
        Part::Text(text) => target.extend(filled(&encoded(text))),
        Part::Encoded(text) => target.extend(filled(text)),
        Part::Bound { step, pointer } => target.push(bound(*step, pointer)),
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
    in_double_quotes(&target)
}

/// What an earlier answer gave.
fn bound(step: usize, pointer: &str) -> Piece {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    Piece::expansion(format!("$(value {step} {})", word(name)))
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
        Part::Text(text) | Part::Encoded(text) => shell::header(name, &filled(text)),
        Part::Bound { step, pointer } => shell::header(name, &[bound(*step, pointer)]),
    }
}

/// A text with what is unique filled in.
fn filled(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{unique") {
        let (before, after) = rest.split_at(at);
        let (piece, length) = if after.starts_with(UNIQUE_TOO) {
            (Piece::expansion("${unique}x"), UNIQUE_TOO.len())
        } else if after.starts_with(UNIQUE) {
            (Piece::expansion("${unique}"), UNIQUE.len())
        } else {
            (Piece::text("{"), 1)
        };
        if !before.is_empty() {
            pieces.push(Piece::text(before));
        }
        pieces.push(piece);
        rest = &after[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::text(rest));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::joined;

    #[test]
    fn what_is_unique_is_filled_in() {
        assert_eq!(joined(&filled("it's")), r"'it'\''s'");
        assert_eq!(joined(&filled("a{unique}b")), "'a'\"${unique}\"'b'");
        assert_eq!(encoded("{unique}@x"), "{unique}%40x");
    }
}
