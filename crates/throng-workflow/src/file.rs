//! A scenario file as a whole: read, given what flags say, checked, compiled.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use throng_identity::secret::Secret;
use throng_metrics::threshold::Threshold;
use url::Url;

use crate::builtin;
use crate::compile::{compile, take_none};
use crate::decode::{At, Decode};
use crate::model::{DirectoryKind, LoginKind, Mode, Protocol, Scenario};
use crate::node::{self, Kind, Lookup, Node};
use crate::playbook::Playbook;
use crate::problem::{Mark, Problem, Problems};
use crate::program::{Program, Properties};

/// A scenario file without mistakes.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    /// What it says, flags included.
    pub scenario: Scenario,
    /// Its workflows, ready to run.
    pub program: Arc<Program>,
    /// Its properties, ready to be tried.
    pub properties: Arc<Properties>,
    /// The text of the file, for messages that show a line of it.
    pub source: String,
    /// The file's path or the built-in scenario's name, as it was asked for.
    pub origin: String,
    /// Variables of the environment that are not set and have no default; only ever filled by
    /// [`Environment::tolerant`].
    pub unset: Vec<String>,
}

/// Where `${NAME}` is looked up.
pub struct Environment<'a> {
    lookup: Lookup<'a>,
    tolerate_missing: bool,
}

impl<'a> Environment<'a> {
    /// A variable that is not set and has no default is a mistake.
    pub fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            tolerate_missing: false,
        }
    }

    /// Puts its values into a tree. The names of those that are not set, where that is no mistake.
    pub(crate) fn substitute(&self, root: &mut Node, problems: &mut Problems) -> Vec<String> {
        node::substitute(root, self.lookup, self.tolerate_missing, problems)
    }

    /// For checking a file without running it: what is not set is only named.
    pub fn tolerant(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            tolerate_missing: true,
        }
    }
}

