//! What the answers to several requests prove together.
//!
//! A control is only asked where it is there: it was when the thing was first seen, and the shrinker leaves it out then.

use serde_json::Value;

use super::{
    Check, Judge, Violation,
    answer::FORGED,
    likeness::{alike, same_thing, says_it_is_gone, says_it_was_refused},
};
use crate::{
    answer::Answer,
    probe::{Kind, Probe, Role, Step, Trace},
    request::{Body, Csrf, Part, Request, UNIQUE, Who, scalar},
};

pub(super) fn judge(judge: &Judge<'_>, probe: &Probe, trace: &Trace, found: &mut Vec<Violation>) {
    let scene = Scene { probe, trace };
    let seen = match probe.kind {
        Kind::Single | Kind::Login => None,
        Kind::Csrf => csrf(judge, &scene),
        Kind::Foreign => foreign(judge, &scene),
        Kind::Logout => logout(&scene),
        Kind::Deleted => deleted(&scene),
        Kind::Refused => refused(&scene),
        Kind::Privileged => privileged(&scene),
        Kind::Race => race(&scene),
    };
    found.extend(seen);
}

/// A probe and what came of it.
struct Scene<'a> {
    probe: &'a Probe,
    trace: &'a Trace,
}

impl<'a> Scene<'a> {
    fn answer(&self, step: usize) -> Option<&'a Answer> {
        self.trace.answers.get(step)?.as_ref()
    }

    /// Steps of a role, with their answers. `None` in it where there is no answer.
    fn of(&self, role: Role) -> Vec<(usize, &'a Step, Option<&'a Answer>)> {
        self.probe
            .of(role)
            .map(|(index, step)| (index, step, self.answer(index)))
            .collect()
    }

    /// The last value in the path of a request that an earlier answer gave.
    fn bound(&self, request: &Request) -> Option<(usize, String)> {
        let names = request.path.split('{').skip(1);
        let names: Vec<&str> = names
            .filter_map(|rest| Some(rest.split_once('}')?.0))
            .collect();
        names
            .iter()
            .rev()
            .find_map(|name| match request.path_values.get(*name)? {
                Part::Bound { step, pointer } => {
                    let json = self.answer(*step)?.json()?;
                    Some((*step, scalar(json.pointer(pointer)?)?))
                }
                _ => None,
            })
    }
}

fn violation(check: Check, step: usize, message: impl Into<String>) -> Option<Violation> {
    Some(Violation {
        check,
        step,
        message: message.into(),
        member: None,
    })
}

/// Where no login is declared to be needed, the control shows that nobody is refused. (Else a single answer tells.)
fn csrf(judge: &Judge<'_>, scene: &Scene<'_>) -> Option<Violation> {
    let (index, step, answer) = scene.of(Role::Act).pop()?;
    let request = &step.request;
    let (_, operation) = judge.operation(request.operation.as_deref())?;
    if operation.secured
        || request.csrf == Csrf::Right
        || !judge.sending.needs_token(&request.method)
    {
        return None;
    }
    // A header of its own is nothing that a page of another site could send.
    if scene.trace.by_key.get(index).copied().unwrap_or_default() {
        return None;
    }
    for (_, _, control) in scene.of(Role::Control) {
        if !matches!(control?.status()?, 401 | 403) {
            return None;
        }
    }
    let logged_in = request.who != Who::Nobody;
    (logged_in && answer?.succeeded()).then(|| violation(Check::CsrfNotChecked, index, FORGED))?
}

