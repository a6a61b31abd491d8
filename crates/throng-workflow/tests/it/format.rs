//! The files that ship are valid: for the reader and for the JSON Schema.

use std::time::Duration;

use serde_json::Value;
use throng_workflow::blocks::ActorCount;
use throng_workflow::model::Mode;
use throng_workflow::schema::schema;
use throng_workflow::{Environment, Overrides, ScenarioFile, builtin};

pub(crate) fn environment(name: &str) -> Option<String> {
    match name {
        "NEXTCLOUD_HOST" => Some("http://localhost:8080".to_owned()),
        "NEXTCLOUD_USERNAME" => Some("admin".to_owned()),
        "NEXTCLOUD_PASSWORD" => Some("1234".to_owned()),
        _ => None,
    }
}

fn shipped() -> Vec<(String, String)> {
    let scenarios =
        builtin::names().map(|name| (name.to_owned(), builtin::scenario(name).unwrap().to_owned()));
    let templates = builtin::templates()
        .map(|(name, _)| (name.to_owned(), builtin::template(name).unwrap().to_owned()));
    scenarios.chain(templates).collect()
}

#[test]
fn what_ships_is_valid() {
    for (name, source) in shipped() {
        let file = ScenarioFile::parse(
            &name,
            &source,
            &Overrides::default(),
            &Environment::new(&environment),
        );
        if let Err(problems) = file {
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{name}:\n{}", text.join("\n"));
        }
    }
}

