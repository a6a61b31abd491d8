//! Another API than the sandbox's, of another style: tokens, no cookies, nested and wrapped resources, numbers as ids, OpenAPI
//! 3.0 in YAML. So that nothing is tuned to one target.

#![expect(
    clippy::result_large_err,
    reason = "an answer of a handler of a test may be large"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use throng_fuzz::Check;

use crate::{
    server::serving,
    swarm::{by_curl, of, run},
    users::{Style, Users},
};

const DOCUMENT: &str = r##"
openapi: 3.0.3
info: { title: Shelves, version: "1" }
servers: [{ url: /base }]
security: [{ bearer: [] }]
paths:
  /people:
    post:
      security: []
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/NewPerson" } } } }
      responses:
        "201": { description: made, content: { application/json: { schema: { $ref: "#/components/schemas/Person" } } } }
        "400": { $ref: "#/components/responses/No" }
        "409": { $ref: "#/components/responses/No" }
  /me:
    get:
      responses:
        "200": { description: me, content: { application/json: { schema: { $ref: "#/components/schemas/Person" } } } }
  /sessions:
    post:
      security: []
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/NewPerson" } } } }
      responses:
        "201": { description: made, content: { application/json: { schema: { type: object, required: [token], properties: { token: { type: string } } } } } }
        4XX: { $ref: "#/components/responses/No" }
  /sessions/current:
    delete: { operationId: signOut, responses: { "204": { description: gone } } }
  /shelves:
    get:
      responses:
        "200": { description: all, content: { application/json: { schema: { type: array, items: { $ref: "#/components/schemas/Shelf" } } } } }
    post:
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/NewShelf" } } } }
      responses:
        "201": { description: made, content: { application/json: { schema: { type: object, required: [data], properties: { data: { $ref: "#/components/schemas/Shelf" } } } } } }
        "400": { $ref: "#/components/responses/No" }
  /shelves/{shelf}:
    parameters: [{ name: shelf, in: path, required: true, schema: { type: integer } }]
    get:
      responses:
        "200": { description: one, content: { application/json: { schema: { $ref: "#/components/schemas/Shelf" } } } }
        "404": { $ref: "#/components/responses/No" }
    delete:
      responses: { "204": { description: gone }, "404": { $ref: "#/components/responses/No" } }
  /shelves/{shelf}/books:
    parameters: [{ name: shelf, in: path, required: true, schema: { type: integer } }]
    get:
      responses:
        "200": { description: all, content: { application/json: { schema: { type: array, items: { $ref: "#/components/schemas/Book" } } } } }
        "404": { $ref: "#/components/responses/No" }
    post:
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/NewBook" } } } }
      responses:
        "201": { description: made, content: { application/json: { schema: { $ref: "#/components/schemas/Book" } } } }
        "400": { $ref: "#/components/responses/No" }
        "404": { $ref: "#/components/responses/No" }
  /shelves/{shelf}/books/{bookId}:
    parameters:
      - { name: shelf, in: path, required: true, schema: { type: integer } }
      - { name: bookId, in: path, required: true, schema: { type: integer } }
    get:
      responses:
        "200": { description: one, content: { application/json: { schema: { $ref: "#/components/schemas/Book" } } } }
        "404": { $ref: "#/components/responses/No" }
components:
  securitySchemes: { bearer: { type: http, scheme: bearer } }
  responses:
    No: { description: no, content: { application/json: { schema: { type: object, required: [error], properties: { error: { type: string } } } } } }
  schemas:
    NewPerson:
      type: object
      required: [handle, secret]
      properties: { handle: { type: string, minLength: 1, maxLength: 60 }, secret: { type: string, minLength: 8, writeOnly: true } }
    Person:
      type: object
      required: [id, handle, plan]
      properties: { id: { type: integer }, handle: { type: string }, plan: { type: string, enum: [free, paid] } }
    NewShelf:
      type: object
      required: [title]
      properties: { title: { type: string, maxLength: 200 }, note: { type: string, nullable: true, maxLength: 100 } }
    Shelf:
      type: object
      required: [id, title, note]
      properties: { id: { type: integer }, title: { type: string }, note: { type: string, nullable: true } }
    NewBook:
      type: object
      required: [name, pages]
      properties: { name: { type: string }, pages: { type: integer, minimum: 0 } }
    Book:
      type: object
      required: [bookId, name, pages]
      properties: { bookId: { type: integer }, name: { type: string }, pages: { type: integer, minimum: 0 } }