/// What the first user created is given to another, in whose list it does not stand, or to whom another way is closed.
fn foreign(judge: &Judge<'_>, scene: &Scene<'_>) -> Option<Violation> {
    let (index, step, answer) = scene.of(Role::Act).pop()?;
    let Who::Other(_) = step.request.who else {
        return None;
    };
    let (create, id) = scene.bound(&step.request)?;
    if scene.probe.steps[create].request.who != Who::Own || !scene.answer(create)?.succeeded() {
        return None;
    }
    let (_, operation) = judge.operation(step.request.operation.as_deref())?;
    let (mut own_has_it, mut told_apart, mut own_view) = (None, None, None);
    for (_, control, answer) in scene.of(Role::Control) {
        let answer = answer?;
        let lists = control.request.path == scene.probe.steps[create].request.path;
        match (control.request.who, lists) {
            (Who::Own, true) => own_has_it = Some(holds(answer.json()?, &id)),
            (Who::Own, false) => own_view = Some(answer.json()),
            (Who::Other(_), true) => {
                told_apart = Some(!answer.json().is_some_and(|json| holds(json, &id)));
            }
            (Who::Other(_), false) => told_apart = Some(matches!(answer.status()?, 403 | 404)),
            // Not in every list, but for everybody to read.
            (Who::Nobody, false) if answer.succeeded() => return None,
            _ => {}
        }
    }
    if own_has_it == Some(false) || told_apart == Some(false) {
        return None;
    }
    let answer = answer?;
    if !answer.succeeded() {
        return None;
    }
    // What says which thing it is; or what is the same for both, and more than that there is nothing.
    let given = match answer.json() {
        Some(json) if holds(json, &id) => true,
        Some(json) => {
            let part_of_it = !operation.path.ends_with('}');
            let same = own_view.is_none_or(|own| own == Some(json));
            part_of_it && same && !says_nothing(json)
        }
        None => answer.answered()?.text().contains(&id),
    };
    given.then(|| violation(Check::ForeignRead, index, "given to another user"))?
}

