//! What a scenario file may say: its keys, their types and defaults. Reading, the JSON Schema and this page are one
//! declaration; what the names in it refer to is checked in [`crate::compile()`].

use throng_identity::tokens::TokenAction;
use throng_metrics::WorkflowRole;

use crate::decode::{At, Named, OneOrMany, record, words};
use crate::http::{Capture, Csrf, Knobs, Part, Plain, RawJson, Redirects, Tls};
use crate::path::Path;
use crate::problem::Mark;
use crate::scalar::{Pattern, RateText, SecretText, Span};
use crate::template::{JsonTemplate, Template};

pub use crate::accounts::{
    BrowserKind, Client, Login, LoginKind, NamedRequest, PageDriver, PageSelectors, PrivateKey,
    Request, SecretWay, Signing, Subject, SubjectToken, Via,
};
pub use crate::blocks::{Actor, ActorCount, Block, ForEach, OneOf, Parallel, Sequence};
pub use crate::directory::{Directory, DirectoryKind, Listing, Registering, SignUp};
pub use crate::monkey::{Accepted, CheckName, Monkey};
pub use crate::property::{Given, Property, Share, Statuses};
pub use crate::roster::{Listed, Roster};

record! {
    /// A scenario: the target, the users, the workflows and how they are mixed.
    Scenario ("a scenario") {
        /// Name of the scenario, as it appears in reports.
        "name" name: String;
        /// What it is for, in a sentence.
        "description" description: Option<String>;
        /// The system under test.
        "target" target: Target;
        /// Where the users are created and deleted.
        "directory" directory: Option<Directory>;
        /// How the users log in.
        "login" login: Login = Login::default();
        /// The users that are created for the run.
        "users" users: Users = Users::with_defaults();
        /// How long and how hard.
        "load" load: Load = Load::with_defaults();
        /// Conditions on the result, such as `error_rate<1%` or `note_share.p95<500ms`.
        "thresholds" thresholds: Vec<At<String>>;
        /// The workload that runs unless another is asked for.
        "workload" workload: Option<At<String>>;
        /// Mixes of workflows: name -> { workflow: weight }.
        "workloads" workloads: Named<Named<At<u32>>>;
        /// The workflows.
        "workflows" workflows: Named<Workflow>;
        /// What must hold for examples that are made up: `throng property` tries them. No run does.
        "properties" properties: Named<Property>;
        /// What the monkey swarm keeps to.
        "monkey" monkey: Monkey = Monkey::with_defaults();
        /// What the embedded sandbox does for this scenario; means nothing on another target.
        "sandbox" sandbox: Option<SandboxPart>;
    }
}

words! {
    /// The protocol of the target.
    Protocol {
        /// The Model Context Protocol over streamable HTTP.
        Mcp = "mcp",
        /// Plain HTTP/1.1 or HTTP/2, with cookies and server-sent events.
        Http = "http",
    } default Mcp
}

record! {
    /// What the embedded sandbox does when the scenario runs on it.
    SandboxPart ("the sandbox") {
        /// Its knobs, as in a knobs file. Those of `--sandbox-knobs` beat them, one by one.
        "knobs" knobs: At<Knobs>;
    }
}

record! {
    /// The system under test.
    Target ("the target") {
        /// What it speaks.
        "protocol" protocol: Protocol = Protocol::Mcp;
        /// Where it is, such as http://localhost:8001/mcp.
        "url" url: At<String>;
        /// With `protocol: http`: put before every path of a step that starts with `/`, such as /api/v1.
        "prefix" prefix: Option<At<String>>;
        /// Whose certificates are believed.
        "tls" tls: Option<Tls>;
        /// With `protocol: http`: protection against forgery by a cookie that a header repeats.
        "csrf" csrf: Option<Csrf>;
        /// With `protocol: http`: whether steps follow redirects unless they say otherwise.
        "follow_redirects" follow_redirects: bool = false;
        /// With `protocol: http`: whether answers may come compressed (gzip, br).
        "compression" compression: bool = true;
        /// How long one call may take.
        "timeout" timeout: Span = Span::seconds(30);
        /// Whether each call carries a W3C `baggage` header that names its step and phase.
        "baggage" baggage: bool = true;
        /// Headers that every call carries.
        "headers" headers: Named<String>;
        /// With `protocol: http`: where its OpenAPI document is: a path of the target, such as /openapi.json, a URL, or a file,
        /// relative to the scenario file.
        "openapi" openapi: Option<At<String>>;
    }
}

