//! What an HTTP step may say, and what its endpoint is called.

use std::time::Duration;

use throng_metrics::{Event, Failure, FailureKind, Outcome, Sample, StepId, Tally, UserId};
use throng_workflow::{Environment, Overrides, ScenarioFile, drift};

use crate::shop::read;

#[test]
fn mistakes_are_named() {
    let steps = r#"      - two: { get: /a, post: /b }
      - none: { json: {} }
      - mcp: { call: tool }
      - relative: { get: users }
      - bodies: { post: /a, json: {}, form: { a: 1 } }
      - status: { get: /a, expect: 99 }
      - window: { get: /a, within: 3s }
      - polled: { listen: /a, until: { equals: 1, every: 1s, within: 2s } }
      - header: { get: /a, headers: { "a b": c }, save: { x: { header: "?" } } }
      - saved: { get: /a, save: { x: { regex: "no group" }, y: { heder: a } } }
      - schema: { get: /a, check: { schema: { type: 5 } } }
      - part: { post: /a, multipart: { f: { file: nowhere.bin } } }
      - unknown: { get: "/a/{nobody}", redirects: yes }
"#;
    let problems = read("http://127.0.0.1:1", steps).unwrap_err();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(problems); });
}

#[test]
fn http_keys_are_refused_in_an_mcp_scenario() {
    let source = "name: t
target: { url: \"http://localhost/mcp\", csrf: { cookie: c, header: h } }
workflows:
  w:
    actors: [me]
    steps:
      - a: { get: /x }
      - b: { call: t, save: { x: { cookie: c } }, check: { header: h, exists: true } }
";
    let problems = ScenarioFile::parse(
        "t.yaml",
        source,
        &Overrides::default(),
        &Environment::new(&|_| None),
    )
    .unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(text.join("\n\n")); });
}

#[test]
fn no_endpoint_shows_a_value_of_the_environment() {
    let source = "name: t
target: { protocol: http, url: \"http://127.0.0.1:1\" }
login: { kind: none }
users: { count: 1 }
workflows:
  w:
    actors: [me]
    steps:
      - a: { get: \"/x/${KEY}/{me.name}/y?key=${KEY}\" }
      - b: { get: \"${OTHER}/z\" }
";
    let lookup = |name: &str| match name {
        "KEY" => Some("ENVSECRET".to_owned()),
        _ => Some("http://other.example".to_owned()),
    };
    let environment = Environment::new(&lookup);
    let file = ScenarioFile::parse("t.yaml", source, &Overrides::default(), &environment).unwrap();
    let endpoints: Vec<&str> = file
        .program
        .catalog
        .steps
        .iter()
        .map(|step| step.endpoint.as_str())
        .collect();
    assert_eq!(endpoints, ["GET /x/{KEY}/{me.name}/y", "GET {OTHER}/z"]);
}

#[test]
fn what_would_be_ignored_or_break_the_message_is_refused() {
    for (steps, problem) in [
        (
            "listen: /a, redirects: follow",
            "`listen` follows no redirects",
        ),
        (
            "get: \"/a#b\", query: { c: 1 }",
            "what comes after `#` is never sent",
        ),
        (
            "get: \"http://me:pw-0@other.example/a\"",
            "no place for a user name and password",
        ),
        (
            "post: /a, headers: { Content-Length: 3 }",
            "`Content-Length` is made by the client",
        ),
        (
            "get: /a, headers: { host: other }",
            "`host` is made by the client",
        ),
    ] {
        let problems = read("http://127.0.0.1:1", &format!("      - a: {{ {steps} }}\n"));
        let problems = problems.unwrap_err();
        assert!(problems.contains(problem), "{problems}");
    }
    let source = "name: t
target: { protocol: http, url: \"http://127.0.0.1:1\", prefix: \"/a?b\", headers: { Content-Length: \"3\" } }
workflows: { w: { actors: [me], steps: [ { a: { get: /a } } ] } }
";
    let environment = Environment::new(&|_| None);
    let problems = ScenarioFile::parse("t.yaml", source, &Overrides::default(), &environment);
    let problems = format!("{:?}", problems.unwrap_err());
    for problem in [
        "a prefix is a path",
        "`Content-Length` is made by the client",
    ] {
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn a_thing_that_is_gone_is_no_drift() {
    let steps = "      - thing: { get: \"/items/{run}\" }\n      - list: { get: /items }\n";
    let file = read("http://127.0.0.1:1", steps).unwrap();
    for (status, found) in [
        (404, vec!["w/list"]),
        (410, vec!["w/list"]),
        (405, vec!["w/thing", "w/list"]),
    ] {
        let mut tally = Tally::new(&file.program.catalog);
        for step in [0, 1, 0, 1, 0, 1].map(StepId) {
            tally.add(&Event::Step(Sample {
                step,
                user: UserId(0),
                intended: Duration::ZERO,
                started: Duration::ZERO,
                ended: Duration::from_millis(1),
                sent: 1,
                received: 1,
                status: Some(status),
                unsent: false,
                outcome: Outcome::Failed(Box::new(Failure {
                    kind: FailureKind::Http,
                    cause: String::new(),
                    example: String::new(),
                })),
            }));
        }
        let unserved = drift::unserved(&file.program, &tally);
        let names: Vec<&str> = unserved
            .iter()
            .map(|text| text.split(':').next().unwrap())
            .collect();
        assert_eq!(names, found, "{status}");
    }
}
