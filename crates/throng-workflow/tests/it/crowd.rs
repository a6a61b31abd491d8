//! The built-in scenario, whole, against the sandbox: identities, sessions, workflows, and counts against its journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use regex::Regex;
use serde_json::{Value, json};
use throng_client::mcp::{Server, ServerOptions};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_engine::{EndedBy, IterCx, Load, RunOutcome, Scenario, StopSignals, UserCx};
use throng_identity::directory::Directory;
use throng_identity::directory::nextcloud::Nextcloud;
use throng_identity::hooks::{Hook, HookAuth, SaveFrom};
use throng_identity::ledger::Ledger;
use throng_identity::login::{DEFAULT_REDIRECT_URI, LoginPlan};
use throng_identity::provision::{Identity, LoginWay, ProvisionPlan, provision};
use throng_identity::registration::{RegistrationRequest, register};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Secret, discovery, scopes};
use throng_metrics::{FailureKind, StepId, UserId, WorkflowId};
use throng_sandbox::{EndpointKnob, ErrorKind, Knobs, NextcloudConfig, NextcloudSandbox, Outcome};
use throng_workflow::model::Role;
use throng_workflow::playbook::{Actor, Called, Patience, Play, Playbook};
use throng_workflow::{
    Crowd, CrowdOptions, DirectoryOverrides, Environment, Overrides, ScenarioFile, YamlScenario,
    drift,
};
use tokio_util::sync::CancellationToken;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) sandbox: NextcloudSandbox,
    pub(crate) file: ScenarioFile,
    crowd: Arc<Crowd>,
}

fn overrides(sandbox: &NextcloudSandbox, users: u32, workload: &str) -> Overrides {
    let (admin, password) = sandbox.admin();
    Overrides {
        url: Some(sandbox.mcp_url().to_owned()),
        users: Some(users),
        workload: Some(workload.to_owned()),
        directory: DirectoryOverrides {
            url: Some(sandbox.url().to_owned()),
            admin: Some(admin.to_owned()),
            password: Some(Secret::new(password)),
            scim: None,
        },
        ..Overrides::default()
    }
}

async fn identities(sandbox: &NextcloudSandbox, file: &ScenarioFile) -> Vec<Identity> {
    let connector = Connector::new(ConnectorOptions::default()).unwrap();
    let client = Client::new(&connector);
    let (admin, password) = sandbox.admin();
    let nextcloud = Url::parse(sandbox.url()).unwrap();
    let directory: Arc<dyn Directory> = Arc::new(Nextcloud::new(
        client.clone(),
        nextcloud,
        admin,
        Secret::new(password),
        TIMEOUT,
    ));
    let mcp = Url::parse(sandbox.mcp_url()).unwrap();
    let authorization = discovery::discover(&client, &mcp, TIMEOUT).await.unwrap();
    let scopes = scopes::choose(&scopes::Known {
        challenged: &authorization.challenged_scopes,
        resource: &authorization.resource_scopes,
        server: &authorization.server_scopes,
        wanted: file.scenario.login.scopes.as_deref(),
    });
    let redirect_uri = Url::parse(DEFAULT_REDIRECT_URI).unwrap();
    let request = RegistrationRequest {
        client_name: "test".to_owned(),
        redirect_uri: redirect_uri.clone(),
        scopes: scopes::to_register(&scopes, &authorization.resource_scopes),
    };
    let oauth_client = register(
        &client,
        &authorization,
        &request,
        &RetryPolicy::patient(),
        TIMEOUT,
    )
    .await
    .unwrap();
    let login = LoginPlan::new(
        Arc::new(authorization),
        Arc::new(oauth_client),
        redirect_uri,
        scopes,
    );
    let (names, prefix) = throng_workflow::users::templates(&file.scenario.users).unwrap();
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&home.path().join("ledger.sqlite")).unwrap();
    let run = ledger.begin_run().unwrap();
    let origin = mcp.origin().ascii_serialization();
    let hook = |name: &str, method, url, password: &str| Hook {
        headers: vec![("OCS-APIRequest".to_owned(), "true".to_owned())],
        auth: HookAuth::Basic {
            user: "{name}".to_owned(),
            password: password.to_owned(),
        },
        expect: vec![200, 404],
        ..Hook::new(name, method, url)
    };
    let app_password = format!("{}/ocs/v2.php/core/getapppassword", sandbox.url());
    let plan = ProvisionPlan {
        users: file.scenario.users.count.value,
        prefix,
        names,
        known: None,
        directory: Some(directory),
        connector,
        login: LoginWay::OAuth(Arc::new(login)),
        password: None,
        timeout: Duration::from_secs(30),
        after_login: Arc::new([
            Hook {
                save: vec![(
                    "app_password".to_owned(),
                    SaveFrom::Path("$.ocs.data.apppassword".to_owned()),
                )],
                ..hook("app_password", Method::GET, app_password, "{password}")
            },
            hook(
                "provision",
                Method::POST,
                format!("{origin}/api/v1/users/{{name}}/app-password"),
                "{app_password}",
            ),
        ]),
        concurrency: 4,
        retry: RetryPolicy::patient(),
        stop_at_failure: true,
        login_grace: None,
        run,
    };
    let provisioned = provision(&plan, &ledger, &CancellationToken::new(), Arc::new(|_| {})).await;
    assert!(
        provisioned.failures.is_empty(),
        "{:?}",
        provisioned.failures
    );
    provisioned.identities
}

