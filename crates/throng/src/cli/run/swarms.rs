//! The load of a run: the user swarm, the monkeys, or both at the same time; and what the two come to together.

use std::sync::{Arc, Mutex, PoisonError};

use throng_engine::{EndedBy, Executor, Load, RunOutcome, StopSignals, Tick};
use throng_fuzz::Monkey;
use throng_metrics::{Catalog, GeneratorHealth, Tally};
use throng_workflow::Crowd;

use super::live::{Figures, LiveLine};
use super::prepare::Prepared;
use crate::cli::narrator::Narrator;

/// Who works.
pub(super) struct Swarms {
    /// Users who do what the workflows say.
    pub(super) users: Option<Arc<Crowd>>,
    pub(super) monkeys: Option<Arc<Monkey>>,
    /// The names of all of them.
    pub(super) catalog: Arc<Catalog>,
}

/// What the swarms did.
pub(super) struct Done {
    /// Of both together.
    pub(super) all: RunOutcome,
    /// Of the users alone, where there were monkeys too.
    pub(super) users: Option<Tally>,
    /// How many calls the monkeys made, where there were users too.
    pub(super) monkey_calls: Option<u64>,
}

/// Runs the load to its end.
pub(super) async fn run(
    prepared: &Prepared<'_>,
    swarms: &Swarms,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> Done {
    let load = &prepared.load;
    let monkey_load = Load {
        // Their probes are no schedule: each goes on as fast as it's answered.
        executor: Executor::ConstantVus,
        ..load.clone()
    };
    let told = Mutex::new(Told {
        narrator,
        line: LiveLine::default(),
        monkeys: None,
    });
    let told = &told;
    let users = async {
        let crowd = swarms.users.clone()?;
        let mut on_tick = |tick: &Tick<'_>| lock(told).users(tick, load);
        let run = prepared.job.run(
            load,
            &prepared.file.program,
            crowd,
            stop.clone(),
            &mut on_tick,
        );
        Some(run.await)
    };
    let monkeys = async {
        let monkey = swarms.monkeys.clone()?;
        let alone = swarms.users.is_none();
        let on_tick = |tick: &Tick<'_>| lock(told).monkeys(tick, load, alone);
        let catalog = swarms.catalog.clone();
        let run = throng_engine::run(
            &monkey_load,
            monkey,
            catalog,
            Arc::new(()),
            stop.clone(),
            on_tick,
        );
        Some(run.await)
    };
    let done = match tokio::join!(users, monkeys) {
        (Some(users), Some(monkeys)) => both(users, &monkeys, &swarms.catalog),
        (Some(all), None) | (None, Some(all)) => Done {
            all,
            users: None,
            monkey_calls: None,
        },
        (None, None) => unreachable!("every mode has somebody who works"),
    };
    lock(told).narrator.clear();
    done
}

/// What is said while they work.
struct Told<'a> {
    narrator: &'a mut Narrator,
    line: LiveLine,
    /// What the monkeys did so far, where users work, too.
    monkeys: Option<Figures>,
}

impl Told<'_> {
    fn users(&mut self, tick: &Tick<'_>, load: &Load) {
        let columns = self.narrator.columns();
        let text = self.line.text(tick, load, self.monkeys.as_ref(), columns);
        self.narrator.live(tick.elapsed, text);
    }

    fn monkeys(&mut self, tick: &Tick<'_>, load: &Load, alone: bool) {
        if alone {
            return self.users(tick, load);
        }
        // Told with the users' next tick.
        self.monkeys.get_or_insert_default().look(tick, load);
    }
}

fn lock<'a, 'b>(told: &'a Mutex<Told<'b>>) -> std::sync::MutexGuard<'a, Told<'b>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two together. They went on at the same time in one process, so that its figures are not added up.
fn both(users: RunOutcome, monkeys: &RunOutcome, catalog: &Catalog) -> Done {
    let mut tally = Tally::new(catalog);
    tally.merge(&users.tally);
    tally.merge(&monkeys.tally);
    let (of_users, of_monkeys) = (&users.generator, &monkeys.generator);
    let generator = GeneratorHealth {
        starts: of_users.starts.clone(),
        wall: of_users.wall.max(of_monkeys.wall),
        cpu: of_users.cpu.max(of_monkeys.cpu),
        cores: of_users.cores,
        peak_rss: of_users.peak_rss.max(of_monkeys.peak_rss),
        discarded: of_users.discarded + of_monkeys.discarded,
        in_flight: of_users.in_flight,
        // They share one limit, so that each has the waits of both; who ended last has them all.
        permit_wait: if of_users.wall >= of_monkeys.wall {
            of_users.permit_wait.clone()
        } else {
            of_monkeys.permit_wait.clone()
        },
    };
    let mut user_errors = users.user_errors;
    user_errors.extend(monkeys.user_errors.iter().cloned());
    let all = RunOutcome {
        tally,
        generator,
        users_started: users.users_started + monkeys.users_started,
        measured: users.measured.max(monkeys.measured),
        let_out: users.let_out.min(monkeys.let_out),
        let_in_warming_up: users.let_in_warming_up,
        discarded: users.discarded + monkeys.discarded,
        ended_by: match (users.ended_by, monkeys.ended_by) {
            (EndedBy::Finished, other) => other,
            (one, _) => one,
        },
        user_errors,
    };
    Done {
        all,
        monkey_calls: Some(monkeys.tally.calls()),
        users: Some(users.tally),
    }
}
