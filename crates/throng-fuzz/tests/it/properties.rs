//! The runner of properties: what passes, fails, is vacuous; that it shrinks, keeps, and begins with what was kept.

use std::cell::{Cell, RefCell};
use std::future::Future;

use serde_json::{Value, json};
use throng_fuzz::Document;
use throng_fuzz::property::{
    Alike, Counterexample, GivenError, Kept, Outcome, Regressions, Settings, Tried, Verdict, check,
    hold, strategy,
};
use throng_fuzz::value::{Schemas, Values, draw, runner};

fn values(schema: Value) -> Values {
    Schemas::alone(&schema).valid(&schema).expect("a strategy")
}

fn numbers() -> Values {
    values(
        json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 100_000 } } }),
    )
}

async fn tried<T: Future<Output = Tried<String>>>(
    settings: &Settings,
    attempt: impl Fn(Value) -> T,
) -> Outcome<String> {
    check(&numbers(), settings, attempt).await
}

fn found(outcome: &Outcome<String>) -> &Counterexample<String> {
    match &outcome.verdict {
        Verdict::Failed(found) if found.len() == 1 => &found[0],
        other => panic!("it should fail: {other:?}"),
    }
}

fn too_large(value: &Value) -> Tried<String> {
    match value["n"].as_u64() {
        Some(0..=1000) => Tried::Accepted,
        _ => Tried::Failed("too large".to_owned()),
    }
}

#[tokio::test]
async fn what_holds_passes_and_what_does_not_is_shrunk() {
    let settings = Settings {
        seed: 4,
        ..Settings::default()
    };
    let outcome = tried(&settings, async |_| Tried::Accepted).await;
    assert!(matches!(outcome.verdict, Verdict::Passed), "{outcome:?}");
    assert_eq!(
        (outcome.tried, outcome.accepted, outcome.share()),
        (100, 100, 1.0)
    );

    let outcome = tried(&settings, async |value| too_large(&value)).await;
    let found = found(&outcome);
    assert_eq!(found.example, json!({ "n": 1001 }));
    assert_eq!((found.repeated, found.repeated_of), (5, 5));
    assert!(found.case.is_some() && found.first["n"].as_u64() > Some(1000));
}

#[tokio::test]
async fn the_seed_says_which_examples_are_tried_and_the_earliest_that_fails_is_shrunk() {
    let run = async |seed, concurrency| {
        let seen = RefCell::new(Vec::new());
        let settings = Settings {
            seed,
            concurrency,
            ..Settings::default()
        };
        let outcome = tried(&settings, async |value| {
            seen.borrow_mut().push(value.clone());
            // Those that were begun later answer first.
            let turns = seen.borrow().len() % 7;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            too_large(&value)
        })
        .await;
        let found = found(&outcome);
        (
            seen.take()[0].clone(),
            found.case,
            found.first.clone(),
            found.example.clone(),
        )
    };
    let alone = run(9, 1).await;
    assert_eq!(alone, run(9, 1).await);
    assert_eq!(alone, run(9, 5).await);
    assert_ne!(alone.0, run(10, 1).await.0);
}

#[tokio::test]
async fn a_property_that_is_refused_nearly_always_is_vacuous() {
    let settings = Settings {
        cases: 50,
        min_accepted: 0.5,
        ..Settings::default()
    };
    let count = Cell::new(0);
    let outcome = tried(&settings, async |_| {
        count.set(count.get() + 1);
        match count.get() % 5 {
            0 => Tried::Accepted,
            1 => Tried::Refused("taken".to_owned()),
            _ => Tried::Refused("invalid".to_owned()),
        }
    })
    .await;
    assert!(matches!(outcome.verdict, Verdict::Vacuous), "{outcome:?}");
    assert_eq!((outcome.tried, outcome.accepted), (50, 10));
    let expected = [("invalid".to_owned(), 30), ("taken".to_owned(), 10)];
    assert_eq!(outcome.refusals, expected);

    let none = Settings {
        min_accepted: 0.0,
        ..settings
    };
    let outcome = tried(&none, async |_| Tried::Refused("all".to_owned())).await;
    assert!(
        matches!(outcome.verdict, Verdict::Passed),
        "by request: {outcome:?}"
    );
}

