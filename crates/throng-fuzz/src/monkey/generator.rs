//! Probes made ahead, on a thread of their own: what is random costs the measured path nothing.

use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    draw::Draw,
    openapi::Document,
    probe::{Probe, Relations, Singles},
};

/// So many probes wait ready.
const AHEAD: usize = 256;
/// After the first round, one of so many probes is one that follows from the document again.
const RELATION_EVERY: u64 = 6;

/// What probes are made of.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) document: Arc<Document>,
    pub(super) relations: Relations,
    /// Those that follow from the document.
    pub(super) related: Vec<Probe>,
    pub(super) users: usize,
    pub(super) seed: u64,
    pub(super) probes: Option<u64>,
}

impl Recipe {
    /// Starts the thread. It ends when nobody takes its probes any more, or when there are enough.
    pub(super) fn start(self) -> std::io::Result<Receiver<Probe>> {
        let (sender, receiver) = channel(AHEAD);
        std::thread::Builder::new()
            .name("monkey generator".to_owned())
            .spawn(move || self.generate(&sender))?;
        Ok(receiver)
    }

    fn generate(&self, sender: &Sender<Probe>) {
        let mut singles = Singles::new(&self.document, &self.relations);
        for number in 0..self.probes.unwrap_or(u64::MAX) {
            let Some(probe) = self.probe(&mut singles, number) else {
                continue;
            };
            if sender.blocking_send(probe).is_err() {
                break;
            }
        }
        for note in singles.notes {
            tracing::debug!("{note}");
        }
    }

    /// The probe of that number: it depends on the seed and nothing else.
    fn probe(&self, singles: &mut Singles, number: u64) -> Option<Probe> {
        let related = u64::try_from(self.related.len()).unwrap_or(u64::MAX);
        let turn = if number < related {
            Some(number)
        } else if related > 0 && number.is_multiple_of(RELATION_EVERY) {
            Some(number / RELATION_EVERY % related)
        } else {
            None
        };
        match turn {
            Some(turn) => {
                let index = usize::try_from(turn).ok()?;
                let mut probe = self.related.get(index)?.clone();
                probe.number = number;
                Some(probe)
            }
            None => {
                let mut draw = Draw::new(self.seed, number);
                singles.probe(
                    &self.document,
                    &self.relations,
                    self.users,
                    number,
                    &mut draw,
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recipe(seed: u64) -> Recipe {
        let text = json!({ "type": "string" });
        let thing = json!({ "type": "object", "required": ["id"], "properties": { "id": text, "name": text } });
        let content =
            |schema: &serde_json::Value| json!({ "application/json": { "schema": schema } });
        let ok = json!({ "200": { "description": "ok", "content": content(&thing) } });
        let source = json!({
            "openapi": "3.1.0",
            "paths": {
                "/things": {
                    "get": { "responses": ok },
                    "post": { "requestBody": { "content": content(&thing) }, "responses": ok },
                },
                "/things/{id}": { "get": { "responses": ok }, "delete": { "responses": { "204": {} } } },
            },
        });
        let document = Document::load(source.to_string().as_bytes(), "").expect("a document");
        let relations = Relations::of(&document, None, &["DELETE /things/{id}".to_owned()]);
        Recipe {
            related: relations.probes(&document, 2, &|_| false),
            document: Arc::new(document),
            relations,
            users: 2,
            seed,
            probes: None,
        }
    }

    fn made(recipe: &Recipe, numbers: std::ops::Range<u64>) -> Vec<Probe> {
        let mut singles = Singles::new(&recipe.document, &recipe.relations);
        let made = numbers.filter_map(|number| recipe.probe(&mut singles, number));
        made.collect()
    }

    #[test]
    fn a_probe_depends_on_seed_and_number_alone() {
        let (one, same, other) = (recipe(1), recipe(1), recipe(2));
        let all = made(&one, 0..200);
        assert_eq!(all.len(), 200);
        assert_eq!(all[120..130], made(&same, 120..130));
        assert_ne!(all[120..130], made(&other, 120..130));
        let skipped = |probe: &Probe| {
            probe
                .steps
                .iter()
                .any(|step| step.request.method == "DELETE" && step.request.operation.is_some())
        };
        assert!(!all.iter().any(skipped));
    }

    #[test]
    fn probes_are_ready_before_anybody_asks_for_one() {
        let mut ready = recipe(1).start().expect("a thread");
        // Nobody has taken any: what fills the queue is another thread, and it stops where nobody takes them.
        while ready.len() < AHEAD {
            std::thread::yield_now();
        }
        assert_eq!(ready.blocking_recv().expect("a probe").number, 0);
    }
}