/// What flags say instead of the file. They are put in before anything is checked, so that `${NAME}` in a value that a flag
/// replaces need not be set.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--url`: the target's URL.
    pub url: Option<String>,
    /// `--users`: how many.
    pub users: Option<u32>,
    /// `--user-prefix`.
    pub prefix: Option<String>,
    /// `--duration` of the measured part.
    pub duration: Option<Duration>,
    /// `--warmup`.
    pub warmup: Option<Duration>,
    /// `--pause` between two workflows of a user.
    pub pause: Option<Duration>,
    /// `--rate`, such as `200/s`.
    pub rate: Option<String>,
    /// `--queue` of due starts.
    pub queue: Option<u32>,
    /// `--concurrency`: requests in flight.
    pub concurrency: Option<u32>,
    /// `--mode`.
    pub mode: Option<Mode>,
    /// `--users-from`: a file of users who are there already.
    pub users_from: Option<String>,
    /// `--issuer`: the target is the sandbox, its users those of a provider elsewhere. The file's directory and what it sends after
    /// a login fall away: they are about users whose passwords the target knows.
    pub outside_issuer: bool,
    /// `--auto-register`: whether users are created.
    pub create_users: Option<bool>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--timeout` of one call.
    pub timeout: Option<Duration>,
    /// `--workload`: a workload's name, or a workflow's.
    pub workload: Option<String>,
    /// `--threshold`: added to those of the file.
    pub thresholds: Vec<String>,
    /// The directory, as far as it is given.
    pub directory: DirectoryOverrides,
    /// `--client-id`.
    pub client_id: Option<String>,
    /// `--client-secret`.
    pub client_secret: Option<Secret>,
}

/// What flags (or a sandbox that was just started) say about the directory.
#[derive(Clone, Debug, Default)]
pub struct DirectoryOverrides {
    /// Its URL.
    pub url: Option<String>,
    /// An administrator.
    pub admin: Option<String>,
    /// The administrator's password.
    pub password: Option<Secret>,
    /// What its URL ends in where the file's directory speaks SCIM; that of a sandbox.
    pub scim: Option<&'static str>,
}

impl Overrides {
    fn apply(&self, root: &mut Node) {
        let mut set = |path: &str, flag, value| set(root, path, flag, value);
        let span = |duration: Option<Duration>| {
            duration.map(|duration| format!("{}us", duration.as_micros()))
        };
        set("target.url", "--url", self.url.clone());
        set("target.timeout", "--timeout", span(self.timeout));
        set("users.count", "--users", self.users.map(|n| n.to_string()));
        set("users.prefix", "--user-prefix", self.prefix.clone());
        set("load.duration", "--duration", span(self.duration));
        set("load.warmup", "--warmup", span(self.warmup));
        set("load.pause", "--pause", span(self.pause));
        set("load.rate", "--rate", self.rate.clone());
        set("load.queue", "--queue", self.queue.map(|n| n.to_string()));
        let concurrency = self.concurrency.map(|n| n.to_string());
        set("load.concurrency", "--concurrency", concurrency);
        let mode = self.mode.map(|mode| mode.word().to_owned());
        set("load.mode", "--mode", mode);
        let create = self.create_users.map(|create| create.to_string());
        set("users.create", "--auto-register", create);
        set("users.from", "--users-from", self.users_from.clone());
        set("load.seed", "--seed", self.seed.map(|n| n.to_string()));
        set("workload", "--workload", self.workload.clone());
        set("login.client.id", "--client-id", self.client_id.clone());
        let secret = self.client_secret.as_ref();
        set_secret(root, "login.client.secret", "--client-secret", secret);
        self.directory.apply(root);
        if !self.thresholds.is_empty() {
            let mut all = match root.get("thresholds").map(|node| &node.kind) {
                Some(Kind::List(items)) => items.clone(),
                _ => Vec::new(),
            };
            let added = self.thresholds.iter();
            all.extend(added.map(|text| Node::text(text.as_str(), "--threshold")));
            root.set("thresholds", Node::list(all, "--threshold"));
        }
    }
}

impl DirectoryOverrides {
    fn apply(&self, root: &mut Node) {
        let kind = root.get("directory").and_then(|it| it.get("kind"));
        let is_scim = matches!(kind.map(|node| &node.kind), Some(Kind::Text(kind)) if kind == DirectoryKind::Scim.word());
        let below = self.scim.filter(|_| is_scim).unwrap_or_default();
        let url = self.url.as_ref().map(|url| format!("{url}{below}"));
        if self.admin.is_some() && is_scim {
            // Another way to log in than the one that is given now.
            for other in ["token", "before", "headers"] {
                root.remove(&format!("directory.{other}"));
            }
        }
        set(root, "directory.url", "--host", url);
        set(root, "directory.admin", "--admin", self.admin.clone());
        let password = self.password.as_ref();
        set_secret(root, "directory.password", "--admin-password", password);
        // A file without a directory can be given one by flags: the kind that has an address.
        let has_kind = |root: &Node| {
            root.get("directory")
                .is_some_and(|d| d.get("kind").is_some())
        };
        if self.url.is_some() && !has_kind(root) {
            let kind = DirectoryKind::default().word();
            root.set("directory.kind", Node::text(kind, "--host"));
        }
    }
}

/// Puts what a flag says in the place of what the file says, if the flag was given.
fn set(root: &mut Node, path: &str, flag: &'static str, value: Option<String>) {
    if let Some(value) = value {
        root.set(path, Node::text(value, flag));
    }
}

/// The same with what is marked like a value of the environment, so that no message shows it.
fn set_secret(root: &mut Node, path: &str, flag: &'static str, value: Option<&Secret>) {
    if let Some(value) = value {
        let node = Node {
            from_environment: true,
            ..Node::text(value.expose(), flag)
        };
        root.set(path, node);
    }
}

/// What the target of a file speaks, as far as can be told from the file as it stands. A file that cannot be read, or whose
/// protocol is unknown, is taken for one of MCP: reading it as a scenario says what is wrong.
pub fn protocol_of(name: &str) -> Protocol {
    let told = || {
        let (file, source) = read(name).ok()?;
        let root = node::parse(&source, &mut Problems::new(&file, &source))?;
        match &root.get("target")?.get("protocol")?.kind {
            Kind::Text(word) => (word == Protocol::Http.word()).then_some(Protocol::Http),
            _ => None,
        }
    };
    told().unwrap_or_default()
}

impl ScenarioFile {
    /// Reads a file, or a built-in scenario when `name` is one of [`builtin::names`] and no such file exists.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the file.
    pub fn load(
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let (file, source) = read(name)?;
        let loaded = Self::read(&file, &source, overrides, environment, None)?;
        Ok(Self {
            origin: name.to_owned(),
            ..loaded
        })
    }

    /// Reads a file as [`ScenarioFile::load`] does, for a scenario that is written in Rust: target, directory, login, users and
    /// load are the file's, workflows the playbook's. Workflows, workloads and thresholds of the file are left out; thresholds
    /// may be given as overrides.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the file.
    pub fn load_for(
        playbook: &Playbook,
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let (file, source) = read(name)?;
        let loaded = Self::read(&file, &source, overrides, environment, Some(playbook))?;
        Ok(Self {
            origin: name.to_owned(),
            ..loaded
        })
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the file.
    pub fn parse(
        name: &str,
        source: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        Self::read(name, source, overrides, environment, None)
    }

    fn read(
        name: &str,
        source: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
        playbook: Option<&Playbook>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(name, source);
        let Some(mut root) = node::parse(source, &mut problems) else {
            return Err(problems.into_sorted());
        };
        if playbook.is_some() {
            for key in ["workflows", "workloads", "workload", "thresholds"] {
                root.remove(key);
            }
        }
        if overrides.outside_issuer {
            root.remove("directory");
            root.remove("login.after");
        }
        overrides.apply(&mut root);
        let mut unset = environment.substitute(&mut root, &mut problems);
        let mut scenario = Scenario::decode(&root, &mut problems);
        take_none(&mut scenario, &mut problems);
        crate::roster::fill(&mut scenario, environment, &mut unset, &mut problems);
        check_url(&scenario.target.url, &unset, &mut problems);
        if let Some(url) = scenario.directory.as_ref().and_then(|d| d.url.as_ref()) {
            check_url(url, &unset, &mut problems);
        }
        check_load(&scenario, &mut problems);
        let program = match playbook {
            None => compile(&scenario, &mut problems),
            Some(playbook) => playbook.program(crate::users::names(&scenario.users, &mut problems)),
        };
        let properties = crate::compile::properties(&scenario, &mut problems);
        for text in &scenario.thresholds {
            check_threshold(text, &program, &mut problems);
        }
        if problems.is_empty() {
            Ok(Self {
                scenario,
                program: Arc::new(program),
                properties: Arc::new(properties),
                source: source.to_owned(),
                origin: name.to_owned(),
                unset,
            })
        } else {
            Err(problems.into_sorted())
        }
    }
}

/// The name for messages and the text of a file or of a built-in scenario.
fn read(name: &str) -> Result<(String, Cow<'static, str>), Vec<Problem>> {
    let path = Path::new(name);
    if !path.is_file()
        && let Some(source) = builtin::scenario(name)
    {
        return Ok((format!("{name}.yaml"), source.into()));
    }
    std::fs::read_to_string(path)
        .map(|source| (name.to_owned(), source.into()))
        .map_err(|error| {
            let mut problems = Problems::new(name, "");
            let known: Vec<&str> = builtin::names().collect();
            problems.add_with_help(
                Mark::default(),
                format!("cannot read the scenario file: {error}"),
                match crate::problem::nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean the built-in scenario `{near}`?"),
                    None => format!(
                        "built-in scenarios are {}; `throng init` writes a file to start from",
                        known.join(", ")
                    ),
                },
            );
            problems.into_sorted()
        })
}

fn check_url(url: &At<String>, unset: &[String], problems: &mut Problems) {
    if url.value.is_empty()
        || problems.reported_in(url.mark)
        || unset
            .iter()
            .any(|name| url.value.contains(&format!("${{{name}")))
    {
        return;
    }
    let why = match Url::parse(url) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            return problems.add_unshown(
                url.mark,
                "this URL has a user name or a password in it, which would be shown and never sent",
                "take them out; what the target asks of every request goes into its `headers: { Authorization: ... }`",
            );
        }
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => return,
        Ok(parsed) => format!("the scheme `{}` is not http or https", parsed.scheme()),
        Err(error) => error.to_string(),
    };
    problems.add_with_help(
        url.mark,
        format!("this is not a URL: {why}"),
        "write it whole, such as http://localhost:8001/mcp",
    );
}

fn check_threshold(text: &At<String>, program: &Program, problems: &mut Problems) {
    // Where a part of the file could not be read, the name may well have been in it.
    let incomplete = problems.lost_between(Mark::default(), None);
    let checked = text.parse::<Threshold>().and_then(|threshold| {
        if incomplete {
            return Ok(());
        }
        threshold.check(&program.catalog)
    });
    if let Err(error) = checked {
        let mark = text.mark.within(text, error.at.saturating_sub(1), 1);
        let message = format!("threshold `{}`: {}", text.value, error.message);
        match error.nearest {
            Some(nearest) => {
                problems.add_with_help(mark, message, format!("did you mean `{nearest}`?"))
            }
            None => problems.add(mark, message),
        }
    }
}

/// Users who log in by a request or a form are created somewhere, or have a password that is known.
fn check_users_are_somewhere(scenario: &Scenario, problems: &mut Problems) {
    let (login, users) = (&scenario.login, &scenario.users);
    let password = users.password.as_ref();
    let known = password.is_some_and(|password| !password.0.expose().is_empty());
    check_tokens_are_somewhere(scenario, problems);
    if matches!(login.kind, LoginKind::Request | LoginKind::Form)
        && users.create
        && scenario.directory.is_none()
        && !known
        // The directory, or the password, may have been in what could not be read.
        && !problems.lost_between(Mark::default(), None)
    {
        problems.add_with_help(
            login.mark,
            "users that log in must be created somewhere, and there is no `directory`",
            "add a `directory`; or name users who are there already in `users.from`; or give `users.password` if they are there already, or share one password; or `login: { kind: none }` if the target asks nobody who he is",
        );
    }
}

/// Users who bring their own tokens, or are clients of their own, are there already or are created somewhere.
fn check_tokens_are_somewhere(scenario: &Scenario, problems: &mut Problems) {
    let (login, users) = (&scenario.login, &scenario.users);
    if problems.lost_between(Mark::default(), None) || users.from.is_some() {
        return;
    }
    let nobody = users.create && scenario.directory.is_none();
    match login.kind {
        LoginKind::Bearer if login.token.is_none() => problems.add_with_help(
            login.mark,
            "a login of kind `bearer` needs a token for each user",
            "give `token`, where all have the same one, or name the users and their tokens in a file: `users.from`",
        ),
        LoginKind::ClientCredentials if login.client.is_none() && nobody => problems.add_with_help(
            login.mark,
            "without `client` each user is a client of its own, and there is no `directory` to create them in",
            "give `client`, where all are the same one; or name users who are there already in `users.from`; or add a `directory`",
        ),
        LoginKind::TokenExchange if nobody => {
            let given = login.subject.as_ref().is_some_and(|subject| subject.value.is_some());
            if !given && users.password.is_none() {
                problems.add_with_help(
                    login.mark,
                    "users log in for the token that is exchanged, and there is no `directory` to create them in",
                    "add a `directory`; or name users who are there already, or their tokens, in `users.from`; or give `subject.value`, where all have the same token",
                );
            }
        }
        _ => {}
    }
    if let (LoginKind::Bearer, true, Some(directory)) =
        (login.kind, users.create, &scenario.directory)
    {
        problems.add_with_help(
            directory.mark,
            "users that are created here would not be those of the tokens",
            "leave `directory` out, or set `users.create: false`",
        );
    }
}

fn check_load(scenario: &Scenario, problems: &mut Problems) {
    let load = &scenario.load;
    if load.duration.0.is_zero() && !problems.reported_in(load.duration.mark) {
        problems.add(load.duration.mark, "the duration must be more than 0");
    }
    if let Some(most) = load.concurrency.as_ref().filter(|most| most.value == 0) {
        problems.add(most.mark, "`concurrency` must be at least 1");
    }
    if load.mode.has_monkeys() && scenario.target.protocol != Protocol::Http {
        problems.add_with_help(
            load.mark,
            "monkeys work on HTTP targets only",
            "take `mode: user`, or a target with `protocol: http`",
        );
    }
    // Of a file that could not be read nothing is known.
    let given = scenario.users.mark != Mark::default();
    let listed = scenario.users.from.is_some();
    let login = &scenario.login;
    let needless = match login.kind {
        LoginKind::Bearer => true,
        LoginKind::ClientCredentials => login.client.is_some(),
        LoginKind::TokenExchange => login
            .subject
            .as_ref()
            .is_some_and(|subject| subject.value.is_some()),
        _ => false,
    };
    if given && !scenario.users.create && !listed && !needless && scenario.users.password.is_none()
    {
        problems.add_with_help(
            scenario.users.mark,
            "users that are not created need a `password` to log in with",
            "give `users.password`, or `users.from`: a file of users and their passwords",
        );
    }
    if let Some(roster) = &scenario.users.from
        && load.mode == Mode::Both
    {
        problems.add_with_help(
            roster.path.mark,
            "users and monkeys at the same time have users of their own, and those of a file would be both",
            "take `mode: user` or `mode: monkey`",
        );
    }
    check_users_are_somewhere(scenario, problems);
    if let (Some(queue), None) = (&load.queue, &load.rate) {
        problems.add_with_help(
            queue.mark,
            "`queue` needs a `rate`",
            "without a rate nothing is ever queued",
        );
    }
}
