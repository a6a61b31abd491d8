//! What is the same trouble: the same check on the same operation with the same status and message.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{
    check::{Check, Violation},
    probe::{Probe, Trace},
};

/// So many groups are kept; more are only counted.
const MOST: usize = 500;
/// Messages of one check on one operation with one status: beyond so many they are taken to be one.
const MOST_MESSAGES: usize = 3;
/// So many probes of a group are kept, the smallest ones.
const KEPT: usize = 3;

/// All that was seen under load.
#[derive(Debug)]
pub(crate) struct Groups {
    /// When looking began.
    since: Instant,
    pub(crate) groups: BTreeMap<Key, Group>,
    /// Violations in groups that were not kept.
    pub(crate) beyond: u64,
}

/// What makes a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) check: Check,
    /// The operation's name; where there is none, method and path.
    pub(crate) operation: String,
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
}

/// What was seen of one kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) count: u64,
    /// How long after the swarm's start it was seen first.
    pub(crate) first_seen: Duration,
    /// The smallest probes that showed it, smallest first; of equal ones the earliest.
    pub(crate) probes: Vec<Probe>,
}

impl Key {
    /// The key of a violation.
    pub(crate) fn of(probe: &Probe, trace: &Trace, violation: &Violation) -> Self {
        let request = &probe.steps[violation.step].request;
        let answer = trace.answers.get(violation.step).and_then(Option::as_ref);
        Self {
            check: violation.check,
            operation: request
                .operation
                .clone()
                .unwrap_or_else(|| format!("{} {}", request.method, request.path)),
            status: answer.and_then(crate::Answer::status),
            message: violation.message.clone(),
        }
    }

    /// Whether two are the same but for the message.
    pub(crate) fn alike(&self, other: &Self) -> bool {
        let message = self.check != Check::MassAssignment || self.message == other.message;
        message
            && self.check == other.check
            && self.operation == other.operation
            && self.status == other.status
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            groups: BTreeMap::new(),
            beyond: 0,
        }
    }
}

impl Groups {
    /// Adds what was seen.
    pub(crate) fn add(&mut self, probe: &Probe, trace: &Trace, violation: &Violation) {
        let mut key = Key::of(probe, trace, violation);
        if !self.groups.contains_key(&key) {
            let mut alike = self.groups.keys().filter(|known| known.alike(&key));
            let first = alike.next().cloned();
            let enough = alike.count() + 1 >= MOST_MESSAGES;
            match first {
                Some(first) if enough => key = first,
                _ if self.groups.len() >= MOST => {
                    self.beyond += 1;
                    return;
                }
                _ => {}
            }
        }
        let after = self.since.elapsed();
        let group = self.groups.entry(key).or_insert_with(|| Group {
            first_seen: after,
            ..Group::default()
        });
        group.count += 1;
        let size = |probe: &Probe| {
            let weight: usize = probe.steps.iter().map(|step| step.request.weight()).sum();
            (probe.steps.len(), weight, probe.number)
        };
        let position = group
            .probes
            .partition_point(|kept| size(kept) <= size(probe));
        if position < KEPT {
            let mut probe = probe.clone();
            // What else was tried was not believed, or not because of it.
            if let Some(member) = &violation.member {
                probe.watched = vec![member.clone()];
            }
            group.probes.insert(position, probe);
            group.probes.truncate(KEPT);
        }
    }
}
