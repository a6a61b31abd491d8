//! A failure as a script for bash and curl, which shows it again: it logs its users in, makes the requests in their order, those
//! that were under way together at the same time, and takes from each answer what later requests need. No secrets are in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use throng_fuzz::Accounts;
use throng_fuzz::shell::{self, Piece, Session, joined, quoted, word};
use throng_metrics::clean;
use throng_workflow::Scenario;
use throng_workflow::model::LoginKind;
use throng_workflow::run::{Captured, Pattern, Span};
use url::Url;

use super::failure::{Failure, Request, values};

/// A longer line is nothing to read in a terminal, in bytes.
const LONGEST_LINE: usize = 1_000;
/// A comment is cut there, in characters.
const LONGEST_COMMENT: usize = 500;

/// What scripts need to know of the target.
pub(super) struct Target {
    /// Scheme, host and port.
    origin: String,
    /// Headers of the target's own, which go with every request.
    headers: Vec<String>,
    /// The lines that log in, by user; `None` where they take more than a few.
    logins: Vec<Option<String>>,
    /// Whether anybody logs in.
    logs_in: bool,
    /// The variables of what the login saves, by its index.
    saved: Vec<String>,
    /// Time that an answer may take, in seconds.
    seconds: u64,
}

impl Target {
    pub(super) fn of(scenario: &Scenario, users: &dyn Accounts, saved: Vec<String>) -> Self {
        let url = &scenario.target.url.value;
        let headers = scenario.target.headers.0.iter();
        Self {
            origin: Url::parse(url)
                .map_or_else(|_| url.clone(), |url| url.origin().ascii_serialization()),
            headers: headers.map(|(name, _)| name.value.clone()).collect(),
            logins: (0..users.len()).map(|n| users.login_script(n)).collect(),
            logs_in: scenario.login.kind != LoginKind::None,
            saved,
            seconds: scenario.target.timeout.0.as_secs().max(1),
        }
    }
}

/// The whole script; `None` where something was sent that is no HTTP request. `about` says what must hold.
pub(super) fn script(
    failure: &Failure,
    example: &serde_json::Value,
    about: &str,
    target: &Target,
) -> Option<String> {
    let patterns = patterns(failure)?;
    let mut out = String::from(shell::FIRST_LINE);
    let mut comment = |text: &str| {
        let text: String = clean(text).chars().take(LONGEST_COMMENT).collect();
        let _ = writeln!(out, "# {}", text.replace('\n', " "));
    };
    comment(about);
    comment(&format!("What was seen: {failure}"));
    for (name, value) in values(example) {
        comment(&format!("{name} = {value}"));
    }
    if patterns.iter().any(|pattern| pattern.stale) {
        comment("Something in these requests is of that run alone: see whether it still fits.");
    }
    if failure
        .requests
        .windows(2)
        .any(|pair| pair[0].group == pair[1].group)
    {
        comment("Requests at the same time: what they do may differ from one time to the next.");
    }
    out.push_str(&shell::target(&target.origin));
    let mut wanted: Vec<&str> = target.headers.iter().map(String::as_str).collect();
    for (name, _) in patterns.iter().flat_map(|pattern| secret_headers(pattern)) {
        if !wanted.contains(&name.as_str()) {
            wanted.push(name);
        }
    }
    out.extend(wanted.into_iter().map(shell::wanted));
    let mut logins = String::new();
    let mut sessions: BTreeMap<u32, Session> = BTreeMap::new();
    for request in &failure.requests {
        let at = request.user as usize;
        sessions.entry(request.user).or_insert_with(|| {
            let script = match target.logs_in {
                true => target.logins.get(at).and_then(Option::as_deref),
                false => Some(""),
            };
            shell::log_in(&mut logins, &format!("user{}", at + 1), at + 1, script)
        });
    }
    out.push_str(shell::password([logins.as_str()]));
    out.push_str(shell::DIRECTORY);
    let commands = commands(failure, &patterns, &sessions, target);
    if commands.contains("${unique}") {
        out.push_str(shell::UNIQUE);
    }
    out.push_str(&logins);
    out.push_str(&shell::send(target.seconds));
    out.push_str(&functions(failure, &commands));
    out.push_str(&commands);
    out.push_str(&ending(failure, commands.contains("${unique}")));
    Some(out)
}

/// A single request that nobody logs in for, as a line of curl; anything more takes the script.
pub(super) fn line(failure: &Failure, target: &Target) -> Option<String> {
    let ([request], false) = (failure.requests.as_slice(), target.logs_in) else {
        return None;
    };
    let [pattern] = patterns(failure)?.try_into().ok()?;
    let (pipe, options) = options(request, &failure.requests, pattern, None, target);
    let origin = pattern.origin.as_deref().unwrap_or(&target.origin);
    let line = format!(
        "{} {options} {}",
        shell::CURL,
        quoted(&format!("{origin}{}", request.path))
    );
    let plain = pipe.is_none() && target.headers.is_empty() && request.polls.is_none();
    (plain && !line.contains("${") && line.len() <= LONGEST_LINE).then_some(line)
}