pub(crate) async fn stage(users: u32, scenario: &str, workload: &str, knobs: Knobs) -> Stage {
    let sandbox = NextcloudSandbox::start(NextcloudConfig {
        knobs,
        ..NextcloudConfig::default()
    })
    .await
    .unwrap();
    let file = ScenarioFile::load(
        scenario,
        &overrides(&sandbox, users, workload),
        &Environment::new(&|_| None),
    );
    let file = match file {
        Ok(file) => file,
        Err(problems) => panic!("{problems:?}"),
    };
    stage_with(sandbox, file).await
}

async fn stage_with(sandbox: NextcloudSandbox, file: ScenarioFile) -> Stage {
    let users = file.scenario.users.count.value;
    let identities = identities(&sandbox, &file).await;
    let server = Server::new(
        &Url::parse(sandbox.mcp_url()).unwrap(),
        ServerOptions::default(),
    )
    .unwrap();
    let options = CrowdOptions {
        concurrency: 4,
        timeout: TIMEOUT,
        headers: Vec::new(),
        run_id: "t3st".to_owned(),
    };
    let opened = Crowd::open(
        identities.into_iter().map(Into::into).collect(),
        server,
        options,
        &StopSignals::default(),
        |_| {},
    )
    .await
    .unwrap();
    assert_eq!(opened.timings.len(), users as usize);
    Stage {
        sandbox,
        file,
        crowd: Arc::new(opened.crowd),
    }
}

/// The same users at the MCP server's address by plain HTTP.
pub(crate) async fn stage_over_http(users: u32, scenario: &str, knobs: Knobs) -> Stage {
    let sandbox = NextcloudSandbox::start(NextcloudConfig {
        knobs,
        ..NextcloudConfig::default()
    })
    .await
    .unwrap();
    let origin = sandbox.mcp_url().strip_suffix("/mcp").unwrap().to_owned();
    let overrides = Overrides {
        url: Some(origin.clone()),
        ..overrides(&sandbox, users, "alone")
    };
    let file = ScenarioFile::load(scenario, &overrides, &Environment::new(&|_| None)).unwrap();
    let identities = identities(&sandbox, &file).await;
    let options = CrowdOptions {
        concurrency: 4,
        timeout: TIMEOUT,
        headers: Vec::new(),
        run_id: "t3st".to_owned(),
    };
    let people = identities.into_iter().map(Into::into).collect();
    let crowd = Crowd::over_http(people, &origin, options).unwrap();
    Stage {
        sandbox,
        file,
        crowd: Arc::new(crowd),
    }
}

/// The custom example as a Rust scenario, and the permissions that are given at first.
struct PermissionEscalation(Playbook, u8);

