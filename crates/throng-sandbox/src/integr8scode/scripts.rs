//! Saved scripts. A script belongs to one user; to all others it does not exist.

use axum::response::Response;
use serde_json::{Value, json};

use super::bugs::Bug;
use super::call::{Call, text};
use super::execution::new_id;
use super::reply::{self, Refusal};
use super::schema;
use super::validate;
use super::world::{Script, User};
use crate::timestamp::unix_millis;

pub(super) fn create(call: &Call, user: &User) -> Result<Response, Refusal> {
    let body = call.unchecked_json()?;
    let mut faults = Vec::new();
    validate::check(
        &body,
        &schema::reference("ScriptCreate"),
        &[json!("body")],
        &mut faults,
    );
    if !faults.is_empty() {
        if call.app.has(Bug::RefusedCreateLeavesRow) && body["name"].is_string() {
            call.app.world.add_script(user, script(&body, user));
        }
        return Err(Refusal::Invalid(faults));
    }
    if call.app.has(Bug::UnicodeTitle500) && text(&body, "name").chars().any(odd) {
        return Err(Refusal::Crash);
    }
    let script = script(&body, user);
    let answer = reply::ok(&script.json());
    call.app.world.add_script(user, script);
    Ok(answer)
}

/// What the planted bug stumbles over: outside the basic plane, or a combining mark.
fn odd(character: char) -> bool {
    character > '\u{ffff}' || ('\u{300}'..='\u{36f}').contains(&character)
}

fn script(body: &Value, user: &User) -> Script {
    let or = |name: &str, default: &str| body[name].as_str().unwrap_or(default).to_owned();
    let now = unix_millis();
    Script {
        id: new_id(),
        owner: user.id.clone(),
        name: or("name", ""),
        script: or("script", ""),
        lang: or("lang", "python"),
        lang_version: or("lang_version", "3.11"),
        description: body["description"].as_str().map(str::to_owned),
        created_ms: now,
        updated_ms: now,
        deleted: false,
    }
}

pub(super) fn list(call: &Call, user: &User) -> Response {
    let scripts = call.app.world.scripts(user);
    let scripts: Vec<Value> = scripts.iter().map(Script::json).collect();
    reply::ok(&json!({ "scripts": scripts }))
}

pub(super) fn get(call: &Call, user: &User) -> Result<Response, Refusal> {
    let app = &call.app;
    let script = app
        .world
        .script(&call.parameter)
        .filter(|script| script.owner == user.id || app.has(Bug::ForeignScriptReadable))
        .filter(|script| !script.deleted || app.has(Bug::DeletedStillServed))
        .ok_or_else(|| missing(call))?;
    Ok(reply::ok(&script.json()))
}

pub(super) fn update(call: &Call, user: &User) -> Result<Response, Refusal> {
    let body = call.json("ScriptUpdate")?;
    let changed = call
        .app
        .world
        .change_script(user, &call.parameter, |script| {
            for (name, field) in [
                ("name", &mut script.name),
                ("script", &mut script.script),
                ("lang", &mut script.lang),
                ("lang_version", &mut script.lang_version),
            ] {
                if let Some(value) = body[name].as_str() {
                    value.clone_into(field);
                }
            }
            if let Some(description) = body["description"].as_str() {
                script.description = Some(description.to_owned());
            }
        });
    let script = changed.ok_or_else(|| missing(call))?;
    Ok(reply::ok(&script.json()))
}

pub(super) fn delete(call: &Call, user: &User) -> Result<Response, Refusal> {
    let keep = call.app.has(Bug::DeletedStillServed);
    if call.app.world.delete_script(user, &call.parameter, keep) {
        Ok(reply::no_content())
    } else {
        Err(missing(call))
    }
}

fn missing(call: &Call) -> Refusal {
    Refusal::not_found(format!("Script '{}' not found", call.parameter))
}