"##;

const TRACE: &str = "java.lang.ArithmeticException: integer overflow\n\tat java.base/java.lang.Math.toIntExact(Math.java:1135)\n\tat org.shelves.Books.add(Books.java:42)";

#[derive(Default)]
struct World {
    next: i64,
    /// Handle to id, secret and plan.
    people: BTreeMap<String, (i64, String, String)>,
    tokens: BTreeMap<String, String>,
    /// Id to owner, title and note.
    shelves: BTreeMap<i64, (String, String, Option<String>)>,
    gone: BTreeSet<i64>,
    /// Id to shelf, name and pages.
    books: BTreeMap<i64, (i64, String, i64)>,
}

#[derive(Clone)]
struct App {
    world: Arc<Mutex<World>>,
    buggy: bool,
}

impl App {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn who(&self, headers: &HeaderMap) -> Result<String, Response> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .unwrap_or_default();
        self.world()
            .tokens
            .get(token)
            .cloned()
            .ok_or_else(|| no(StatusCode::UNAUTHORIZED, "who are you?"))
    }

    fn owned(&self, shelf: &str, who: &str) -> Result<i64, Response> {
        let world = self.world();
        let id = shelf.parse::<i64>().ok();
        let own = |id: &i64| {
            world
                .shelves
                .get(id)
                .is_some_and(|(owner, _, _)| owner == who)
        };
        id.filter(|id| own(id) && (self.buggy || !world.gone.contains(id)))
            .ok_or_else(|| no(StatusCode::NOT_FOUND, "no such shelf"))
    }
}

fn no(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

fn body(bytes: &Bytes) -> Result<Value, Response> {
    serde_json::from_slice::<Value>(bytes)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| no(StatusCode::BAD_REQUEST, "no JSON object"))
}

fn text(body: &Value, name: &str, least: usize, most: usize) -> Result<String, Response> {
    body[name]
        .as_str()
        .filter(|text| (least..=most).contains(&text.chars().count()))
        .map(str::to_owned)
        .ok_or_else(|| no(StatusCode::BAD_REQUEST, name))
}

