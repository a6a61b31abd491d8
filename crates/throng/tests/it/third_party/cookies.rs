//! What the runs of `examples/` on web applications have in common.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::docs::root;
use crate::support::{Ended, Running, throng};

/// Users of both examples.
pub(super) const USERS: usize = 10;

/// A scenario of `examples/`, perhaps changed, and a home for whoever runs it.
pub(super) struct Example {
    home: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Example {
    /// Copies the file `name`, so that it may be changed.
    pub(super) fn new(name: &str, environment: &[(&'static str, &str)]) -> Self {
        let home = crate::support::home();
        let source = root().join("examples").join(name);
        std::fs::copy(source, home.path().join("scenario.yaml")).expect("a copy of the example");
        let environment = environment.iter();
        Self {
            home,
            environment: environment
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        }
    }

    /// With other words in it, which must be there.
    pub(super) fn with(self, words: &str, others: &str) -> Self {
        let path = self.home.path().join("scenario.yaml");
        let text = std::fs::read_to_string(&path).expect("the copy");
        assert!(text.contains(words), "the example has no {words:?}");
        std::fs::write(path, text.replace(words, others)).expect("the changed copy");
        self
    }

    /// For runs that need programs of the machine's.
    pub(super) fn with_path(mut self) -> Self {
        let path = std::env::var("PATH").expect("a PATH");
        self.environment.push(("PATH", path));
        self
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = &self.home.path().join(name);
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// Where it is run.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Tries its properties; what is printed is JSON.
    pub(super) async fn property(&self, arguments: &str) -> Ended {
        let mut all = vec!["property".to_owned(), self.path("scenario.yaml")];
        all.push("--json".to_owned());
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let mut command = throng(self.home.path(), all);
        command.envs(self.environment.iter().cloned());
        Running::start(command, self.home.path()).ended().await
    }

    /// Runs it; further arguments are separated by blanks.
    pub(super) async fn run(&self, arguments: &str) -> Ended {
        let report = self.path("report.json");
        let mut all = vec!["run".to_owned(), self.path("scenario.yaml")];
        all.extend(["--output".to_owned(), report.clone()]);
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let mut command = throng(self.home.path(), all);
        command.envs(self.environment.iter().cloned());
        let ended = Running::start(command, self.home.path()).ended().await;
        let said = format!("{ended}");
        for (name, value) in &self.environment {
            let secret = name.ends_with("PASSWORD") || name.ends_with("TOKEN");
            assert!(!secret || !said.contains(value), "{name} is shown: {said}");
        }
        let report = std::fs::read_to_string(report).ok();
        Ended {
            report: report.map(|text| serde_json::from_str(&text).expect("a report in JSON")),
            ..ended
        }
    }
}

/// So many users ran every step, and none failed; nor was one refused but those named.
#[track_caller]
pub(super) fn all_went_well(ended: &Ended, count: usize, refused: &[&str]) {
    let report = ended.report();
    let steps = report["steps"].as_object().expect("a table of steps");
    for (name, step) in steps {
        assert!(
            step["count"].as_u64() > Some(0),
            "{name} never ran: {ended}"
        );
        assert_eq!(step["errors"], 0, "{name}: {}", report["errors"]);
        assert_eq!(step["unfinished"], 0, "{name}: {ended}");
        let expected = if refused.contains(&name.as_str()) {
            &step["count"]
        } else {
            &Value::from(0)
        };
        assert_eq!(step["refused"], *expected, "{name}: {ended}");
    }
    assert_eq!(report["errors"], Value::Array(Vec::new()));
    let users = report["users"].as_object().expect("a table of users");
    assert_eq!(users.len(), count, "{ended}");
    for (name, user) in users {
        assert!(
            user["total_operations"].as_u64() > Some(0),
            "{name} did nothing: {ended}"
        );
    }
    assert!(
        ended.stderr.contains(&format!("{count} users logged out")),
        "{ended}"
    );
}

/// How often a step ran, by its name.
#[track_caller]
pub(super) fn count(report: &Value, step: &str) -> u64 {
    report["steps"][step]["count"]
        .as_u64()
        .unwrap_or_else(|| panic!("no step {step}"))
}