impl PermissionEscalation {
    fn sharing(permissions: u8) -> Self {
        let steps = [
            ("create_note", "nc_notes_create_note"),
            ("share_readonly", "nc_share_create"),
            ("find_shared", "nc_share_list"),
            ("read_shared", "nc_webdav_read_file"),
            ("edit_too_early", "nc_webdav_write_file"),
            ("upgrade_permissions", "nc_share_update"),
            ("collaborator_edit", "nc_webdav_write_file"),
            ("verify_edit", "nc_notes_get_note"),
            ("delete_note", "nc_notes_delete_note"),
        ];
        let book = Playbook::new().workflow("permission_escalation", Role::Workflow, &steps);
        Self(book, permissions)
    }

    async fn steps(
        &self,
        play: &mut Play<'_>,
        owner: Actor<'_>,
        note: &Value,
        path: &str,
    ) -> anyhow::Result<()> {
        let [_, collaborator] = play.actors()?;
        let arguments = json!({ "path": path, "share_with": collaborator.name, "share_type": 0, "permissions": self.1 });
        let share = play.call(owner, "share_readonly", arguments).await?["id"].clone();
        let mine = json!({ "shared_with_me": true });
        let shared = play
            .until(
                collaborator,
                "find_shared",
                mine,
                Patience::default(),
                |shares| {
                    let found = shares
                        .as_array()?
                        .iter()
                        .find(|found| found["id"] == share)?;
                    Some(found["file_target"].clone())
                },
            )
            .await?;
        let text = play
            .call(collaborator, "read_shared", json!({ "path": shared }))
            .await?;
        let edit = json!({ "path": shared, "content": "Done", "if_match": text["etag"] });
        let refusal = Regex::new("(?i)403|forbidden|denied|permission").expect("a valid pattern");
        let why = play
            .call_must_be_refused(collaborator, "edit_too_early", edit.clone(), &refusal)
            .await?;
        anyhow::ensure!(refusal.is_match(&why), "{why}");
        let share: i64 = share.as_str().unwrap_or_default().parse()?;
        play.call(
            owner,
            "upgrade_permissions",
            json!({ "share_id": share, "permissions": 3 }),
        )
        .await?;
        let later = play
            .call_or_refused(collaborator, "collaborator_edit", edit, &refusal)
            .await?;
        anyhow::ensure!(matches!(later, Called::Done(_)), "{later:?}");
        play.call_checked(
            owner,
            "verify_edit",
            json!({ "note_id": note }),
            |found| match &found["content"] {
                Value::String(text) if text == "Done" => Ok(()),
                other => Err(format!("the edit is not there: {other}")),
            },
        )
        .await
    }
}

impl Scenario for PermissionEscalation {
    type User = ();

    async fn start(&self, _: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }

    async fn iterate(&self, _: &mut (), cx: &IterCx) -> anyhow::Result<()> {
        let mut play = self.0.begin(cx, "permission_escalation")?;
        let [owner] = play.actors()?;
        let title = format!("Escalation {}", play.uid());
        let arguments = json!({ "title": title, "content": "Read this", "category": "Rust" });
        let note = play.call(owner, "create_note", arguments).await?["id"].clone();
        let result = self
            .steps(&mut play, owner, &note, &format!("/Notes/Rust/{title}.md"))
            .await;
        play.finally();
        play.call(owner, "delete_note", json!({ "note_id": note }))
            .await?;
        result
    }