impl Target {
    /// Where a path that starts with `/` is put: the URL and the prefix, without a slash at the end.
    pub fn base(&self) -> String {
        let url = self.url.trim_end_matches('/');
        match self.prefix.as_ref().map(|prefix| prefix.trim_matches('/')) {
            None | Some("") => url.to_owned(),
            Some(prefix) => format!("{url}/{prefix}"),
        }
    }
}

record! {
    /// The users that are created for the run.
    Users ("users") {
        /// How many.
        "count" count: At<u32> = given(2_u32);
        /// What `{prefix}` stands for; cleaning up finds the users by it.
        "prefix" prefix: At<String> = given("loadtest");
        /// Login name: `{prefix}`, and `{n}` counted from 1.
        "name" name: At<String> = given("{prefix}_user_{n}");
        /// Display name; also knows `{name}`.
        "display_name" display_name: At<String> = given("Load Test User {n}");
        /// Mail address; also knows `{name}`.
        "email" email: At<String> = given("{name}@benchmark.local");
        /// Password of every user; better given as `${NAME}`. Made up for each when left out or empty.
        "password" password: Option<SecretText>;
        /// A file of users who are there already, ending in .csv or .json and relative to this one. Then nobody is created or
        /// deleted, and without `count` all of them take part.
        "from" from: Option<Roster>;
        /// Whether they are created. With `false` they must be there already, with `password`: they only log in, and nothing of
        /// them is deleted.
        "create" create: bool = true;
    }
}

/// A value that stands nowhere in the file.
fn given<T>(value: impl Into<T>) -> At<T> {
    At {
        value: value.into(),
        mark: Mark::default(),
    }
}

impl Users {
    /// What holds when the file does not say otherwise.
    pub(crate) fn with_defaults() -> Self {
        Self {
            mark: Mark::default(),
            count: given(2_u32),
            prefix: given("loadtest"),
            name: given("{prefix}_user_{n}"),
            display_name: given("Load Test User {n}"),
            email: given("{name}@benchmark.local"),
            password: None,
            from: None,
            create: true,
        }
    }
}

words! {
    /// Which swarm works.
    Mode {
        /// Users who do what the workflows say.
        User = "user",
        /// Monkeys: requests that nobody planned, made from the target's OpenAPI document.
        Monkey = "monkey",
        /// Both at the same time, each with its own users.
        Both = "both",
    } default User
}

impl Mode {
    /// Whether users do what the workflows say.
    pub fn has_users(self) -> bool {
        self != Self::Monkey
    }

    /// Whether there are monkeys.
    pub fn has_monkeys(self) -> bool {
        self != Self::User
    }
}

record! {
    /// How long and how hard.
    Load ("the load") {
        /// Load whose samples are thrown away, before the measured part.
        "warmup" warmup: Span = Span::seconds(5);
        /// Length of the measured part.
        "duration" duration: At<Span> = given(Span::seconds(30));
        /// Pause of a user between two workflows.
        "pause" pause: Span = Span::milliseconds(50);
        /// Starts at this rate whatever the target does (constant-arrival-rate); else each user works as fast as it can.
        "rate" rate: Option<At<RateText>>;
        /// With a rate: how many starts may wait for a free user before further ones are dropped (and counted).
        "queue" queue: Option<At<u32>>;
        /// How long what is in flight may take at the end.
        "graceful_stop" graceful_stop: Span = Span::seconds(30);
        /// How long `finally` may take after the run was aborted.
        "abort_grace" abort_grace: Span = Span::seconds(10);
        /// How many requests may be in flight at once, whatever the number of users; as many as there are users (and their
        /// parallel steps) when left out.
        "concurrency" concurrency: Option<At<u32>>;
        /// Which swarm works: user, monkey, or both. Monkeys need `target.openapi`.
        "mode" mode: Mode = Mode::User;
        /// Seed of every random choice; drawn and reported when left out.
        "seed" seed: Option<u64>;
    }
}

impl Load {
    /// What holds when the file does not say otherwise.
    pub(crate) fn with_defaults() -> Self {
        Self {
            mark: Mark::default(),
            warmup: Span::seconds(5),
            duration: given(Span::seconds(30)),
            pause: Span::milliseconds(50),
            rate: None,
            queue: None,
            graceful_stop: Span::seconds(30),
            abort_grace: Span::seconds(10),
            concurrency: None,
            mode: Mode::User,
            seed: None,
        }
    }
}

words! {
    /// What a workflow counts as in the report.
    Role {
        /// A workflow of its own.
        Workflow = "workflow",
        /// Single-user operations: the report's baseline section.
        Baseline = "baseline",
    } default Workflow
}

