//! From what showed something to the least that still does, by trying: fewer requests, fewer members, shorter texts,
//! smaller numbers.
//!
//! Greedy: what still shows it is kept, what doesn't is taken back. What shows it only at times is tried several times.

use std::time::Instant;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    group::Key,
    settle::{Bench, Seen},
};
use crate::{
    probe::{Probe, Role},
    request::{Body, Csrf, Octets, Part, UNIQUE, Who},
};

/// So many attempts at most.
const MOST_ATTEMPTS: usize = 600;
/// Texts up to this length are shortened character by character.
const SHORT: usize = 40;

/// Shrinks one probe.
pub(super) struct Shrinker<'b, 'a> {
    bench: &'b mut Bench<'a>,
    key: &'b Key,
    until: Instant,
    abort: &'b CancellationToken,
    /// How often a candidate is tried.
    tries: u32,
    attempts: usize,
}

/// A place in a request that holds a text or a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path(String),
    Query(usize),
    Header(usize),
    Form(usize),
    /// JSON at this pointer.
    Json(String),
    Raw,
}

impl<'b, 'a> Shrinker<'b, 'a> {
    pub(super) fn new(
        bench: &'b mut Bench<'a>,
        key: &'b Key,
        seen: &Seen,
        until: Instant,
        abort: &'b CancellationToken,
    ) -> Self {
        let tries = match seen.tried / seen.repeated.max(1) {
            // A miss says little where chance plays a part, however often it was seen.
            0 | 1 if key.check.is_race() => 2,
            0 | 1 => 1,
            rare => (2 * rare).min(8),
        };
        Self {
            bench,
            key,
            until,
            abort,
            tries,
            attempts: 0,
        }
    }

    /// The smallest probe that still shows it.
    pub(super) async fn shrink(mut self, mut probe: Probe) -> Probe {
        loop {
            let before = probe.clone();
            self.fewer_steps(&mut probe).await;
            let mut nobody = probe.clone();
            for step in &mut nobody.steps {
                step.request.who = Who::Nobody;
            }
            self.take(&mut probe, nobody).await;
            for step in 0..probe.steps.len() {
                self.parts(&mut probe, step).await;
                self.places(&mut probe, step).await;
            }
            if probe == before || self.over() {
                return probe;
            }
        }
    }

    fn over(&self) -> bool {
        self.attempts >= MOST_ATTEMPTS || Instant::now() >= self.until || self.abort.is_cancelled()
    }

    /// Whether a candidate shows it, too; then it's taken.
    async fn take(&mut self, probe: &mut Probe, candidate: Probe) -> bool {
        if candidate == *probe {
            return false;
        }
        for _ in 0..self.tries {
            if self.over() {
                return false;
            }
            self.attempts += 1;
            if self.bench.once(&candidate, self.key).await.is_shown() {
                *probe = candidate;
                return true;
            }
        }
        false
    }

    /// As [`Shrinker::take`], where something that worked once may not work twice: a name that is taken then.
    async fn take_twice(&mut self, probe: &mut Probe, candidate: Probe) -> bool {
        let mut first = probe.clone();
        if !self.take(&mut first, candidate.clone()).await {
            return false;
        }
        self.take(probe, candidate).await
    }

    async fn fewer_steps(&mut self, probe: &mut Probe) {
        let extra = |role| matches!(role, Role::Control | Role::Cleanup);
        let kept: Vec<usize> = (0..probe.steps.len())
            .filter(|index| !extra(probe.steps[*index].role))
            .collect();
        if let Some(candidate) = only(probe, &kept) {
            self.take(probe, candidate).await;
        }
        let mut index = probe.steps.len();
        while index > 0 {
            index -= 1;
            let kept: Vec<usize> = (0..probe.steps.len())
                .filter(|other| *other != index)
                .collect();
            if let Some(candidate) = only(probe, &kept) {
                self.take(probe, candidate).await;
            }
        }
    }