    async fn stop(&self, _: (), _: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}

async fn staged(scenario: &PermissionEscalation) -> Stage {
    let sandbox = NextcloudSandbox::start(NextcloudConfig::default())
        .await
        .unwrap();
    let overrides = Overrides {
        workload: None,
        thresholds: vec!["permission_escalation.errors==0".to_owned()],
        ..overrides(&sandbox, 3, "")
    };
    let environment = Environment::new(&|_| None);
    let file = ScenarioFile::load_for(&scenario.0, "nextcloud", &overrides, &environment).unwrap();
    let stage = stage_with(sandbox, file).await;
    let problems = drift(&stage.file, &stage.crowd.tools().await.unwrap());
    assert!(problems.is_empty(), "{problems:?}");
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_in_rust_is_measured_like_a_file() {
    let scenario = Arc::new(PermissionEscalation::sharing(1));
    let stage = staged(&scenario).await;
    let outcome = stage.run_scenario(scenario, Duration::from_secs(1)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    assert_eq!(stage.measured(&outcome), stage.journalled());
    let tally = outcome.tally.workflow(WorkflowId(0));
    assert!(tally.succeeded > 0 && tally.failed == 0);
    assert_eq!(outcome.tally.step(StepId(4)).refused, tally.succeeded);
    assert_eq!(outcome.tally.step(StepId(2)).waits.met, tally.succeeded);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_rust_scenario_that_is_not_refused_is_an_access_violation() {
    let scenario = Arc::new(PermissionEscalation::sharing(3));
    let stage = staged(&scenario).await;
    let outcome = stage
        .run_scenario(scenario, Duration::from_millis(300))
        .await;
    let step = outcome.tally.step(StepId(4));
    assert!(step.not_refused > 0 && step.not_refused == step.failed);
    let (kind, cause, group) = outcome.tally.errors().iter().next().expect("a failure");
    assert_eq!(kind, FailureKind::NotRefused);
    assert!(cause.starts_with("was not refused"), "{cause}");
    let words = " called nc_webdav_write_file and was NOT refused; answer: {";
    assert!(
        group.example.starts_with("edit_too_early: ") && group.example.contains(words),
        "{}",
        group.example
    );
    stage.close().await;
}

impl Stage {
    async fn run(&self, duration: Duration) -> RunOutcome {
        let users = self.crowd.len() as u32;
        let scenario = YamlScenario::<Crowd>::new(self.file.program.clone(), users);
        self.run_scenario(Arc::new(scenario), duration).await
    }

    /// Without a warm-up: all that happens counts.
    pub(crate) async fn run_cold(&self, duration: Duration) -> RunOutcome {
        let users = self.crowd.len() as u32;
        let scenario = YamlScenario::<Crowd>::new(self.file.program.clone(), users);
        self.run_warm(Arc::new(scenario), Duration::ZERO, duration)
            .await
    }

    async fn run_scenario(&self, scenario: Arc<impl Scenario>, duration: Duration) -> RunOutcome {
        self.run_warm(scenario, Duration::from_millis(200), duration)
            .await
    }

    async fn run_warm(
        &self,
        scenario: Arc<impl Scenario>,
        warmup: Duration,
        duration: Duration,
    ) -> RunOutcome {
        let load = Load {
            users: self.crowd.len() as u32,
            warmup,
            duration,
            pause: Duration::from_millis(5),
            seed: 42,
            ..Load::default()
        };
        let catalog = self.file.program.catalog.clone();
        throng_engine::run(
            &load,
            scenario,
            catalog,
            self.crowd.clone(),
            StopSignals::default(),
            |_| {},
        )
        .await
    }

    /// Calls per step and user, as the sandbox saw them.
    fn journalled(&self) -> BTreeMap<(String, String), u64> {
        let mut calls = BTreeMap::new();
        for count in self.sandbox.journal().counts().counts {
            if !matches!(count.phase.as_deref(), Some("measured" | "finally")) {
                continue;
            }
            let step = count
                .step
                .as_deref()
                .expect("a step beside the phase")
                .to_owned();
            let user = count.user.as_deref().unwrap_or("nobody").to_owned();
            *calls.entry((step, user)).or_default() += count.count;
        }
        calls
    }

    /// Calls per step and user, as they were measured.
    fn measured(&self, outcome: &RunOutcome) -> BTreeMap<(String, String), u64> {
        let catalog = &self.file.program.catalog;
        let mut calls = BTreeMap::new();
        for (index, name) in catalog.users.iter().enumerate() {
            let Some(user) = outcome.tally.user(UserId(index as u32)) else {
                continue;
            };
            for (step, counts) in &user.steps {
                calls.insert(
                    (catalog.step_key(*step), name.clone()),
                    counts.good + counts.bad + counts.unfinished,
                );
            }
        }
        calls
    }

    pub(crate) async fn close(self) {
        let crowd = Arc::into_inner(self.crowd).expect("the run is over");
        let errors = crowd.close().await;
        assert!(errors.is_empty(), "{errors:?}");
        self.sandbox.stop().await;
    }
}

pub(crate) fn errors(outcome: &RunOutcome) -> Vec<String> {
    outcome
        .tally
        .errors()
        .iter()
        .map(|(kind, cause, group)| {
            format!(
                "{} {} x{}: {}",
                kind.name(),
                cause,
                group.count,
                group.example
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_workload_runs_without_a_failed_step_and_counts_are_the_journals() {
    for (users, workload) in [
        (4, "mixed"),
        (2, "collaboration"),
        (3, "sharing"),
        (1, "baseline"),
    ] {
        let stage = stage(users, "nextcloud", workload, Knobs::default()).await;
        let problems = drift(&stage.file, &stage.crowd.tools().await.unwrap());
        assert!(problems.is_empty(), "{problems:?}");
        let outcome = stage.run(Duration::from_secs(2)).await;
        assert_eq!(outcome.ended_by, EndedBy::Finished);
        assert_eq!(errors(&outcome), Vec::<String>::new(), "{workload}");
        assert_eq!(stage.measured(&outcome), stage.journalled(), "{workload}");
        let catalog = &stage.file.program.catalog;
        let tally = &outcome.tally;
        for (id, _) in &stage.file.program.mix {
            let workflow = tally.workflow(*id);
            let name = &catalog.workflows[id.0 as usize].name;
            assert!(workflow.succeeded > 0, "{workload}: no {name}");
            assert_eq!((workflow.failed, workflow.interrupted), (0, 0), "{name}");
        }
        let lost = catalog
            .counters
            .iter()
            .position(|counter| counter.name == "lost_updates")
            .unwrap();
        assert_eq!(tally.counter(throng_metrics::CounterId(lost as u32)), 0);
        stage.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_custom_example_runs() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/permission_escalation.yaml"
    );
    let stage = stage(3, example, "permission_escalation", Knobs::default()).await;
    let problems = drift(&stage.file, &stage.crowd.tools().await.unwrap());
    assert!(problems.is_empty(), "{problems:?}");
    let outcome = stage.run(Duration::from_secs(1)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let tally = outcome.tally.workflow(WorkflowId(0));
    assert!(tally.succeeded > 0 && tally.failed == 0);
    let early = stage
        .file
        .program
        .catalog
        .steps
        .iter()
        .position(|step| step.name == "edit_too_early")
        .unwrap();
    assert_eq!(
        outcome.tally.step(StepId(early as u32)).refused,
        tally.succeeded
    );
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_is_found() {
    // Half of the searches fail, appends are lost now and then, tokens live for two seconds.
    let searches = EndpointKnob {
        pattern: "nc_notes_search_notes".to_owned(),
        latency: None,
        error_rate: Some(0.5),
        error: ErrorKind::ToolError,
        stall: None,
    };
    let knobs = Knobs {
        seed: 1,
        endpoints: vec![searches],
        token_lifetime_s: 2,
        lost_appends: 0.5,
        ..Knobs::default()
    };
    let stage = stage(3, "nextcloud", "mixed", knobs).await;
    let outcome = stage.run(Duration::from_secs(5)).await;
    let catalog = &stage.file.program.catalog;
    let found = errors(&outcome);
    assert_eq!(found.len(), 1, "{found:?}");
    let search = catalog
        .steps
        .iter()
        .position(|step| step.name == "search_notes")
        .unwrap();
    let failed = outcome.tally.step(StepId(search as u32)).failed;
    let planted: u64 = stage
        .sandbox
        .journal()
        .counts()
        .counts
        .iter()
        .filter(|count| {
            count.outcome == Outcome::PlantedError && count.phase.as_deref() == Some("measured")
        })
        .map(|count| count.count)
        .sum();
    assert_eq!(failed, planted);
    let counter = |name: &str| {
        let at = catalog
            .counters
            .iter()
            .position(|counter| counter.name == name)
            .unwrap();
        outcome.tally.counter(throng_metrics::CounterId(at as u32))
    };
    assert!(counter("lost_updates") > 0);
    assert!(
        counter("token_refreshes") > 3,
        "of three users in five seconds"
    );
    stage.close().await;
}