impl From<Role> for WorkflowRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Workflow => Self::Workflow,
            Role::Baseline => Self::Baseline,
        }
    }
}

record! {
    /// Actors and what they do.
    Workflow ("a workflow") {
        /// What it counts as in the report.
        "role" role: Role = Role::Workflow;
        /// What it is for, in a sentence.
        "description" description: Option<String>;
        /// Who takes part. The first is the virtual user that runs the workflow; the others are drawn at random for each
        /// execution, all distinct. `{ editors: 3 }` is a group, `{ editors: 1..3 }` one that takes fewer when there are
        /// fewer users, `{ others: rest }` everybody else.
        "actors" actors: Vec<Actor>;
        /// Whether nobody else uses these users meanwhile.
        "exclusive" exclusive: bool = false;
        /// What they do, one after the other. A step that fails fails the workflow; the rest is left out.
        "steps" steps: Vec<Block>;
        /// What is always done in the end. A step here that needs a value that was never saved is left out; a failure is
        /// recorded and does not keep the others from running.
        "finally" finally: Vec<Block>;
    }
}

record! {
    /// One measured operation of an actor.
    Step ("a step") {
        /// Who does it; may be left out when there is only one actor.
        "as" actor: Option<At<String>>;
        /// Call this MCP tool.
        "call" call: Option<At<String>>;
        /// The tool's arguments.
        "with" with: Option<JsonTemplate>;
        /// Read this MCP resource.
        "resource" resource: Option<Template>;
        /// GET this path.
        "get" get: Option<Template>;
        /// POST to this path.
        "post" post: Option<Template>;
        /// PUT to this path.
        "put" put: Option<Template>;
        /// PATCH this path.
        "patch" patch: Option<Template>;
        /// DELETE this path.
        "delete" delete: Option<Template>;
        /// HEAD of this path.
        "head" head: Option<Template>;
        /// OPTIONS of this path.
        "options" options: Option<Template>;
        /// Listen to the server-sent events of this path: until the event that `until` describes, until so many `events`, or
        /// until `within` is over. The request is the sample; what comes after it is in no latency.
        "listen" listen: Option<Template>;
        /// How long `listen` listens, however silent the stream; 10 s when left out.
        "within" within: Option<At<Span>>;
        /// After how many events `listen` ends.
        "events" events: Option<At<u64>>;
        /// Do this with the actor's own token, at the authorization server.
        "token" token: Option<At<TokenWord>>;
        /// Whether a token that is over or refused is renewed for this step. With `false` it uses the token that its actor has,
        /// whatever that is worth, and a 401 is its answer.
        "renew" renew: Option<At<bool>>;
        /// Query parameters, added to those in the path; a list repeats the name.
        "query" query: Named<OneOrMany<Plain>>;
        /// Headers.
        "headers" headers: Named<Plain>;
        /// A JSON body.
        "json" json: Option<JsonTemplate>;
        /// A form body (application/x-www-form-urlencoded); a list repeats the name.
        "form" form: Option<Named<OneOrMany<Plain>>>;
        /// A multipart body (multipart/form-data): name -> text, or { file or content, filename, type }.
        "multipart" multipart: Option<Named<Part>>;
        /// A body of any text; its type is in `content_type`.
        "body" body: Option<Template>;
        /// The media type of `body`; text/plain when left out.
        "content_type" content_type: Option<At<String>>;
        /// The status, or statuses, that are expected and no error; any 2xx when left out.
        "expect" expect: OneOrMany<At<u16>>;
        /// What is done with a redirect; else what the target says.
        "redirects" redirects: Option<Redirects>;
        /// Only when this has a value that is not empty, not false and not null.
        "when" when: Option<Template>;
        /// Not when this has a value that is not empty, not false and not null.
        "unless" unless: Option<Template>;
        /// How long the call may take; else the target's timeout.
        "timeout" timeout: Option<Span>;
        /// Called again and again until this holds. Each call is a sample of its own; the time until it holds is the
        /// propagation, and no server latency.
        "until" until: Option<Until>;
        /// A refusal that is expected, and no error.
        "refused" refused: Option<Refused>;
        /// Done instead of `save` and `append_to` when the call was refused.
        "or_else" or_else: Vec<Block>;
        /// What must hold for the result; else the step failed.
        "check" check: OneOrMany<Check>;
        /// Values kept from the result: variable -> JSONPath, or actor.property -> JSONPath. Of an HTTP answer also
        /// { header: NAME }, { regex: "...(group)..." } or { cookie: NAME }.
        "save" save: Named<Capture>;
        /// Values added to a list of this execution: list -> value.
        "append_to" append_to: Named<JsonTemplate>;
    }
}