#[tokio::test]
async fn what_fails_only_sometimes_is_shrunk_all_the_same() {
    let count = Cell::new(0_u32);
    let settings = Settings::default();
    let outcome = tried(&settings, async |value| {
        count.set(count.get() + 1);
        // Every third try of what is too large.
        match too_large(&value) {
            Tried::Failed(_) if !count.get().is_multiple_of(3) => Tried::Accepted,
            other => other,
        }
    })
    .await;
    let found = found(&outcome);
    assert_eq!(found.example, json!({ "n": 1001 }));
    assert!(found.repeated < found.repeated_of, "{found:?}");
}

#[tokio::test]
async fn what_was_kept_is_tried_first() {
    let kept = json!({ "n": 77_777 });
    let settings = Settings {
        kept: vec![json!({ "n": 1 }), kept.clone()],
        ..Settings::default()
    };
    let seen = RefCell::new(Vec::new());
    let outcome = tried(&settings, async |value| {
        seen.borrow_mut().push(value.clone());
        too_large(&value)
    })
    .await;
    assert_eq!(seen.borrow()[..2], [json!({ "n": 1 }), kept.clone()]);
    let found = found(&outcome);
    assert_eq!((&found.example, found.case), (&kept, None));
    assert_eq!(seen.borrow().len(), 2 + 5, "nothing is generated: {seen:?}");
}

/// Told apart by the word.
#[derive(Clone, Debug, PartialEq)]
struct Kind(&'static str);

impl Alike for Kind {
    fn alike(&self, other: &Self) -> bool {
        self == other
    }
}

#[tokio::test]
async fn failures_that_can_be_told_apart_are_shrunk_each_by_itself() {
    let attempt = async |value: Value| match value["n"].as_u64().unwrap_or_default() {
        0..=1000 => Tried::Accepted,
        n if n % 2 == 1 => Tried::Failed(Kind("odd")),
        _ => Tried::Failed(Kind("even")),
    };
    let outcome = check(&numbers(), &Settings::default(), attempt).await;
    let Verdict::Failed(mut found) = outcome.verdict else {
        panic!("{outcome:?}");
    };
    assert!(
        found[0].case < found[1].case,
        "the earliest first: {found:?}"
    );
    found.sort_by_key(|found| found.failure.0);
    let kinds: Vec<_> = found.iter().map(|found| found.failure.0).collect();
    assert_eq!(kinds, ["even", "odd"]);
    for found in &found {
        // Halving comes by the other kind, so that the very smallest may be missed.
        let (n, first) = (found.example["n"].as_u64(), found.first["n"].as_u64());
        assert!(n > Some(1000) && n <= first, "{found:?}");
        assert_eq!((found.repeated, found.repeated_of), (5, 5));
    }
    assert_eq!(outcome.tried, 100, "the others are tried all the same");

    let kept = Settings {
        kept: vec![
            json!({ "n": 1001 }),
            json!({ "n": 1003 }),
            json!({ "n": 1002 }),
        ],
        ..Settings::default()
    };
    let outcome = check(&numbers(), &kept, attempt).await;
    let Verdict::Failed(found) = outcome.verdict else {
        panic!("{outcome:?}");
    };
    let kinds: Vec<_> = found.iter().map(|found| found.failure.0).collect();
    assert_eq!((kinds.as_slice(), outcome.tried), (&["odd", "even"][..], 0));
}

#[tokio::test]
async fn a_stop_ends_it() {
    let count = Cell::new(0);
    let outcome = tried(&Settings::default(), async |_| {
        count.set(count.get() + 1);
        match count.get() {
            1..4 => Tried::Accepted,
            _ => Tried::Stopped,
        }
    })
    .await;
    assert!(matches!(outcome.verdict, Verdict::Stopped), "{outcome:?}");
    assert_eq!(outcome.tried, 3);
}

#[test]
fn kept_examples_are_written_and_read_back_newest_first() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("some.regressions.json");
    let mut all = Regressions::read(&path).expect("no file is no mistake");
    let kept = |n: u32| Kept {
        example: json!({ "n": n }),
        failure: "500".to_owned(),
        seed: 1,
    };
    assert!(all.keep("p", kept(0)));
    assert!(!all.keep("p", kept(0)), "known already");
    for n in 1..30 {
        assert!(all.keep("p", kept(n)));
    }
    all.write(&path).expect("it can be written");
    let read = Regressions::read(&path).expect("it can be read");
    assert_eq!(read, all);
    assert_eq!(read.of("p").len(), 20);
    assert_eq!(read.of("p")[0], kept(29));
    assert!(read.of("other").is_empty());

    std::fs::write(&path, "{\"version\": 9, \"properties\": {}}").expect("it can be written");
    let error = Regressions::read(&path)
        .expect_err("another version")
        .to_string();
    assert!(error.contains("version 9"), "{error}");
    std::fs::write(&path, "[]").expect("it can be written");
    let error = Regressions::read(&path)
        .expect_err("another form")
        .to_string();
    assert!(error.contains("no file of kept examples"), "{error}");
}