    /// Whole parts of a request left out.
    async fn parts(&mut self, probe: &mut Probe, step: usize) {
        if !probe.steps[step].request.body.is_none() {
            let mut candidate = probe.clone();
            candidate.steps[step].request.body = Body::None;
            self.take_twice(probe, candidate).await;
        }
        let mut index = probe.steps[step].request.query.len();
        while index > 0 {
            index -= 1;
            let mut candidate = probe.clone();
            candidate.steps[step].request.query.remove(index);
            self.take(probe, candidate).await;
        }
        let mut index = probe.steps[step].request.headers.len();
        while index > 0 {
            index -= 1;
            let mut candidate = probe.clone();
            candidate.steps[step].request.headers.remove(index);
            self.take(probe, candidate).await;
        }
        if probe.steps[step].request.csrf != Csrf::Right {
            let mut candidate = probe.clone();
            candidate.steps[step].request.csrf = Csrf::Right;
            self.take(probe, candidate).await;
        }
        for who in [Who::Nobody, Who::Own] {
            if who < probe.steps[step].request.who {
                let mut candidate = probe.clone();
                candidate.steps[step].request.who = who;
                if self.take(probe, candidate).await {
                    break;
                }
            }
        }
    }

    /// Each text and each value of a request made simpler.
    async fn places(&mut self, probe: &mut Probe, step: usize) {
        let mut done = Vec::new();
        // What becomes simpler has other places.
        while let Some(place) = places(probe, step)
            .into_iter()
            .find(|it| !done.contains(it))
        {
            done.push(place.clone());
            if self.over() {
                return;
            }
            match &place {
                Place::Raw => self.raw(probe, step).await,
                Place::Json(pointer) => self.json(probe, step, pointer).await,
                _ => self.text_at(probe, step, &place).await,
            }
        }
    }

    async fn json(&mut self, probe: &mut Probe, step: usize, pointer: &str) {
        let watched = pointer.strip_prefix('/').unwrap_or_default();
        if probe.watched.iter().any(|name| name == watched) {
            // Which value it is, is the point.
            return;
        }
        let Some(value) = json_at(probe, step, pointer).cloned() else {
            return;
        };
        let place = Place::Json(pointer.to_owned());
        match value {
            Value::Object(members) => {
                let mut rest = members;
                for name in rest.keys().cloned().collect::<Vec<_>>() {
                    let mut fewer = rest.clone();
                    fewer.shift_remove(&name);
                    let candidate = with(probe, step, &place, Value::Object(fewer.clone()));
                    if self.take_twice(probe, candidate).await {
                        rest = fewer;
                    }
                }
            }
            Value::Array(items) => self.fewer_items(probe, step, &place, items).await,
            Value::Number(number) => self.number(probe, step, &place, number.as_i64()).await,
            Value::String(_) => self.text_at(probe, step, &place).await,
            Value::Bool(true) => {
                let candidate = with(probe, step, &place, Value::Bool(false));
                self.take(probe, candidate).await;
            }
            Value::Bool(false) | Value::Null => {}
        }
    }

