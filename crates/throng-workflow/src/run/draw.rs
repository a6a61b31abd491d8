//! Random choices: which workflow, which users.

use std::ops::Range;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::index;
use throng_metrics::WorkflowId;

use crate::blocks::ActorCount;

/// Things to draw by weight. The weights are whole numbers and kept exactly.
#[derive(Debug)]
pub(super) struct Deck {
    /// The running sum of the weights after each.
    ends: Vec<(u64, WorkflowId)>,
}

impl Deck {
    pub(super) fn new(mix: &[(WorkflowId, u32)]) -> Self {
        let mut sum = 0;
        let ends = mix
            .iter()
            .map(|(id, weight)| {
                sum += u64::from(*weight);
                (sum, *id)
            })
            .collect();
        Self { ends }
    }

    pub(super) fn draw(&self, rng: &mut SmallRng) -> WorkflowId {
        match self.ends.as_slice() {
            [(_, only)] => *only,
            ends => {
                let total = ends.last().map_or(1, |(sum, _)| *sum);
                let ticket = rng.random_range(0..total);
                ends[ends.partition_point(|(sum, _)| *sum <= ticket)].1
            }
        }
    }
}

/// Which of several, by weight.
pub(super) fn weighted<T>(choices: &[(u32, T)], rng: &mut SmallRng) -> usize {
    let total: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let mut ticket = rng.random_range(0..total.max(1));
    choices
        .iter()
        .position(|(weight, _)| {
            let here = ticket < u64::from(*weight);
            ticket = ticket.saturating_sub(u64::from(*weight));
            here
        })
        .unwrap_or(0)
}

/// The users of an execution, all distinct, and which of them each actor is. The first is the virtual user. There must be
/// enough users for the actors.
pub(crate) fn participants(
    actors: &[ActorCount],
    user: u32,
    users: u32,
    rng: &mut SmallRng,
) -> (Vec<u32>, Vec<Range<usize>>) {
    let needed: u32 = actors.iter().map(|actor| actor.minimum()).sum();
    // What is beyond the minimum goes to the groups in their order.
    let mut spare = users.saturating_sub(needed);
    let mut start = 0;
    let groups: Vec<Range<usize>> = actors
        .iter()
        .map(|actor| {
            let extra = match actor {
                ActorCount::One => 0,
                ActorCount::Between { min, max } => spare.min(max - min),
                ActorCount::Rest => spare,
            };
            spare -= extra;
            let end = start + (actor.minimum() + extra) as usize;
            let range = start..end;
            start = end;
            range
        })
        .collect();
    let others = index::sample(
        rng,
        users.saturating_sub(1) as usize,
        start.saturating_sub(1),
    );
    // Numbers from the virtual user's on are shifted by one, so that it is never drawn.
    let others = others
        .into_iter()
        .map(|other| other as u32 + u32::from(other as u32 >= user));
    (std::iter::once(user).chain(others).collect(), groups)
}