#[test]
fn the_schema_accepts_what_ships_and_refuses_mistakes() {
    let schema = serde_json::to_value(schema()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is valid itself");
    for (name, source) in shipped() {
        let value: Value = serde_saphyr::from_str(&source).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    let good = serde_json::json!({
        "name": "x",
        "target": { "url": "http://localhost/mcp" },
        "workflows": { "w": { "actors": ["me"], "steps": [{ "s": { "call": "t" } }] } },
    });
    assert!(validator.is_valid(&good));
    type Spoil = fn(&mut Value);
    let spoils: [(&str, Spoil); 7] = [
        ("unknown key", |v| v["target"]["ulr"] = "x".into()),
        ("missing key", |v| {
            drop(v.as_object_mut().unwrap().remove("name"))
        }),
        ("wrong word", |v| v["target"]["protocol"] = "gopher".into()),
        ("bad duration", |v| {
            v["load"] = serde_json::json!({ "duration": "10 parsecs" })
        }),
        ("unknown step key", |v| {
            v["workflows"]["w"]["steps"][0]["s"]["cal"] = "x".into()
        }),
        ("two steps in one", |v| {
            v["workflows"]["w"]["steps"][0]["t"] = serde_json::json!({ "call": "t" })
        }),
        ("bad group", |v| {
            v["workflows"]["w"]["actors"] = serde_json::json!([{ "all": "everyone" }])
        }),
    ];
    for (what, spoil) in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(!validator.is_valid(&bad), "{what}");
    }
}

#[test]
fn the_built_in_scenario_says_what_the_seed_said() {
    let file = ScenarioFile::load(
        "nextcloud",
        &Overrides::default(),
        &Environment::new(&environment),
    )
    .unwrap();
    let names: Vec<&str> = file.scenario.workflows.names().collect();
    assert_eq!(
        names,
        ["note_share", "collaborative_edit", "file_share", "baseline"]
    );
    let workloads: Vec<&str> = file.scenario.workloads.names().collect();
    assert_eq!(workloads, ["mixed", "sharing", "collaboration", "baseline"]);
    let weights: Vec<(&str, u32)> = file
        .program
        .mix
        .iter()
        .map(|(id, weight)| (file.program.workflows[id.0 as usize].name.as_str(), *weight))
        .collect();
    assert_eq!(
        weights,
        [
            ("baseline", 50),
            ("note_share", 30),
            ("collaborative_edit", 15),
            ("file_share", 5)
        ]
    );
    let catalog = &file.program.catalog;
    let steps: Vec<&str> = catalog
        .steps
        .iter()
        .filter(|step| step.workflow.0 == 0)
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(
        steps,
        [
            "create_note",
            "share_note",
            "list_shared_with_me",
            "read_shared_note",
            "unshare",
            "delete_note"
        ]
    );
    assert_eq!(catalog.users, ["loadtest_user_1", "loadtest_user_2"]);
    assert_eq!(file.scenario.load.duration.0, Duration::from_secs(30));
    assert_eq!(file.scenario.load.warmup.0, Duration::from_secs(5));
    assert_eq!(file.scenario.load.pause.0, Duration::from_millis(50));
    assert_eq!(
        file.program.workflows[1].actors[1],
        ActorCount::Between { min: 1, max: 3 }
    );
}

#[test]
fn flags_go_before_the_file() {
    let overrides = Overrides {
        url: Some("http://127.0.0.1:9/mcp".to_owned()),
        users: Some(7),
        prefix: Some("mine".to_owned()),
        duration: Some(Duration::from_secs(3)),
        warmup: Some(Duration::ZERO),
        pause: Some(Duration::from_millis(1)),
        rate: Some("20/s".to_owned()),
        queue: Some(9),
        concurrency: Some(11),
        mode: Some(Mode::User),
        users_from: None,
        outside_issuer: false,
        create_users: Some(true),
        seed: Some(5),
        timeout: Some(Duration::from_secs(2)),
        workload: Some("note_share".to_owned()),
        thresholds: vec!["note_share.p95<1s".to_owned()],
        directory: throng_workflow::DirectoryOverrides {
            url: Some("http://127.0.0.1:10".to_owned()),
            admin: Some("root".to_owned()),
            password: Some("geheim".into()),
            scim: None,
        },
        client_id: Some("id".to_owned()),
        client_secret: Some("also geheim".into()),
    };
    // Nothing of the environment is needed when flags give it all.
    let file = ScenarioFile::load("nextcloud", &overrides, &Environment::new(&|_| None)).unwrap();
    let scenario = &file.scenario;
    assert_eq!(scenario.target.url.value, "http://127.0.0.1:9/mcp");
    assert_eq!(scenario.target.timeout.0, Duration::from_secs(2));
    assert_eq!(scenario.users.count.value, 7);
    assert_eq!(file.program.catalog.users[6], "mine_user_7");
    assert_eq!(scenario.load.duration.0, Duration::from_secs(3));
    assert_eq!(scenario.load.warmup.0, Duration::ZERO);
    assert_eq!(scenario.load.pause.0, Duration::from_millis(1));
    assert_eq!(scenario.load.rate.as_ref().unwrap().count, 20.0);
    assert_eq!(scenario.load.queue.as_ref().unwrap().value, 9);
    assert_eq!(scenario.load.concurrency.as_ref().unwrap().value, 11);
    assert_eq!(scenario.load.mode, Mode::User);
    assert!(scenario.users.create);
    assert_eq!(scenario.load.seed, Some(5));
    assert_eq!(
        file.program.mix.len(),
        1,
        "a workflow's name is a workload of it alone"
    );
    let thresholds: Vec<&str> = scenario
        .thresholds
        .iter()
        .map(|text| text.value.as_str())
        .collect();
    assert_eq!(
        thresholds,
        ["error_rate<1%", "lost_updates==0", "note_share.p95<1s"]
    );
    let directory = scenario.directory.as_ref().unwrap();
    let (url, admin) = (directory.url.as_ref(), directory.admin.as_ref());
    assert_eq!(
        (url.unwrap().as_str(), admin.unwrap().as_str()),
        ("http://127.0.0.1:10", "root")
    );
    let password = directory.password.as_ref().unwrap();
    assert_eq!(password.value.0.expose(), "geheim");
    assert_eq!(scenario.login.client.as_ref().unwrap().id, "id");
    assert!(!format!("{file:?}").contains("geheim"));
}

/// The settings that the original suite of this API documents, with its defaults.
#[test]
fn integr8scode_takes_its_settings_from_the_environment() {
    let read = |set: &[(&str, &str)]| {
        let lookup = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let overrides = Overrides::default();
        let file = ScenarioFile::load("integr8scode", &overrides, &Environment::new(&lookup));
        file.unwrap().scenario
    };
    let scenario = read(&[]);
    assert_eq!(scenario.target.url.value, "https://localhost:443");
    assert_eq!(scenario.target.base(), "https://localhost:443/api/v1");
    assert!(!scenario.target.tls.as_ref().unwrap().verify);
    assert_eq!(scenario.load.mode, Mode::Both);
    assert_eq!(scenario.users.count.value, 25);
    assert_eq!(scenario.load.concurrency.as_ref().unwrap().value, 10);
    assert_eq!(scenario.load.duration.0, Duration::from_secs(180));
    assert!(scenario.users.create);
    assert_eq!(scenario.users.prefix.value, "loaduser");
    assert_eq!(scenario.users.email.value, "{name}@example.com");
    assert_eq!(scenario.users.password.unwrap().0.expose(), "testpass123!");

    let scenario = read(&[
        ("LOAD_BASE_URL", "http://there:8000"),
        ("LOAD_API_PREFIX", "/v2"),
        ("LOAD_VERIFY_TLS", "true"),
        ("LOAD_MODE", "monkey"),
        ("LOAD_CLIENTS", "3"),
        ("LOAD_CONCURRENCY", "2"),
        ("LOAD_DURATION", "5"),
        ("LOAD_AUTO_REGISTER", "false"),
        ("LOAD_USER_PREFIX", "me"),
        ("LOAD_USER_DOMAIN", "example.org"),
        ("LOAD_USER_PASSWORD", "another one"),
    ]);
    assert_eq!(scenario.target.base(), "http://there:8000/v2");
    assert_eq!(scenario.target.openapi.unwrap().value, "/v2/openapi.json");
    assert!(scenario.target.tls.as_ref().unwrap().verify);
    assert_eq!(scenario.load.mode, Mode::Monkey);
    assert_eq!(scenario.users.count.value, 3);
    assert_eq!(scenario.load.concurrency.as_ref().unwrap().value, 2);
    assert_eq!(scenario.load.duration.0, Duration::from_secs(5));
    assert!(!scenario.users.create);
    assert_eq!(scenario.users.prefix.value, "me");
    assert_eq!(scenario.users.email.value, "{name}@example.org");
    assert_eq!(scenario.users.password.unwrap().0.expose(), "another one");
}

#[test]
fn checking_needs_no_environment() {
    let file = ScenarioFile::load(
        "nextcloud",
        &Overrides::default(),
        &Environment::tolerant(&|_| None),
    )
    .unwrap();
    assert_eq!(
        file.unset,
        ["NEXTCLOUD_HOST", "NEXTCLOUD_PASSWORD", "NEXTCLOUD_USERNAME"]
    );
}
