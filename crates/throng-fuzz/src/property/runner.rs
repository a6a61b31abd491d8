//! The loop: what was kept, then what is generated, then shrinking what failed.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use proptest::strategy::{Strategy, ValueTree};
use serde_json::Value;

use super::{Alike, Counterexample, Outcome, Settings, Tried, Verdict};
use crate::value::{Values, runner};

/// How often the smallest example is tried again at the end.
const REPEATS: u32 = 5;
/// How many failures that can be told apart are shrunk.
const MOST_FAILURES: usize = 5;
/// How often an example is tried while shrinking one that does not fail each time: what fails once in so many counts.
const TRIES_IF_FLAKY: u32 = 6;

/// Tries a property on its examples: those that were kept and, if none of them fails any more, generated ones. Of each failure
/// that can be told apart, the earliest example is shrunk.
///
/// The same seed gives the same examples in the same order, however many are tried at once. The future holds trees of proptest
/// and can't be sent to another thread.
pub async fn check<E, F, T>(values: &Values, settings: &Settings, attempt: F) -> Outcome<E>
where
    E: Alike,
    F: Fn(Value) -> T,
    T: Future<Output = Tried<E>>,
{
    let started = Instant::now();
    let mut run = Run {
        settings,
        attempt,
        tried: 0,
        accepted: 0,
        refusals: BTreeMap::new(),
    };
    let verdict = run.verdict(values).await;
    let mut refusals: Vec<(String, u32)> = run.refusals.into_iter().collect();
    refusals.sort_by(|(one, often), (other, rarely)| rarely.cmp(often).then(one.cmp(other)));
    Outcome {
        verdict,
        tried: run.tried,
        accepted: run.accepted,
        refusals,
        took: started.elapsed(),
    }
}

struct Run<'a, F> {
    settings: &'a Settings,
    attempt: F,
    tried: u32,
    accepted: u32,
    refusals: BTreeMap<String, u32>,
}

type Tree = Box<dyn ValueTree<Value = Value>>;

/// An example that failed, and the means to shrink it.
struct Broken<E> {
    tree: Tree,
    case: u32,
    failure: E,
}