fn document() -> Document {
    let document = json!({
        "openapi": "3.0.3",
        "info": { "title": "t", "version": "1" },
        "paths": { "/api/users": { "post": {
            "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/User" } } } },
            "responses": { "200": { "description": "ok" } },
        }, "get": { "responses": { "200": { "description": "ok" } } } } },
        "components": { "schemas": { "User": {
            "type": "object",
            "required": ["name", "mail", "age"],
            "properties": {
                "name": { "type": "string", "minLength": 1 },
                "mail": { "type": "string", "format": "email" },
                "age": { "$ref": "#/components/schemas/Age" },
            },
        }, "Age": { "type": "integer", "minimum": 0, "maximum": 150 } } },
    });
    Document::load(document.to_string().as_bytes(), "/api").expect("a document")
}

fn some(given: &Value) -> Vec<Value> {
    let values =
        strategy(given, Some(&document())).unwrap_or_else(|error| panic!("{given}: {error}"));
    let mut source = runner(1, 0);
    (0..60)
        .map(|_| draw(&values, &mut source).expect("a value"))
        .collect()
}

#[test]
fn what_a_scenario_gives_becomes_values() {
    for user in some(&json!({ "body_of": "POST /users" })) {
        assert!(
            user["age"].as_u64() <= Some(150)
                && user["mail"].as_str().is_some_and(|mail| mail.contains('@')),
            "{user}"
        );
    }
    let changed = json!({ "body_of": "POST /users", "properties": { "name": { "const": "ann" } }, "without": ["mail"] });
    for user in some(&changed) {
        assert_eq!(
            (&user["name"], user.get("mail")),
            (&json!("ann"), None),
            "{user}"
        );
    }
    let inside = json!({ "type": "array", "minItems": 1, "items": { "body_of": "POST /users" } });
    assert!(some(&inside).iter().all(|list| list[0]["age"].is_u64()));
    let near = some(&json!({ "nearly": { "$ref": "#/components/schemas/Age" } }));
    assert!(
        near.iter()
            .all(|age| age.as_u64().is_none_or(|age| age > 150)),
        "{near:?}"
    );
    assert!(
        some(&json!(["a", 2]))
            .iter()
            .all(|one| *one == json!("a") || *one == json!(2))
    );
    assert!(some(&json!(7)).iter().all(|one| *one == json!(7)));
    assert!(
        some(&json!({ "anything": true }))
            .iter()
            .any(Value::is_object)
    );
}

#[test]
fn what_is_not_understood_is_told() {
    let told = |given: Value, document: Option<&Document>| {
        let error: GivenError = strategy(&given, document).expect_err("a mistake");
        error.to_string()
    };
    let document = document();
    let body = |operation: &str| told(json!({ "body_of": operation }), Some(&document));
    assert_eq!(
        body("POST /user"),
        "the OpenAPI document has no operation `POST /user`; it has POST /users"
    );
    assert_eq!(
        body("GET /users"),
        "`GET /users` takes no body with a schema"
    );
    assert!(told(json!({ "body_of": "POST /users" }), None).contains("target.openapi"));
    assert!(told(json!([]), None).contains("nothing to choose from"));
    assert!(told(json!({ "nearly": {}, "type": "string" }), None).contains("stands alone"));
    assert!(
        told(json!({ "type": "string", "pattern": "(" }), None)
            .contains("no texts can be generated")
    );
}

#[test]
fn a_test_panics_with_the_smallest_example() {
    let holds = |limit: u64| {
        std::panic::catch_unwind(|| {
            hold(
                "small",
                &numbers(),
                &Settings::default(),
                async |value: Value| match value["n"].as_u64() {
                    Some(n) if n <= limit => Tried::Accepted,
                    _ => Tried::Failed("too large".to_owned()),
                },
            );
        })
    };
    assert!(holds(100_000).is_ok());
    let panic = holds(500).expect_err("it does not hold");
    let words = panic.downcast_ref::<String>().expect("words");
    assert!(
        words.contains("small does not hold (seed 0): too large\n  for {\"n\":501}"),
        "{words}"
    );
}
