//! What a scenario file may say of its monkey swarm: what is known, what is left alone, how long it looks.
//!
//! Operations are named as `METHOD /path/{template}` with or without the target's prefix, or by their `operationId`. Whether
//! the OpenAPI document has them is known when that was read, before the run.

use crate::decode::{At, record, words};
use crate::problem::{Mark, Problems};
use crate::scalar::Span;
use crate::template::Template;

record! {
    /// What the monkey swarm keeps to.
    Monkey ("the monkey swarm") {
        /// What is known and no finding.
        "accept" accept: Vec<Accepted>;
        /// The operation that ends a session; guessed by its name when left out.
        "logout" logout: Option<At<String>>;
        /// The value of `Authorization`, of what the login saved, such as `Bearer {user.token}`.
        "authorization" authorization: Option<Template>;
        /// Operations that are never sent.
        "skip" skip: Vec<At<String>>;
        /// How long an answer may take; what takes longer is a hang.
        "timeout" timeout: Span = Span::seconds(10);
        /// How long an event stream is looked at.
        "window" window: Span = Span::milliseconds(300);
        /// Answers larger than this, in bytes, are findings.
        "largest_answer" largest_answer: At<u64> = LARGEST_ANSWER.into();
        /// How long findings may be sent again and shrunk after the load.
        "settle" settle: Span = Span::seconds(30);
        /// How many probes are sent at most; as many as there is time for when left out.
        "probes" probes: Option<At<u64>>;
    }
}

/// 8 MiB.
const LARGEST_ANSWER: u64 = 8 << 20;

record! {
    /// Something that is known and no finding. What is left out stands for anything.
    Accepted ("something accepted") {
        /// The check.
        "check" check: Option<CheckName>;
        /// The operation.
        "operation" operation: Option<At<String>>;
        /// The status of the answer.
        "status" status: Option<u16>;
        /// Why it is accepted.
        "reason" reason: String;
    }
}

words! {
    /// The checks of the monkey swarm, by their ids.
    CheckName {
        /// The server failed (5xx).
        ServerError = "server_error",
        /// The connection broke.
        TransportFault = "transport_fault",
        /// No answer in time.
        Hang = "hang",
        /// A status that the document doesn't have.
        UndocumentedStatus = "undocumented_status",
        /// A media type that the document doesn't have.
        WrongContentType = "wrong_content_type",
        /// A body that doesn't fit its schema.
        BodyAgainstSchema = "body_against_schema",
        /// A 405 without `Allow`.
        MethodWithoutAllow = "method_without_allow",
        /// A stack trace in an answer.
        StackTrace = "stack_trace",
        /// A change without the token against forgery.
        CsrfNotChecked = "csrf_not_checked",
        /// Done for nobody, though a login is declared to be needed.
        LoginNotNeeded = "login_not_needed",
        /// One user's thing given to another.
        ForeignRead = "foreign_read",
        /// A session that goes on after its end.
        SessionAfterLogout = "session_after_logout",
        /// A deleted thing still served.
        UseAfterDelete = "use_after_delete",
        /// A refused creation that left something.
        RefusedWithEffect = "refused_with_effect",
        /// A privileged member that is believed.
        MassAssignment = "mass_assignment",
        /// Several winners of what only one can have.
        UniqueRace = "unique_race",
        /// An answer beyond `largest_answer`.
        OversizedAnswer = "oversized_answer",
    } default ServerError
}

impl From<u64> for At<u64> {
    fn from(value: u64) -> Self {
        Self {
            value,
            mark: Mark::default(),
        }
    }
}

impl Monkey {
    /// What holds when the file does not say otherwise.
    pub(crate) fn with_defaults() -> Self {
        Self {
            mark: Mark::default(),
            accept: Vec::new(),
            logout: None,
            authorization: None,
            skip: Vec::new(),
            timeout: Span::seconds(10),
            window: Span::milliseconds(300),
            largest_answer: LARGEST_ANSWER.into(),
            settle: Span::seconds(30),
            probes: None,
        }
    }

    /// Whether the file says anything of it.
    pub(crate) fn is_given(&self) -> bool {
        self.mark != Mark::default()
    }

    pub(crate) fn check(&self, http: bool, problems: &mut Problems) {
        if !self.is_given() {
            return;
        }
        if !http {
            problems.add(self.mark, "`monkey` is for targets with `protocol: http`");
        }
        if self.largest_answer.value == 0 {
            problems.add(
                self.largest_answer.mark,
                "`largest_answer` must be at least 1",
            );
        }
        if let Some(probes) = self.probes.as_ref().filter(|probes| probes.value == 0) {
            problems.add(probes.mark, "`probes` must be at least 1");
        }
        let accepted = self.accept.iter().filter_map(|it| it.operation.as_ref());
        for name in accepted.chain(&self.logout).chain(&self.skip) {
            let path = name.value.split_once(' ').map(|(_, path)| path.trim());
            if path.is_some_and(|path| !path.starts_with('/')) {
                problems.add_with_help(
                    name.mark,
                    format!("`{}` is no operation", name.value),
                    "write method and path, as in `GET /things/{id}`, or an operationId",
                );
            }
        }
    }
}