impl<F> Run<'_, F> {
    async fn verdict<E, T>(&mut self, values: &Values) -> Verdict<E>
    where
        E: Alike,
        F: Fn(Value) -> T,
        T: Future<Output = Tried<E>>,
    {
        let mut found: Vec<Counterexample<E>> = Vec::new();
        for example in &self.settings.kept {
            match (self.attempt)(example.clone()).await {
                // It is as small as it gets: it was shrunk when it was kept.
                Tried::Failed(failure)
                    if !found.iter().any(|known| known.failure.alike(&failure)) =>
                {
                    let failed = Failing {
                        failure,
                        case: None,
                        shrinks: 0,
                    };
                    found.push(self.repeat(example.clone(), example.clone(), failed).await);
                }
                Tried::Stopped => return Verdict::Stopped,
                _ => {}
            }
        }
        if !found.is_empty() {
            return Verdict::Failed(found);
        }
        match self.generate(values).await {
            Generated::Through => {
                let least = self.settings.min_accepted * f64::from(self.tried);
                if self.tried == 0 || f64::from(self.accepted) < least {
                    Verdict::Vacuous
                } else {
                    Verdict::Passed
                }
            }
            Generated::Failed(broken) => {
                for broken in broken {
                    found.push(self.shrink(broken).await);
                }
                Verdict::Failed(found)
            }
            Generated::NoExamples(reason) => Verdict::NoExamples(reason),
            Generated::Stopped => Verdict::Stopped,
        }
    }

    async fn generate<E, T>(&mut self, values: &Values) -> Generated<E>
    where
        E: Alike,
        F: Fn(Value) -> T,
        T: Future<Output = Tried<E>>,
    {
        let attempt = &self.attempt;
        let mut trees: BTreeMap<u32, Tree> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        let mut next = 0;
        let mut failed: Vec<Broken<E>> = Vec::new();
        let mut stopped = false;
        loop {
            let more = !stopped && next < self.settings.cases;
            if more && running.len() < self.settings.concurrency.max(1) {
                // A source of its own for each: example 17 is the same whoever was refused before.
                let tree = match values.new_tree(&mut runner(self.settings.seed, u64::from(next))) {
                    Ok(tree) => tree,
                    Err(reason) => return Generated::NoExamples(reason.message().to_owned()),
                };
                let (case, example) = (next, tree.current());
                trees.insert(case, tree);
                running.push(async move { (case, attempt(example).await) });
                next += 1;
                continue;
            }
            let Some((case, tried)) = running.next().await else {
                break;
            };
            let tree = trees.remove(&case);
            match tried {
                Tried::Accepted => self.accepted += 1,
                Tried::Refused(reason) => *self.refusals.entry(reason).or_default() += 1,
                Tried::Stopped => {
                    stopped = true;
                    continue;
                }
                Tried::Failed(failure) => {
                    let broken = tree.map(|tree| Broken {
                        tree,
                        case,
                        failure,
                    });
                    note(&mut failed, broken);
                }
            }
            self.tried += 1;
        }
        // What somebody stopped may have failed before.
        match failed.is_empty() {
            false => {
                failed.sort_by_key(|broken| broken.case);
                failed.truncate(MOST_FAILURES);
                Generated::Failed(failed)
            }
            true if stopped => Generated::Stopped,
            true => Generated::Through,
        }
    }

    /// Tries ever smaller examples, and keeps to those that fail.
    async fn shrink<E, T>(&self, broken: Broken<E>) -> Counterexample<E>
    where
        E: Alike,
        F: Fn(Value) -> T,
        T: Future<Output = Tried<E>>,
    {
        let Broken {
            mut tree,
            case,
            failure,
        } = broken;
        let first = tree.current();
        let mut smallest = first.clone();
        let mut failed = Failing {
            failure,
            case: Some(case),
            shrinks: 0,
        };
        let began = Instant::now();
        // What needs luck to fail is tried more than once, or shrinking would go astray at the first that is lucky.
        let tries = match (self.attempt)(first.clone()).await {
            Tried::Failed(_) => 1,
            Tried::Stopped => return self.repeat(smallest, first, failed).await,
            Tried::Accepted | Tried::Refused(_) => TRIES_IF_FLAKY,
        };
        let mut goes_on = tree.simplify();
        while goes_on
            && failed.shrinks < self.settings.shrinks
            && began.elapsed() < self.settings.shrink_time
        {
            let example = tree.current();
            if example == smallest {
                goes_on = tree.simplify();
                continue;
            }
            failed.shrinks += 1;
            match self.any_failure(&example, tries).await {
                Tried::Failed(failure) if failure.alike(&failed.failure) => {
                    failed.failure = failure;
                    smallest = example;
                    goes_on = tree.simplify();
                }
                Tried::Stopped => break,
                _ => goes_on = tree.complicate(),
            }
        }
        self.repeat(smallest, first, failed).await
    }

    async fn any_failure<E, T>(&self, example: &Value, tries: u32) -> Tried<E>
    where
        E: Alike,
        F: Fn(Value) -> T,
        T: Future<Output = Tried<E>>,
    {
        let mut last = Tried::Accepted;
        for _ in 0..tries {
            last = (self.attempt)(example.clone()).await;
            if matches!(last, Tried::Failed(_) | Tried::Stopped) {
                break;
            }
        }
        last
    }

    /// Tries the smallest again, so that it's known how reliably it fails.
    async fn repeat<E, T>(
        &self,
        example: Value,
        first: Value,
        failed: Failing<E>,
    ) -> Counterexample<E>
    where
        E: Alike,
        F: Fn(Value) -> T,
        T: Future<Output = Tried<E>>,
    {
        let (mut repeated, mut repeated_of) = (0, 0);
        for _ in 0..REPEATS {
            match (self.attempt)(example.clone()).await {
                Tried::Failed(failure) if failure.alike(&failed.failure) => repeated += 1,
                Tried::Stopped => break,
                _ => {}
            }
            repeated_of += 1;
        }
        Counterexample {
            example,
            first,
            failure: failed.failure,
            case: failed.case,
            shrinks: failed.shrinks,
            repeated_of,
            repeated,
        }
    }
}

struct Failing<E> {
    failure: E,
    case: Option<u32>,
    shrinks: u32,
}

enum Generated<E> {
    Through,
    Failed(Vec<Broken<E>>),
    NoExamples(String),
    Stopped,
}

/// Keeps the earliest example of each failure that can be told apart.
fn note<E: Alike>(failed: &mut Vec<Broken<E>>, broken: Option<Broken<E>>) {
    let Some(broken) = broken else { return };
    match failed
        .iter_mut()
        .find(|known| known.failure.alike(&broken.failure))
    {
        None => failed.push(broken),
        Some(known) if broken.case < known.case => *known = broken,
        Some(_) => {}
    }
}
