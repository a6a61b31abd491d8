//! What one answer proves by itself.

use http::header;

use super::{Check, Judge, Violation, normalised, stack_trace};
use crate::{
    answer::{Answer, Answered, FaultKind},
    openapi::Operation,
    request::{Csrf, Request, Who},
    secrets::Secrets,
};

/// Statuses by which HTTP itself, or something in front of the application, refuses: no document lists them.
const OF_HTTP: [u16; 9] = [408, 414, 417, 421, 426, 429, 431, 505, 511];
/// As much of a message groups, in characters.
const MESSAGE: usize = 120;

impl Judge<'_> {
    pub(super) fn judge_answer(
        &mut self,
        (step, by_key): (usize, bool),
        request: &Request,
        answer: &Answer,
        secrets: &Secrets,
        found: &mut Vec<Violation>,
    ) {
        let mut say = |check, message: String| {
            found.push(Violation {
                check,
                step,
                message,
                member: None,
            });
        };
        let answered = match answer {
            Answer::Answered(answered) => answered,
            Answer::Fault(fault) => {
                match fault.kind {
                    FaultKind::Hang => say(Check::Hang, fault.cause.to_owned()),
                    FaultKind::Broken => say(Check::TransportFault, fault.cause.to_owned()),
                    // Nothing was asked.
                    FaultKind::Unreachable => {}
                }
                return;
            }
            Answer::Unsent(_) => return,
        };
        let status = answered.status;
        let waits = answered.headers.contains_key(header::RETRY_AFTER);
        let operation = self.operation(request.operation.as_deref());
        let meant = match operation {
            // For a method that nobody knows, it is what RFC 9110 (section 9.1) asks for.
            None => status == 501,
            // Whoever documents a 500 doesn't promise that there is one; a server that says so isn't well all the same.
            Some((_, operation)) => status != 500 && operation.documents(status),
        };
        if status >= 500 && !(status == 503 && waits) && !meant {
            say(Check::ServerError, first_words(answered, secrets));
        }
        if status == 405 && !answered.headers.contains_key(header::ALLOW) {
            say(Check::MethodWithoutAllow, "no Allow header".to_owned());
        }
        if answered.cut {
            let limit = self.sending.largest_body;
            say(Check::OversizedAnswer, format!("more than {limit} bytes"));
        }
        // In an answer of success it is content: the output of somebody's script.
        if status >= 400
            && let Some(language) = stack_trace::language(&answered.text())
            && !sent_itself(request)
        {
            say(Check::StackTrace, format!("a stack trace of {language}"));
        }
        let Some((index, operation)) = operation else {
            return;
        };
        // What is no text is refused before anybody looks at what the document says.
        let refused = status == 400 && !request.is_text();
        if answered.status < 500 && !refused {
            self.against_document(index, operation, request, answered, secrets, &mut say);
        }
        if (200..300).contains(&status) {
            self.unguarded(operation, request, by_key, &mut say);
        }
    }

    /// Whether it is what the document says.
    fn against_document(
        &mut self,
        index: usize,
        operation: &Operation,
        request: &Request,
        answered: &Answered,
        secrets: &Secrets,
        say: &mut dyn FnMut(Check, String),
    ) {
        let status = answered.status;
        let Some((response_index, response)) = operation.response(status) else {
            // Who declares that a login is needed, or a token against forgery, says that it may be refused.
            let implied = match status {
                // A document that says nothing of logins says nothing of these.
                401 | 403 if !self.document.knows_logins() => true,
                401 => operation.secured,
                403 => operation.secured || self.sending.needs_token(&request.method),
                503 => true,
                status => OF_HTTP.contains(&status),
            };
            if !implied {
                say(
                    Check::UndocumentedStatus,
                    format!("{status} is not documented"),
                );
            }
            return;
        };
        let empty = answered.body.is_empty() || status == 204 || request.method == "HEAD";
        if response.content.is_empty() || (empty && !answered.stream) {
            return;
        }
        let media_type = answered.media_type();
        let covering = response
            .content
            .iter()
            .position(|content| content.covers(&media_type));
        let Some(content_index) = covering else {
            let shown = if media_type.is_empty() {
                "none"
            } else {
                &media_type
            };
            say(Check::WrongContentType, format!("{status} as {shown}"));
            return;
        };
        let Some(value) = answered
            .json()
            .filter(|_| crate::openapi::is_json(&media_type))
        else {
            if crate::openapi::is_json(&media_type) && !answered.cut && !answered.is_json_text() {
                say(
                    Check::BodyAgainstSchema,
                    format!("{status}: the body is no JSON"),
                );
            }
            return;
        };
        let key = (index, response_index, content_index);
        if let Some((place, fault)) = self.validators.fault(self.document, key, value) {
            let place = normalised(&secrets.strike(&place), MESSAGE);
            let fault = normalised(&secrets.strike(&fault), MESSAGE);
            say(
                Check::BodyAgainstSchema,
                format!("{status}: {place} {fault}"),
            );
        }
    }

    /// Whether a success should have been refused.
    fn unguarded(
        &self,
        operation: &Operation,
        request: &Request,
        by_key: bool,
        say: &mut dyn FnMut(Check, String),
    ) {
        // Who has a key is not nobody; and no page of another site sends it, so that nothing can be forged.
        if !operation.secured || by_key {
            return;
        }
        if request.who == Who::Nobody {
            say(Check::LoginNotNeeded, "done for nobody".to_owned());
        } else if request.csrf != Csrf::Right && self.sending.needs_token(&request.method) {
            say(Check::CsrfNotChecked, FORGED.to_owned());
        }
    }
}

/// What is said of a change that should have been refused for its token.
pub(super) const FORGED: &str = "done without this session's token";

fn first_words(answered: &Answered, secrets: &Secrets) -> String {
    let message = answered.json().and_then(|json| {
        let members = ["detail", "message", "error", "title"];
        members.iter().find_map(|name| json[name].as_str())
    });
    match message {
        Some(message) => normalised(&secrets.strike(message), MESSAGE),
        None => {
            let text = answered.text();
            // A page of a framework differs in its middle, not at its start.
            let start: String = text.chars().take(4 * MESSAGE).collect();
            normalised(&secrets.strike(&start), MESSAGE)
        }
    }
}

/// Whether the request itself holds what looks like a stack trace: then an answer that repeats it proves nothing.
fn sent_itself(request: &Request) -> bool {
    serde_json::to_string(request).is_ok_and(|text| stack_trace::language(&text).is_some())
}