async fn register(State(app): State<App>, bytes: Bytes) -> Result<Response, Response> {
    let body = body(&bytes)?;
    let (handle, secret) = (
        text(&body, "handle", 1, 60)?,
        text(&body, "secret", 8, 9_999)?,
    );
    let taken = || no(StatusCode::CONFLICT, "taken");
    if app.world().people.contains_key(&handle) {
        return Err(taken());
    }
    if app.buggy {
        // What looks first and takes later leaves room for others.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    let mut world = app.world();
    if !app.buggy && world.people.contains_key(&handle) {
        return Err(taken());
    }
    world.next += 1;
    let id = world.next;
    let plan = body["plan"]
        .as_str()
        .filter(|plan| app.buggy && *plan == "paid")
        .unwrap_or("free");
    world
        .people
        .insert(handle.clone(), (id, secret, plan.to_owned()));
    let made = json!({ "id": id, "handle": handle, "plan": plan });
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn me(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let world = app.world();
    let (id, _, plan) = &world.people[&who];
    Ok(Json(json!({ "id": id, "handle": who, "plan": plan })).into_response())
}

async fn sign_in(State(app): State<App>, bytes: Bytes) -> Result<Response, Response> {
    let body = body(&bytes)?;
    let (handle, secret) = (
        text(&body, "handle", 1, 60)?,
        text(&body, "secret", 8, 9_999)?,
    );
    let mut world = app.world();
    if world
        .people
        .get(&handle)
        .is_none_or(|(_, known, _)| *known != secret)
    {
        return Err(no(StatusCode::UNAUTHORIZED, "no"));
    }
    world.next += 1;
    let token = format!("token-{:012}", world.next * 7_919);
    world.tokens.insert(token.clone(), handle);
    Ok((StatusCode::CREATED, Json(json!({ "token": token }))).into_response())
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    app.who(&headers)?;
    let token = headers[header::AUTHORIZATION].to_str().unwrap_or_default();
    if !app.buggy {
        app.world()
            .tokens
            .remove(token.trim_start_matches("Bearer "));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn shelf(id: i64, title: &str, note: &Option<String>) -> Value {
    json!({ "id": id, "title": title, "note": note })
}

async fn shelves(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let world = app.world();
    let own = world
        .shelves
        .iter()
        .filter(|(id, (owner, _, _))| *owner == who && !world.gone.contains(id));
    let all: Vec<Value> = own
        .map(|(id, (_, title, note))| shelf(*id, title, note))
        .collect();
    Ok(Json(all).into_response())
}

async fn add_shelf(
    State(app): State<App>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let body = body(&bytes)?;
    let title = text(&body, "title", 0, 200)?;
    let note = match &body["note"] {
        Value::Null => Ok(None),
        _ => text(&body, "note", 0, 100).map(Some),
    };
    let mut world = app.world();
    if note.is_err() && !app.buggy {
        return Err(no(StatusCode::BAD_REQUEST, "note"));
    }
    world.next += 1;
    let id = world.next;
    let kept = note.as_ref().ok().cloned().flatten();
    let made = json!({ "data": shelf(id, &title, &kept) });
    world.shelves.insert(id, (who, title, kept));
    note?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn one_shelf(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let id = app.owned(&id, &who)?;
    let world = app.world();
    let (_, title, note) = &world.shelves[&id];
    Ok(Json(shelf(id, title, note)).into_response())
}

async fn remove_shelf(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let id = app.owned(&id, &who)?;
    app.world().gone.insert(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn book(id: i64, name: &str, pages: i64) -> Value {
    json!({ "bookId": id, "name": name, "pages": pages })
}

async fn books(
    State(app): State<App>,
    headers: HeaderMap,
    Path(on): Path<String>,
) -> Result<Response, Response> {
    let on = if app.buggy && !headers.contains_key(header::AUTHORIZATION) {
        on.parse()
            .map_err(|_| no(StatusCode::NOT_FOUND, "no such shelf"))?
    } else {
        app.owned(&on, &app.who(&headers)?)?
    };
    let world = app.world();
    let all = world.books.iter().filter(|(_, (shelf, _, _))| *shelf == on);
    let all: Vec<Value> = all
        .map(|(id, (_, name, pages))| book(*id, name, *pages))
        .collect();
    Ok(Json(all).into_response())
}

async fn add_book(
    State(app): State<App>,
    headers: HeaderMap,
    Path(on): Path<String>,
    bytes: Bytes,
) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    let on = app.owned(&on, &who)?;
    let body = body(&bytes)?;
    let name = text(&body, "name", 0, usize::MAX)?;
    let pages = body["pages"].as_i64().filter(|pages| *pages >= 0);
    let pages = pages.ok_or_else(|| no(StatusCode::BAD_REQUEST, "pages"))?;
    if app.buggy && pages > i64::from(i32::MAX) {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, TRACE).into_response());
    }
    let mut world = app.world();
    world.next += 1;
    let id = world.next;
    world.books.insert(id, (on, name.clone(), pages));
    let mut made = book(id, &name, pages);
    if app.buggy && pages >= 1_000 {
        made["pages"] = json!(pages.to_string());
    }
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn one_book(
    State(app): State<App>,
    headers: HeaderMap,
    Path((on, id)): Path<(String, String)>,
) -> Result<Response, Response> {
    let who = app.who(&headers)?;
    if !app.buggy {
        app.owned(&on, &who)?;
    }
    let missing = || no(StatusCode::NOT_FOUND, "no such book");
    let id = id.parse::<i64>().map_err(|_| missing())?;
    let world = app.world();
    let found = world
        .books
        .get(&id)
        .filter(|(shelf, _, _)| shelf.to_string() == on);
    let (_, name, pages) = found.ok_or_else(missing)?;
    Ok(Json(book(id, name, *pages)).into_response())
}

/// Serves the API; its origin.
async fn serve(buggy: bool) -> String {
    let app = App {
        world: Arc::default(),
        buggy,
    };
    let routes = Router::new()
        .route("/people", post(register))
        .route("/me", get(me))
        .route("/sessions", post(sign_in))
        .route("/sessions/current", delete(sign_out))
        .route("/shelves", get(shelves).post(add_shelf))
        .route("/shelves/{shelf}", get(one_shelf).delete(remove_shelf))
        .route("/shelves/{shelf}/books", get(books).post(add_book))
        .route("/shelves/{shelf}/books/{book}", get(one_book))
        .with_state(app);
    serving("/base", routes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_api_of_another_style_is_searched_as_well() {
    let users = Users::register(&serve(true).await, Style::Token, 3).await;
    let run = run(&users, DOCUMENT.as_bytes(), 700, |_| {}).await;
    let found = &run.found;
    for (check, operation, shapes) in [
        (
            Check::ServerError,
            "POST /base/shelves/{shelf}/books",
            vec![
                "POST /base/shelves ",
                r#"POST /base/shelves/</data/id of answer 1>/books {"name":"","pages":2147483648}"#,
            ],
        ),
        (
            Check::StackTrace,
            "POST /base/shelves/{shelf}/books",
            vec!["POST ", "POST "],
        ),
        (
            Check::BodyAgainstSchema,
            "POST /base/shelves/{shelf}/books",
            vec![
                "POST ",
                r#"POST /base/shelves/</data/id of answer 1>/books {"name":"","pages":1000}"#,
            ],
        ),
        (
            Check::LoginNotNeeded,
            "GET /base/shelves/{shelf}/books",
            vec!["GET /base/shelves/0/books as nobody"],
        ),
        (
            Check::ForeignRead,
            "GET /base/shelves/{shelf}/books/{bookId}",
            vec![
                "POST /base/shelves ",
                "POST ",
                "GET /base/shelves/</data/id of answer 1>/books/</bookId of answer 2> as the second user",
            ],
        ),
        (
            Check::SessionAfterLogout,
            "DELETE /base/sessions/current",
            vec!["DELETE ", "GET "],
        ),
        (
            Check::UseAfterDelete,
            "GET /base/shelves/{shelf}",
            vec!["POST ", "DELETE ", "GET "],
        ),
        (
            Check::RefusedWithEffect,
            "GET /base/shelves",
            vec!["POST ", "GET "],
        ),
        (
            Check::MassAssignment,
            "POST /base/people",
            vec![r#"POST /base/people {"handle":"{unique}","secret":"#],
        ),
        (
            Check::UniqueRace,
            "POST /base/people",
            vec!["POST ", "POST "],
        ),
    ] {
        let of_check = of(found, check);
        let finding = of_check.iter().find(|it| it.operation == operation);
        let finding = finding.unwrap_or_else(|| panic!("{check} of {operation} in {found}"));
        assert_eq!(finding.requests.len(), shapes.len(), "{finding}");
        for (request, shape) in finding.requests.iter().zip(shapes) {
            assert!(request.starts_with(shape), "{shape}: {finding}");
        }
        let said = by_curl(finding);
        let status = finding.status.expect("a status").to_string();
        assert!(
            said.lines().any(|line| line == status),
            "{finding}\n{said}\n{}",
            finding.curl
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_api_without_its_bugs_is_sound() {
    let users = Users::register(&serve(false).await, Style::Token, 3).await;
    let run = run(&users, DOCUMENT.as_bytes(), 700, |_| {}).await;
    assert!(run.found.is_sound(), "{}", run.found);
    assert!(run.found.seen_once.is_empty(), "{}", run.found);
}

/// Nobody logs in: what can be done then is done, and nothing is called wrong for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_users_everything_is_done_as_nobody() {
    let users = Users::register(&serve(false).await, Style::Token, 0).await;
    let run = run(&users, DOCUMENT.as_bytes(), 150, |_| {}).await;
    assert!(run.found.is_sound(), "{}", run.found);
    assert_eq!(run.found.probes, 150);
}