    async fn fewer_items(
        &mut self,
        probe: &mut Probe,
        step: usize,
        place: &Place,
        mut items: Vec<Value>,
    ) {
        let mut size = items.len();
        while size > 0 && !self.over() {
            let mut start = 0;
            while start < items.len() {
                let mut fewer = items.clone();
                fewer.drain(start..(start + size).min(items.len()));
                let candidate = with(probe, step, place, Value::Array(fewer.clone()));
                if self.take(probe, candidate).await {
                    items = fewer;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
    }

    /// A whole number nearer to zero: the least that shows it, if all above it do.
    async fn number(&mut self, probe: &mut Probe, step: usize, place: &Place, number: Option<i64>) {
        let zero = with(probe, step, place, Value::from(0));
        if self.take(probe, zero).await {
            return;
        }
        let Some(number) = number else {
            return;
        };
        self.nearest(probe, i128::from(number), |probe, number| {
            let number = i64::try_from(number).unwrap_or_default();
            with(probe, step, place, Value::from(number))
        })
        .await;
    }

    /// The number nearest to zero between it and `worst` that shows it.
    async fn nearest(
        &mut self,
        probe: &mut Probe,
        worst: i128,
        make: impl Fn(&Probe, i128) -> Probe,
    ) {
        let (mut fine, mut bad) = (0, worst);
        while (bad - fine).abs() > 1 && !self.over() {
            let middle = fine + (bad - fine) / 2;
            let candidate = make(probe, middle);
            if self.take(probe, candidate).await {
                bad = middle;
            } else {
                fine = middle;
            }
        }
    }

    async fn text_at(&mut self, probe: &mut Probe, step: usize, place: &Place) {
        let Some(text) = text_of(probe, step, place) else {
            return;
        };
        if text.contains(UNIQUE) {
            for simpler in [UNIQUE, "a"] {
                if simpler != text {
                    let candidate = with_text(probe, step, place, simpler);
                    self.take_twice(probe, candidate).await;
                }
            }
            return;
        }
        if !matches!(place, Place::Json(_) | Place::Form(_))
            && let Ok(number) = text.parse::<i128>()
            && number != 0
        {
            let zero = with_text(probe, step, place, "0");
            if self.take(probe, zero).await {
                return;
            }
            self.nearest(probe, number, |probe, number| {
                with_text(probe, step, place, &number.to_string())
            })
            .await;
            return;
        }
        let mut text: Vec<char> = text.chars().collect();
        for simplest in ["", "a", "0"] {
            let path = matches!(place, Place::Path(_));
            if text.len() > simplest.len() && !(path && simplest.is_empty()) {
                let candidate = with_text(probe, step, place, simplest);
                if self.take_twice(probe, candidate).await {
                    return;
                }
            }
        }
        let mut size = text.len() / 2;
        while size > 0 && !self.over() {
            let mut start = 0;
            while start < text.len() && text.len() > 1 {
                let mut shorter = text.clone();
                shorter.drain(start..(start + size).min(text.len()));
                let candidate = with_text(probe, step, place, &String::from_iter(&shorter));
                if !shorter.is_empty() && self.take(probe, candidate).await {
                    text = shorter;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
        if text.len() <= SHORT {
            self.plainer(probe, step, place, text).await;
        }
    }

    /// Each character made plainer: an `a`, or the first of its kind.
    async fn plainer(
        &mut self,
        probe: &mut Probe,
        step: usize,
        place: &Place,
        mut text: Vec<char>,
    ) {
        for index in 0..text.len() {
            if text[index].is_ascii_alphanumeric() || self.over() {
                continue;
            }
            let mut other = text.clone();
            other[index] = 'a';
            let candidate = with_text(probe, step, place, &String::from_iter(&other));
            if self.take(probe, candidate).await {
                text = other;
                continue;
            }
            let (mut fine, mut bad) = (u32::from('~'), u32::from(text[index]));
            while bad > fine + 1 && !self.over() {
                let middle = fine + (bad - fine) / 2;
                // Surrogates are no characters: what follows them stands for them.
                let Some(c) = char::from_u32(middle).or(char::from_u32(0xe000)) else {
                    break;
                };
                let mut other = text.clone();
                other[index] = c;
                let candidate = with_text(probe, step, place, &String::from_iter(&other));
                if u32::from(c) < bad && self.take(probe, candidate).await {
                    text = other;
                    bad = u32::from(c);
                } else {
                    fine = middle;
                }
            }
        }
    }

    async fn raw(&mut self, probe: &mut Probe, step: usize) {
        let Body::Raw { bytes, .. } = &probe.steps[step].request.body else {
            return;
        };
        // As JSON it can be made simpler member by member.
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes.0) {
            let mut candidate = probe.clone();
            candidate.steps[step].request.body = Body::Json(value);
            if self.take(probe, candidate).await {
                return;
            }
        }
        let Body::Raw {
            bytes,
            content_type,
        } = probe.steps[step].request.body.clone()
        else {
            return;
        };
        if content_type != "application/json" {
            let mut candidate = probe.clone();
            candidate.steps[step].request.body = Body::Raw {
                content_type: "application/json".to_owned(),
                bytes,
            };
            self.take(probe, candidate).await;
        }
        if text_of(probe, step, &Place::Raw).is_some() {
            return self.text_at(probe, step, &Place::Raw).await;
        }
        let Body::Raw { bytes, .. } = probe.steps[step].request.body.clone() else {
            return;
        };
        let mut rest = bytes.0.to_vec();
        let mut size = rest.len() / 2;
        while size > 0 && !self.over() {
            let mut start = 0;
            while start < rest.len() && rest.len() > 1 {
                let mut fewer = rest.clone();
                fewer.drain(start..(start + size).min(rest.len()));
                let candidate = with_bytes(probe, step, fewer.clone());
                if self.take(probe, candidate).await {
                    rest = fewer;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
    }
}

/// The probe with these steps only; `None` where one of them needs another's answer.
fn only(probe: &Probe, kept: &[usize]) -> Option<Probe> {
    if kept.len() == probe.steps.len() || kept.is_empty() {
        return None;
    }
    let mut fewer = probe.clone();
    fewer.steps = kept
        .iter()
        .map(|index| probe.steps[*index].clone())
        .collect();
    for (new, step) in fewer.steps.iter_mut().enumerate() {
        step.together &= new > 0;
        for part in step.request.parts_mut() {
            if let Part::Bound { step, .. } = part {
                *step = kept.iter().position(|old| old == step)?;
            }
        }
    }
    Some(fewer)
}

fn places(probe: &Probe, step: usize) -> Vec<Place> {
    let request = &probe.steps[step].request;
    let free = |part: &Part| !matches!(part, Part::Bound { .. });
    let path = request.path_values.iter().filter(|(_, part)| free(part));
    let mut places: Vec<Place> = path.map(|(name, _)| Place::Path(name.clone())).collect();
    let query = request.query.iter().enumerate();
    places.extend(
        query
            .filter(|(_, (_, part))| free(part))
            .map(|(i, _)| Place::Query(i)),
    );
    let headers = request.headers.iter().enumerate();
    places.extend(
        headers
            .filter(|(_, (_, part))| free(part))
            .map(|(i, _)| Place::Header(i)),
    );
    match &request.body {
        Body::Json(value) => pointers(value, String::new(), &mut places),
        Body::Form(pairs) => places.extend((0..pairs.len()).map(Place::Form)),
        Body::Raw { .. } => places.push(Place::Raw),
        Body::None => {}
    }
    places
}

fn pointers(value: &Value, at: String, places: &mut Vec<Place>) {
    places.push(Place::Json(at.clone()));
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, format!("{at}/{name}"), places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
}

fn json_at<'p>(probe: &'p Probe, step: usize, pointer: &str) -> Option<&'p Value> {
    match &probe.steps[step].request.body {
        Body::Json(value) => value.pointer(pointer),
        _ => None,
    }
}

fn with(probe: &Probe, step: usize, place: &Place, new: Value) -> Probe {
    let mut changed = probe.clone();
    if let (Body::Json(value), Place::Json(pointer)) =
        (&mut changed.steps[step].request.body, place)
        && let Some(old) = value.pointer_mut(pointer)
    {
        *old = new;
    }
    changed
}

fn with_bytes(probe: &Probe, step: usize, new: Vec<u8>) -> Probe {
    let mut changed = probe.clone();
    if let Body::Raw { bytes, .. } = &mut changed.steps[step].request.body {
        *bytes = Octets(new.into());
    }
    changed
}

fn text_of(probe: &Probe, step: usize, place: &Place) -> Option<String> {
    let request = &probe.steps[step].request;
    let part = match place {
        Place::Path(name) => request.path_values.get(name)?,
        Place::Query(index) => &request.query.get(*index)?.1,
        Place::Header(index) => &request.headers.get(*index)?.1,
        Place::Form(index) => match &request.body {
            Body::Form(pairs) => return Some(pairs.get(*index)?.1.clone()),
            _ => return None,
        },
        Place::Json(pointer) => {
            return json_at(probe, step, pointer)?.as_str().map(str::to_owned);
        }
        Place::Raw => match &request.body {
            Body::Raw { bytes, .. } => {
                return std::str::from_utf8(&bytes.0).ok().map(str::to_owned);
            }
            _ => return None,
        },
    };
    match part {
        // What is encoded in an odd way is the point, as far as anybody knows.
        Part::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn with_text(probe: &Probe, step: usize, place: &Place, text: &str) -> Probe {
    let mut changed = probe.clone();
    let request = &mut changed.steps[step].request;
    let part = match place {
        Place::Path(name) => request.path_values.get_mut(name),
        Place::Query(index) => request.query.get_mut(*index).map(|(_, part)| part),
        Place::Header(index) => request.headers.get_mut(*index).map(|(_, part)| part),
        Place::Form(index) => {
            if let Body::Form(pairs) = &mut request.body
                && let Some((_, value)) = pairs.get_mut(*index)
            {
                text.clone_into(value);
            }
            None
        }
        Place::Json(_) => return with(probe, step, place, Value::from(text)),
        Place::Raw => return with_bytes(probe, step, text.as_bytes().to_vec()),
    };
    if let Some(part) = part {
        *part = Part::text(text);
    }
    changed
}
