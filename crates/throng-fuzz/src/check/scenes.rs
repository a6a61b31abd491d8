//! Answers as a target might give them, and what is judged on them.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use throng_client::DoubleSubmit;
use url::Url;

use super::{Check, Judge};
use crate::{
    answer::{Answer, CsrfRule, Sending},
    openapi::Document,
    probe::{Kind, Probe, Role, Step, Trace},
    request::{Body, Csrf, Part, Request, Who},
};

const UNIQUE: &str = "u1234567";

fn sending() -> Sending {
    Sending {
        origin: Url::parse("http://127.0.0.1:1").expect("a URL"),
        timeout: Duration::from_secs(1),
        window: Duration::from_millis(1),
        largest_body: 1_000,
        csrf: Some(CsrfRule::new(DoubleSubmit {
            cookie: "csrf".to_owned(),
            header: HeaderName::from_static("x-csrf"),
        })),
        headers: Vec::new(),
    }
}

fn document() -> Document {
    let any = |statuses: &[&str]| -> Value {
        statuses
            .iter()
            .map(|status| ((*status).to_owned(), json!({ "description": "x" })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let login = json!([{ "login": [] }]);
    let document = json!({
        "openapi": "3.1.0",
        "components": { "securitySchemes": { "login": { "type": "apiKey", "in": "cookie", "name": "s" } } },
        "paths": {
            "/things": {
                "get": { "responses": any(&["200"]) },
                "post": { "responses": any(&["200", "409"]) },
            },
            "/things/{id}": {
                "get": { "responses": any(&["200"]) },
                "delete": { "responses": any(&["200"]) },
            },
            "/own": { "post": { "security": login, "responses": any(&["200"]) } },
            "/later": { "get": { "responses": any(&["500", "501", "503"]) } },
        },
    });
    Document::load(document.to_string().as_bytes(), "").expect("a document")
}

fn request(method: Method, path: &str, who: Who) -> Request {
    Request {
        operation: Some(format!("{method} {path}")),
        method: method.to_string(),
        path: path.to_owned(),
        path_values: Default::default(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        who,
        csrf: Csrf::Right,
    }
}

fn get(path: &str, who: Who) -> Request {
    request(Method::GET, path, who)
}

fn post(path: &str, who: Who) -> Request {
    let body = Body::Json(json!({ "name": crate::request::UNIQUE }));
    Request {
        body,
        ..request(Method::POST, path, who)
    }
}

/// On the thing that the first request has made.
fn of_thing(method: Method, who: Who) -> Request {
    let mut request = request(method, "/things/{id}", who);
    let pointer = "/id".to_owned();
    let id = Part::Bound { step: 0, pointer };
    request.path_values.insert("id".to_owned(), id);
    request
}

type Scene = (Role, Request, u16, Value);

fn judged_by_key(kind: Kind, scene: Vec<Scene>, by_key: bool) -> Vec<Check> {
    let (document, sending) = (document(), sending());
    let by_key = vec![by_key; scene.len()];
    let (steps, answers) = scene
        .into_iter()
        .map(|(role, request, status, body)| {
            let body = match body {
                Value::String(text) => text,
                json => json.to_string(),
            };
            let answer = Answer::of(status, "application/json", &body);
            (Step::new(request, role), Some(answer))
        })
        .unzip();
    let (number, watched) = (0, Vec::new());
    let probe = Probe {
        number,
        kind,
        watched,
        steps,
    };
    let trace = Trace {
        secrets: crate::secrets::Secrets::default(),
        unique: UNIQUE.to_owned(),
        answers,
        by_key,
    };
    let found = Judge::new(&document, &sending).judge(&probe, &trace);
    found.iter().map(|violation| violation.check).collect()
}

fn judged(kind: Kind, scene: Vec<Scene>) -> Vec<Check> {
    judged_by_key(kind, scene, false)
}

fn alone(request: Request, status: u16, body: Value) -> Vec<Check> {
    judged(Kind::Single, vec![(Role::Act, request, status, body)])
}

#[test]
fn a_stack_trace_is_content_where_all_went_well() {
    let trace = json!({ "stderr": "Traceback (most recent call last):\n" });
    let told = |status| alone(get("/things", Who::Own), status, trace.clone());
    assert_eq!(told(200), []);
    assert!(told(500).contains(&Check::StackTrace));
    assert!(told(400).contains(&Check::StackTrace));
}

#[test]
fn what_is_documented_or_asked_for_is_no_server_error() {
    let later = |status| alone(get("/later", Who::Own), status, json!({}));
    assert_eq!(later(501), []);
    assert_eq!(later(503), []);
    assert_eq!(later(500), [Check::ServerError]);
    assert_eq!(later(502), [Check::ServerError]);
    let mut made_up = request(Method::PATCH, "/things", Who::Own);
    made_up.operation = None;
    assert_eq!(alone(made_up.clone(), 501, json!({})), []);
    assert_eq!(alone(made_up, 500, json!({})), [Check::ServerError]);
    let known = get("/things", Who::Own);
    assert_eq!(alone(known, 501, json!({})), [Check::ServerError]);
}

#[test]
fn who_has_a_key_is_not_nobody_and_not_forged() {
    let nobody = post("/own", Who::Nobody);
    let forged = Request {
        csrf: Csrf::Missing,
        ..post("/own", Who::Own)
    };
    for (request, check) in [
        (nobody, Check::LoginNotNeeded),
        (forged, Check::CsrfNotChecked),
    ] {
        let scene = || vec![(Role::Act, request.clone(), 200, json!({}))];
        assert_eq!(judged_by_key(Kind::Single, scene(), false), [check]);
        assert_eq!(judged_by_key(Kind::Single, scene(), true), []);
    }
    let forged = Request {
        csrf: Csrf::Missing,
        ..post("/things", Who::Own)
    };
    let scene = || {
        vec![
            (Role::Control, post("/things", Who::Nobody), 401, json!({})),
            (Role::Act, forged.clone(), 200, json!({})),
        ]
    };
    let told = judged_by_key(Kind::Csrf, scene(), false);
    assert!(told.contains(&Check::CsrfNotChecked), "{told:?}");
    assert!(!judged_by_key(Kind::Csrf, scene(), true).contains(&Check::CsrfNotChecked));
}

#[test]
fn what_nobody_is_refused_is_not_foreign() {
    let thing = json!({ "id": 7, "name": "x" });
    let scene = |nobody: u16| {
        vec![
            (Role::Setup, post("/things", Who::Own), 200, thing.clone()),
            (Role::Control, get("/things", Who::Own), 200, json!([thing])),
            (Role::Control, get("/things", Who::Other(1)), 200, json!([])),
            (
                Role::Control,
                of_thing(Method::GET, Who::Nobody),
                nobody,
                if nobody == 200 {
                    thing.clone()
                } else {
                    json!({})
                },
            ),
            (
                Role::Control,
                of_thing(Method::GET, Who::Own),
                200,
                thing.clone(),
            ),
            (
                Role::Act,
                of_thing(Method::GET, Who::Other(1)),
                200,
                thing.clone(),
            ),
        ]
    };
    assert!(judged(Kind::Foreign, scene(401)).contains(&Check::ForeignRead));
    assert_eq!(judged(Kind::Foreign, scene(200)), []);
}

#[test]
fn what_is_back_at_its_beginning_or_marked_is_not_used_after_its_deletion() {
    let told = |before: Value, after: Value| {
        let found = judged(
            Kind::Deleted,
            vec![
                (
                    Role::Setup,
                    post("/things", Who::Own),
                    200,
                    json!({ "id": 7 }),
                ),
                (Role::Control, of_thing(Method::GET, Who::Own), 200, before),
                (
                    Role::Act,
                    of_thing(Method::DELETE, Who::Own),
                    200,
                    json!({}),
                ),
                (Role::Act, of_thing(Method::GET, Who::Own), 200, after),
            ],
        );
        found.contains(&Check::UseAfterDelete)
    };
    let thing = json!({ "id": 7, "theme": "dark", "seen_at": 1 });
    assert!(told(
        thing.clone(),
        json!({ "id": 7, "theme": "dark", "seen_at": 2 })
    ));
    assert!(!told(
        thing.clone(),
        json!({ "id": 7, "theme": "default", "seen_at": 2 })
    ));
    assert!(!told(thing, json!({ "id": 7, "tombstone": true })));
    for (before, after) in [("live", "expired"), ("live", "inactive")] {
        assert!(!told(json!({ "state": before }), json!({ "state": after })));
    }
    assert!(!told(json!({ "active": true }), json!({ "active": false })));
}

#[test]
fn a_log_of_refusals_is_no_effect() {
    let told = |list: Value| {
        let create = post("/things", Who::Own);
        let list = (Role::Act, get("/things", Who::Own), 200, list);
        let scene = vec![(Role::Act, create, 409, json!({})), list];
        judged(Kind::Refused, scene).contains(&Check::RefusedWithEffect)
    };
    assert!(told(json!([{ "name": UNIQUE, "note": "error" }])));
    assert!(told(
        json!({ "error": null, "items": [{ "name": UNIQUE }] })
    ));
    assert!(!told(json!([{ "name": UNIQUE, "outcome": "refused" }])));
    assert!(!told(
        json!({ "items": [{ "body": { "name": UNIQUE }, "status": "REJECTED" }] })
    ));
    assert!(told(json!([
        { "name": UNIQUE, "outcome": "refused" },
        { "name": UNIQUE, "outcome": "created" },
    ])));
}

#[test]
fn who_all_win_the_same_thing_have_not_raced() {
    let told = |one: Value, other: Value| {
        let create = || post("/things", Who::Own);
        let scene = vec![
            (Role::Control, create(), 200, json!({ "id": 1 })),
            (Role::Control, create(), 409, json!({})),
            (Role::Act, create(), 200, one),
            (Role::Act, create(), 200, other),
        ];
        judged(Kind::Race, scene).contains(&Check::UniqueRace)
    };
    assert!(told(json!({ "id": 1 }), json!({ "id": 2 })));
    assert!(told(
        json!({ "thing_id": "a", "name": UNIQUE }),
        json!({ "thing_id": "b", "name": UNIQUE })
    ));
    assert!(told(json!({ "number": 1 }), json!({ "number": 2 })));
    assert!(!told(
        json!({ "id": 1, "created": true, "at": "12:00:01" }),
        json!({ "id": 1, "created": false, "at": "12:00:02" })
    ));
    assert!(!told(
        json!({ "name": UNIQUE, "created_at": 1 }),
        json!({ "name": UNIQUE, "created_at": 2 })
    ));
}

#[test]
fn a_key_of_the_target_counts_only_where_it_is_sent() {
    use crate::answer::Identity;
    use throng_client::{Client, Connector, ConnectorOptions};

    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    let client = Client::new(&connector);
    let mut sending = sending();
    let plain = (http::header::USER_AGENT, HeaderValue::from_static("throng"));
    sending.headers.push(plain);
    assert!(!sending.by_key(&Identity::nobody(&client, true)));
    let key = HeaderName::from_static("x-api-key");
    sending.headers.push((key, HeaderValue::from_static("k")));
    assert!(sending.by_key(&Identity::nobody(&client, true)));
    assert!(!sending.by_key(&Identity::nobody(&client, false)));
}