/// Whether there is nothing in a value: no text, no number but 0, nothing true.
fn says_nothing(json: &Value) -> bool {
    match json {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

fn logout(scene: &Scene<'_>) -> Option<Violation> {
    let (ended, _, goodbye) = scene
        .of(Role::Act)
        .into_iter()
        .find(|(_, step, _)| step.request.who == Who::Fresh)?;
    if !goodbye?.succeeded() {
        return None;
    }
    for (_, control, answer) in scene.of(Role::Control) {
        let expected = match control.request.who {
            Who::Nobody => matches!(answer?.status()?, 401 | 403),
            _ => answer?.succeeded(),
        };
        if !expected {
            return None;
        }
    }
    scene
        .of(Role::Act)
        .into_iter()
        .find(|(index, step, answer)| {
            *index > ended && step.request.who == Who::Kept && answer.is_some_and(Answer::succeeded)
        })
        // Whatever could be read afterwards: it is the logging out that does not work.
        .and_then(|_| violation(Check::SessionAfterLogout, ended, "the session went on"))
}

fn deleted(scene: &Scene<'_>) -> Option<Violation> {
    let acts = scene.of(Role::Act);
    let (gone, delete, confirmed) = acts
        .iter()
        .find(|(_, step, _)| step.request.method == "DELETE")?;
    // What was only taken on may still be under way.
    let status = (*confirmed)?.status()?;
    if !matches!(status, 200 | 204) {
        return None;
    }
    let mut before = None;
    for (_, _, control) in scene.of(Role::Control) {
        let control = control?;
        if !control.succeeded() {
            return None;
        }
        before = Some(control);
    }
    let (index, _, answer) = acts.iter().find(|(index, step, _)| {
        index > gone
            && step.request.method == "GET"
            && step.request.path_values == delete.request.path_values
    })?;
    let answer = (*answer)?;
    let says = |answer: &Answer| answer.json().is_some_and(says_it_is_gone);
    // What is back at its beginning was deleted: there is always one of its kind.
    let still_it = before.is_none_or(|before| match (before.json(), answer.json()) {
        (Some(before), Some(after)) => alike(before, after),
        (None, None) => true,
        _ => false,
    });
    let told = says(answer) && !before.is_some_and(says);
    (answer.succeeded() && still_it && !told)
        .then(|| violation(Check::UseAfterDelete, *index, "served after its deletion"))?
}

/// Whether a value is in there, as a text or a number.
fn holds(json: &Value, value: &str) -> bool {
    match json {
        Value::Array(items) => items.iter().any(|item| holds(item, value)),
        Value::Object(members) => members.values().any(|member| holds(member, value)),
        other => scalar(other).is_some_and(|text| text == value),
    }
}

/// A refused creation whose unique text stands in the list afterwards.
fn refused(scene: &Scene<'_>) -> Option<Violation> {
    let acts = scene.of(Role::Act);
    let (refused, create, answer) = acts
        .iter()
        .find(|(_, step, _)| step.request.method == "POST")?;
    if !(*answer)?.refused() || !holds_unique(&create.request.body) {
        return None;
    }
    let (index, _, list) = acts
        .iter()
        .find(|(index, step, _)| index > refused && step.request.method == "GET")?;
    let list = (*list)?;
    let listed = list.succeeded() && list.answered()?.text().contains(&scene.trace.unique);
    // A log of what was refused is no effect.
    let logged = |json| says_it_was_refused(json, &scene.trace.unique);
    let listed = listed && !list.json().is_some_and(logged);
    listed.then(|| violation(Check::RefusedWithEffect, *index, "it stands in the list"))?
}

fn holds_unique(body: &Body) -> bool {
    serde_json::to_string(body).is_ok_and(|text| text.contains(UNIQUE))
}

/// A member that the answer repeats as it was sent, and that it did not have by itself.
fn privileged(scene: &Scene<'_>) -> Option<Violation> {
    let (index, step, answer) = scene.of(Role::Act).pop()?;
    let Body::Json(Value::Object(sent)) = &step.request.body else {
        return None;
    };
    let answer = answer?;
    if !answer.succeeded() {
        return None;
    }
    let got = answer.json()?;
    let controls = scene.of(Role::Control);
    let by_itself = match controls.first() {
        Some((_, control, answer)) => {
            let answer = (*answer)?;
            if !answer.succeeded() {
                return None;
            }
            let Body::Json(Value::Object(body)) = &control.request.body else {
                return None;
            };
            Some((body, answer.json()?))
        }
        None => None,
    };
    let mut believed = sent.iter().filter(|(name, value)| {
        let plain = !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
        let unique = value.as_str().is_some_and(|text| text.contains(UNIQUE));
        let beyond = match by_itself {
            // What the control sent too was meant to be sent.
            Some((body, control)) => {
                !body.contains_key(*name)
                    && control
                        .get(name.as_str())
                        .is_some_and(|usual| usual != *value)
            }
            None => true,
        };
        let watched = scene.probe.watched.contains(name);
        watched && plain && !unique && beyond && got.get(name.as_str()) == Some(*value)
    });
    let (name, _) = believed.next()?;
    Some(Violation {
        check: Check::MassAssignment,
        step: index,
        message: format!("`{name}` is believed"),
        member: Some(name.clone()),
    })
}

/// One repetition after the other is refused; at the same time several win, and not the same thing.
fn race(scene: &Scene<'_>) -> Option<Violation> {
    let controls = scene.of(Role::Control);
    if let [(_, _, first), (_, _, second)] = controls[..]
        && !(first?.succeeded() && second?.status() == Some(409))
    {
        return None;
    }
    let acts = scene.of(Role::Act);
    let same = acts
        .windows(2)
        .all(|pair| pair[0].1.request == pair[1].1.request);
    let won: Vec<&Answer> = acts
        .iter()
        .filter_map(|(_, _, answer)| *answer)
        .filter(|answer| answer.succeeded())
        .collect();
    // The same thing twice was made once, whatever else the answers say.
    let differ = won
        .windows(2)
        .any(|pair| match (pair[0].json(), pair[1].json()) {
            (Some(one), Some(other)) => !same_thing(one, other),
            (one, other) => one != other,
        });
    let (index, _, _) = acts.last()?;
    let unique = holds_unique(&acts.first()?.1.request.body);
    (same && unique && won.len() > 1 && differ)
        .then(|| violation(Check::UniqueRace, *index, "several won at the same time"))?
}
