//! Random choices: which workflow, which users.

use std::ops::Range;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::index;
use throng_metrics::WorkflowId;

use super::failure::Halt;
use crate::blocks::ActorCount;
use crate::program::Workflow;

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

/// The users of an execution, all distinct, and which of them each actor is. The first is the virtual user.
pub(super) fn participants(
    workflow: &Workflow,
    user: u32,
    users: u32,
    rng: &mut SmallRng,
) -> Result<(Vec<u32>, Vec<Range<usize>>), Halt> {
    let needed = workflow.minimum_users();
    if users < needed {
        return Err(Halt::TooFewUsers {
            workflow: workflow.name.clone(),
            needed,
            found: users,
        });
    }
    // What is beyond the minimum goes to the groups in their order.
    let mut spare = users - needed;
    let mut start = 0;
    let groups: Vec<Range<usize>> = workflow
        .actors
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
    let others = index::sample(rng, users as usize - 1, start.saturating_sub(1));
    let participants = std::iter::once(user)
        .chain(others.into_iter().map(|other| {
            if other as u32 >= user {
                other as u32 + 1
            } else {
                other as u32
            }
        }))
        .collect();
    Ok((participants, groups))
}