fn patterns(failure: &Failure) -> Option<Vec<&Pattern>> {
    let patterns = failure.requests.iter();
    let patterns: Option<Vec<&Pattern>> =
        patterns.map(|request| request.pattern.as_ref()).collect();
    patterns.filter(|patterns| !patterns.is_empty() && !failure.other_calls)
}

fn secret_headers(pattern: &Pattern) -> impl Iterator<Item = &(String, Option<Vec<Span>>)> {
    let headers = pattern.headers.iter();
    headers.filter(|(_, value)| value.is_none())
}

/// The functions that the commands use.
fn functions(failure: &Failure, commands: &str) -> String {
    let mut out = String::from("told() { echo \"$1: HTTP $(\"${@:3}\") ($2)\"; }\n");
    let mut requests = failure.requests.iter();
    let token = requests.find_map(|request| request.double_submit.as_ref());
    if let Some((_, cookie)) = token {
        out.push_str(&shell::token(cookie));
    } else if commands.contains("$(cookie ") {
        out.push_str(shell::COOKIE);
    }
    if commands.contains("$(value ") {
        out.push_str(shell::VALUE);
    }
    if commands.contains("$(header ") {
        out.push_str(
            "header() { grep -i \"^$2:\" \"$dir/head$1\" | tail -n 1 | sed -E 's/^[^:]*: *//; s/\\r$//'; }\n",
        );
    }
    out
}

fn commands(
    failure: &Failure,
    patterns: &[&Pattern],
    sessions: &BTreeMap<u32, Session>,
    target: &Target,
) -> String {
    let requests = &failure.requests;
    let mut out = String::new();
    for (index, (request, pattern)) in requests.iter().zip(patterns).enumerate() {
        let session = sessions.get(&request.user);
        let (pipe, mut options) = options(request, requests, pattern, session, target);
        if let Some(Session { name, .. }) = session {
            let _ = write!(options, " -b \"$dir/{name}.jar\"");
            // What this answer sets is for those that follow. Two that write at the same time would spoil it.
            let later = requests[index + 1..].iter();
            let kept = later.filter(|later| later.user == request.user);
            let mut kept = kept.filter(|later| later.group != request.group);
            let alone = requests
                .iter()
                .filter(|it| it.group == request.group)
                .count()
                == 1;
            if alone && kept.next().is_some() {
                let _ = write!(options, " -c \"$dir/{name}.jar\"");
            }
        }
        let resolve = |span: &Span| piece(span, requests, target, session);
        if gives_header(requests, request.call) {
            let _ = write!(options, " -D \"$dir/head{index}\"");
        }
        let mut address = vec![match &pattern.origin {
            Some(origin) => Piece::text(origin),
            None => Piece::expansion("${URL}"),
        }];
        address.extend(pattern.path.iter().map(resolve));
        let command = format!(
            "told {} {} send {index} {} {}",
            word(&request.step),
            quoted(&request.expected),
            options.trim_start(),
            shell::in_double_quotes(&address)
        );
        let command = match pipe {
            Some(pipe) => format!("{pipe} | {command}"),
            None => command,
        };
        let command = match request.polls {
            None => command,
            Some((every, within)) => {
                let tries = (within.as_millis() / every.as_millis().max(1)).clamp(1, 1_000);
                let every = every.as_secs_f64();
                format!(
                    "for try in {{1..{tries}}}; do last=$({command}); sleep {every}; done; echo \"$last\""
                )
            }
        };
        let next = requests.get(index + 1);
        let next = next.is_some_and(|next| next.group == request.group);
        let before = index > 0 && requests[index - 1].group == request.group;
        let (open, close) = match (before || next, request.polls) {
            (false, _) => ("", ""),
            (true, None) => ("", " &"),
            (true, Some(_)) => ("{ ", "; } &"),
        };
        let _ = writeln!(out, "{open}{command}{close}");
        if before && !next {
            out.push_str("wait\n");
        }
    }
    out
}

/// Whether a later request repeats a header of this call's answer.
fn gives_header(requests: &[Request], call: usize) -> bool {
    let patterns = requests.iter().filter_map(|it| it.pattern.as_ref());
    let mut spans = patterns.flat_map(|pattern| {
        let headers = pattern
            .headers
            .iter()
            .filter_map(|(_, value)| value.as_ref());
        headers.flatten().chain(&pattern.path).chain(&pattern.body)
    });
    spans.any(|span| matches!(span, Span::Answer(from, Captured::Header(_)) if *from == call))
}

