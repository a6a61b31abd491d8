//! What virtual users do: the workflows of a file, or a scenario written in Rust. The rest of a run is the same.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use throng_engine::{Load, RunOutcome, Scenario, StopSignals, Tick};
use throng_workflow::{
    Crowd, Environment, Overrides, Playbook, Problem, Program, ScenarioFile, YamlScenario,
};

/// A way to read the file and to run its load.
pub(crate) trait Job: Send + Sync {
    /// Reads the file called `name`.
    ///
    /// # Errors
    /// Every mistake in it.
    fn read(
        &self,
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<ScenarioFile, Vec<Problem>>;

    /// Runs the load to its end.
    fn run<'a>(
        &'a self,
        load: &'a Load,
        program: &'a Arc<Program>,
        crowd: Arc<Crowd>,
        stop: StopSignals,
        on_tick: &'a mut (dyn FnMut(&Tick<'_>) + Send),
    ) -> BoxFuture<'a, RunOutcome>;
}

/// The workflows of a scenario file.
pub(crate) struct FileJob;

impl Job for FileJob {
    fn read(
        &self,
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<ScenarioFile, Vec<Problem>> {
        ScenarioFile::load(name, overrides, environment)
    }

    fn run<'a>(
        &'a self,
        load: &'a Load,
        program: &'a Arc<Program>,
        crowd: Arc<Crowd>,
        stop: StopSignals,
        on_tick: &'a mut (dyn FnMut(&Tick<'_>) + Send),
    ) -> BoxFuture<'a, RunOutcome> {
        let scenario = Arc::new(YamlScenario::<Crowd>::new(program.clone(), load.users));
        throng_engine::run(
            load,
            scenario,
            program.catalog.clone(),
            crowd,
            stop,
            on_tick,
        )
        .boxed()
    }
}

/// A scenario written in Rust.
pub(crate) struct RustJob<S> {
    pub(crate) scenario: Arc<S>,
    pub(crate) playbook: Playbook,
}

impl<S: Scenario> Job for RustJob<S> {
    fn read(
        &self,
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<ScenarioFile, Vec<Problem>> {
        ScenarioFile::load_for(&self.playbook, name, overrides, environment)
    }

    fn run<'a>(
        &'a self,
        load: &'a Load,
        program: &'a Arc<Program>,
        crowd: Arc<Crowd>,
        stop: StopSignals,
        on_tick: &'a mut (dyn FnMut(&Tick<'_>) + Send),
    ) -> BoxFuture<'a, RunOutcome> {
        throng_engine::run(
            load,
            self.scenario.clone(),
            program.catalog.clone(),
            crowd,
            stop,
            on_tick,
        )
        .boxed()
    }
}