words! {
    /// What a step may do with its actor's token.
    TokenWord {
        /// Renew it by the refresh token.
        Refresh = "refresh",
        /// Log in anew.
        Login = "login",
        /// Revoke the access token.
        Revoke = "revoke",
        /// Revoke the refresh token.
        RevokeRefresh = "revoke_refresh",
    } default Refresh
}

impl From<TokenWord> for TokenAction {
    fn from(word: TokenWord) -> Self {
        match word {
            TokenWord::Refresh => Self::Refresh,
            TokenWord::Login => Self::LogIn,
            TokenWord::Revoke => Self::Revoke,
            TokenWord::RevokeRefresh => Self::RevokeRefresh,
        }
    }
}

impl Step {
    /// Whether a token that is over or refused is renewed for it.
    pub fn renews(&self) -> bool {
        self.renew.as_ref().is_none_or(|renew| renew.value)
    }
}

record! {
    /// An expected refusal.
    Refused ("a refusal") {
        /// The error must match this.
        "error" error: Pattern;
        /// Counts refusals under this name.
        "count" count: Option<At<String>>;
        /// Whether the step fails when it is not refused.
        "must" must: bool = false;
    }
}

words! {
    /// The types of JSON.
    JsonType {
        /// `null`
        Null = "null",
        /// `true` or `false`
        Boolean = "boolean",
        /// any number
        Number = "number",
        /// a text
        Text = "string",
        /// `[...]`
        Array = "array",
        /// `{...}`
        Object = "object",
    } default Null
}

/// Declares a record with the keys of a condition and some more.
macro_rules! condition_record {
    ($(#[doc = $doc:literal])* $name:ident ($what:literal) { $($extra:tt)* }) => {
        record! {
            $(#[doc = $doc])*
            $name ($what) {
                /// Where in the result; the whole of it when left out.
                "path" path: Path = Path::default();
                /// Of an HTTP answer: this header instead of the body.
                "header" header: Option<At<String>>;
                /// Of an HTTP answer: the status is one of these.
                "status" status: OneOrMany<u16>;
                /// It fits this JSON Schema.
                "schema" schema: Option<At<RawJson>>;
                /// Whether there is something at the path.
                "exists" exists: Option<bool>;
                /// It is this value.
                "equals" equals: Option<JsonTemplate>;
                /// It is not this value.
                "not_equals" not_equals: Option<JsonTemplate>;
                /// A text that has this in it, or an array that has this element.
                "contains" contains: Option<JsonTemplate>;
                /// A text that does not have this in it, or an array that does not have this element.
                "not_contains" not_contains: Option<JsonTemplate>;
                /// A text that has every element of this list in it, or an array that has every one as element.
                "contains_each" contains_each: Option<JsonTemplate>;
                /// With `contains_each`: count what is missing under this name instead of failing.
                "count_missing" count_missing: Option<At<String>>;
                /// A text that matches this regular expression.
                "matches" matches: Option<Pattern>;
                /// It has this JSON type.
                "type" json_type: Option<JsonType>;
                /// Length of a text (in characters), an array or an object.
                "length" length: Option<u64>;
                /// A number, or a length of a text, array or object, not below this.
                "at_least" at_least: Option<f64>;
                /// A number, or a length of a text, array or object, not above this.
                "at_most" at_most: Option<f64>;
                $($extra)*
            }
        }
    };
}

condition_record! {
    /// What must hold for the result.
    Check ("a check") {}
}

condition_record! {
    /// What is waited for.
    Until ("an until") {
        /// Until the call is refused with an error that matches this, in place of a condition on its result.
        "refused" refused: Option<At<Pattern>>;
        /// Time between two calls; it bounds the error of the measured propagation.
        "every" every: At<Span> = given(Span::milliseconds(50));
        /// How long it is waited for.
        "within" within: At<Span> = given(Span::seconds(10));
    }
}

impl Until {
    /// What is waited for, without the times.
    pub fn condition(&self) -> Check {
        Check {
            mark: self.mark,
            path: self.path.clone(),
            header: self.header.clone(),
            status: self.status.clone(),
            schema: self.schema.clone(),
            exists: self.exists,
            equals: self.equals.clone(),
            not_equals: self.not_equals.clone(),
            contains: self.contains.clone(),
            not_contains: self.not_contains.clone(),
            contains_each: self.contains_each.clone(),
            count_missing: self.count_missing.clone(),
            matches: self.matches.clone(),
            json_type: self.json_type,
            length: self.length,
            at_least: self.at_least,
            at_most: self.at_most,
        }
    }
}