/// The command to pipe from, where there is one, and the options that say what is sent.
fn options(
    request: &Request,
    requests: &[Request],
    pattern: &Pattern,
    session: Option<&Session>,
    target: &Target,
) -> (Option<String>, String) {
    let pieces = |spans: &[Span]| -> Vec<Piece> {
        let spans = spans.iter();
        spans
            .map(|span| piece(span, requests, target, session))
            .collect()
    };
    let mut out = shell::method(&request.method);
    if pattern.follows {
        out.push_str(" -L");
    }
    if let Some(longest) = pattern.listens {
        let _ = write!(out, " -N --max-time {}", longest.as_secs_f64().ceil());
    }
    let own = |name: &str| {
        let mut headers = pattern.headers.iter();
        headers.any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    if pattern.origin.is_none() {
        for name in target.headers.iter().filter(|name| !own(name)) {
            let value = Piece::expansion(format!("${{{}}}", shell::variable(name)));
            let _ = write!(out, " {}", shell::header(name, &[value]));
        }
        if let Some(session) = session.filter(|session| session.token && !own("authorization")) {
            let value = Piece::expansion(format!("${{{}_authorization}}", session.name));
            let _ = write!(out, " {}", shell::header("Authorization", &[value]));
        }
    }
    for (name, value) in &pattern.headers {
        let value = match value {
            Some(value) => in_header(pieces(value), &target.origin),
            None => vec![Piece::expansion(format!("${{{}}}", shell::variable(name)))],
        };
        let _ = write!(out, " {}", shell::header(name, &value));
    }
    if let (Some((header, _)), Some(session)) = (&request.double_submit, session) {
        let token = Piece::expansion(format!("$(token {})", session.name));
        let _ = write!(out, " {}", shell::header(header, &[token]));
    }
    let (pipe, data) = match pattern.body.as_slice() {
        [] => return (None, out),
        [Span::Bytes(bytes)] => shell::data_of_bytes(&request.content_type, bytes),
        body => shell::data(&request.content_type, &pieces(body)),
    };
    let _ = write!(out, " {data}");
    (pipe, out)
}

/// `Origin` and `Referer` name the target that the script goes to.
fn in_header(value: Vec<Piece>, origin: &str) -> Vec<Piece> {
    let mut value = value.into_iter();
    let mut out = Vec::new();
    match value.next() {
        Some(Piece::Text(text)) if text.starts_with(origin) => {
            out.push(Piece::expansion("${URL}"));
            let rest = &text[origin.len()..];
            out.extend((!rest.is_empty()).then(|| Piece::text(rest)));
        }
        first => out.extend(first),
    }
    out.extend(value);
    out
}

fn piece(span: &Span, requests: &[Request], target: &Target, session: Option<&Session>) -> Piece {
    let user = session.map_or("nobody", |session| session.name.as_str());
    match span {
        Span::Text(text) => Piece::text(text),
        Span::Bytes(bytes) => Piece::text(String::from_utf8_lossy(bytes)),
        Span::Uid => Piece::expansion("${unique}"),
        Span::Login(index) => {
            let name = target.saved.get(*index).map_or("", String::as_str);
            Piece::expansion(format!("${{{user}_{name}}}"))
        }
        Span::Answer(call, captured) => {
            let at = requests.iter().position(|request| request.call == *call);
            let at = at.unwrap_or_default();
            Piece::expansion(match captured {
                Captured::Member(name) => format!("$(value {at} {})", word(name)),
                Captured::Header(name) => format!("$(header {at} {})", word(name)),
                Captured::Cookie(name) => {
                    let from = requests.get(at).map_or(0, |request| request.user);
                    format!("$(cookie user{} {})", from + 1, word(name))
                }
            })
        }
    }
}

/// What is shown at the end: the answer, and what is wrong with it.
fn ending(failure: &Failure, unique: bool) -> String {
    let mut out = String::new();
    let mut shown = failure.requests.iter();
    let shown = shown.rposition(|request| request.step == failure.step);
    if let Some(at) = shown {
        let most = if failure.in_body { 20_000 } else { 2_000 };
        let _ = writeln!(out, "head -c {most} \"$dir/answer{at}\"; echo");
        if failure.in_body && unique {
            let _ = writeln!(
                out,
                "echo \"$unique stands in this answer $(grep -oF \"$unique\" \"$dir/answer{at}\" | wc -l) times\""
            );
        }
    }
    let seen: String = clean(&failure.to_string())
        .chars()
        .take(LONGEST_COMMENT)
        .collect();
    let words = joined(&[Piece::text(format!("What was seen: {seen}"))]);
    let _ = writeln!(out, "echo {words}");
    out
}
