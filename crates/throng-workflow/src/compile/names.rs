//! Which names are known at a place of a workflow, and what they stand for.
//!
//! A variable is known after the step that saves it, in its own scope and those inside. Branches of `parallel` do not see
//! each other's; after the join all are known. What is saved inside `for_each` stays inside, except properties of actors.

use std::collections::{BTreeMap, BTreeSet};

use crate::blocks::{Actor, Block};
use crate::decode::At;
use crate::model::Workflow;
use crate::problem::{Mark, Problems, suggest};
use crate::program::{ActorField, ActorRef, SaveTarget, Source};
use crate::template::{Placeholder, is_name};

/// Names that always have a value.
const BUILT_IN: [(&str, Source); 3] = [
    ("uid", Source::Uid),
    ("run", Source::Run),
    ("iteration", Source::Iteration),
];

/// What is known of every actor.
const FIELDS: [(&str, ActorField); 3] = [
    ("name", ActorField::Name),
    ("display_name", ActorField::DisplayName),
    ("email", ActorField::Email),
];

/// The names at one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Visible {
    /// Variables: scope level (0 is the root) and slot.
    variables: BTreeMap<String, (usize, usize)>,
    /// Properties: index of the actor or group, and name.
    properties: BTreeSet<(usize, String)>,
    /// The loops around this place, outermost first: name of the user, and index of the group.
    loops: Vec<(String, usize)>,
}

impl Visible {
    /// Adds what is known at the end of another branch.
    pub(super) fn merge(&mut self, branch: Visible) {
        let level = self.loops.len();
        self.variables.extend(
            branch
                .variables
                .into_iter()
                .filter(|(_, (at, _))| *at <= level),
        );
        self.properties.extend(branch.properties);
    }

    /// What a branch saved that was not known before, for finding two branches that save the same.
    pub(super) fn new_since(&self, before: &Visible) -> Vec<String> {
        self.variables
            .keys()
            .filter(|name| !before.variables.contains_key(*name))
            .cloned()
            .collect()
    }
}

/// The names of one workflow.
#[derive(Debug)]
pub(super) struct Names {
    actors: Vec<Actor>,
    /// Slots by scope, outermost first; inner ones come and go.
    scopes: Vec<Vec<String>>,
    properties: Vec<String>,
    lists: Vec<String>,
    /// What the login's requests saved for each actor.
    login: Vec<String>,
    /// Everything that is saved anywhere, and by which step, for advice.
    saved: Vec<(String, String, u32)>,
    /// Whether a part of the workflow could not be read: what is not known here may be saved there.
    incomplete: bool,
}

impl Names {
    pub(super) fn new(workflow: &Workflow, login: Vec<String>, incomplete: bool) -> Self {
        let mut names = Self {
            actors: workflow.actors.clone(),
            scopes: vec![Vec::new()],
            properties: Vec::new(),
            lists: Vec::new(),
            login,
            saved: Vec::new(),
            incomplete,
        };
        names.survey(&workflow.steps);
        names.survey(&workflow.finally);
        names
    }

    /// Collects lists and everything that is saved.
    fn survey(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Step { name, step } => {
                    for (key, _) in &step.save.0 {
                        self.saved
                            .push((key.value.clone(), name.value.clone(), key.mark.line));
                    }
                    for (list, _) in &step.append_to.0 {
                        if is_name(list) && !self.lists.contains(&list.value) {
                            self.lists.push(list.value.clone());
                        }
                    }
                    self.survey(&step.or_else);
                }
                Block::ForEach(each) => self.survey(&each.steps),
                Block::Parallel(parallel) => self.survey(&parallel.branches),
                Block::OneOf(one_of) => {
                    one_of
                        .choices
                        .iter()
                        .for_each(|choice| self.survey(&choice.steps));
                }
                Block::Sequence(sequence) => self.survey(&sequence.steps),
                Block::Pause(_) => {}
            }
        }
    }

    /// How many properties each participant has.
    pub(super) fn property_count(&self) -> usize {
        self.properties.len()
    }

    /// How many lists there are.
    pub(super) fn list_count(&self) -> usize {
        self.lists.len()
    }

    /// Opens the scope of a `for_each`.
    pub(super) fn open(&mut self) {
        self.scopes.push(Vec::new());
    }

    /// Closes the innermost scope; returns how many values it had.
    pub(super) fn close(&mut self) -> usize {
        self.scopes.pop().map_or(0, |scope| scope.len())
    }

    /// How many values the root scope has.
    pub(super) fn root_size(&self) -> usize {
        self.scopes[0].len()
    }

    /// The names as they are inside a loop over `group`.
    pub(super) fn enter(
        &self,
        visible: &Visible,
        user: &At<String>,
        group: usize,
        problems: &mut Problems,
    ) -> Visible {
        if !is_name(user) {
            problems.add(user.mark, format!("`{}` cannot be a name", user.value));
        } else if self
            .actors
            .iter()
            .any(|actor| actor.name.value == user.value)
            || visible.loops.iter().any(|(name, _)| *name == user.value)
        {
            problems.add(
                user.mark,
                format!("`{}` is the name of another actor", user.value),
            );
        }
        let mut inner = visible.clone();
        inner.loops.push((user.value.clone(), group));
        inner
    }

    /// The index of a group.
    pub(super) fn group(&self, name: &At<String>, problems: &mut Problems) -> usize {
        let groups: Vec<&str> = self
            .actors
            .iter()
            .filter(|actor| actor.count.is_group())
            .map(|actor| actor.name.value.as_str())
            .collect();
        match self
            .actors
            .iter()
            .position(|actor| actor.name.value == name.value)
        {
            Some(index) if self.actors[index].count.is_group() => return index,
            Some(_) => problems.add_with_help(
                name.mark,
                format!("`{}` is one actor, not a group", name.value),
                format!("make it a group: `actors: [..., {{ {}: 2 }}]`", name.value),
            ),
            None if self.actors.is_empty() => {}
            None => problems.unknown(name.mark, "group", name, groups),
        }
        0
    }

    /// The actor with this name, and the index of the actor or group that it belongs to.
    fn find_actor(&self, name: &str, visible: &Visible) -> Option<(ActorRef, usize)> {
        if let Some(level) = visible.loops.iter().rposition(|(user, _)| user == name) {
            return Some((
                ActorRef::Loop(visible.loops.len() - 1 - level),
                visible.loops[level].1,
            ));
        }
        let index = self
            .actors
            .iter()
            .position(|actor| actor.name.value == name)?;
        (!self.actors[index].count.is_group()).then_some((ActorRef::One(index), index))
    }

    fn actor_names<'a>(&'a self, visible: &'a Visible) -> Vec<&'a str> {
        let single = self.actors.iter().filter(|actor| !actor.count.is_group());
        let loops = visible.loops.iter().map(|(name, _)| name.as_str());
        single
            .map(|actor| actor.name.value.as_str())
            .chain(loops)
            .collect()
    }

    /// Who does a step.
    pub(super) fn actor(
        &self,
        name: Option<&At<String>>,
        step: &At<String>,
        visible: &Visible,
        problems: &mut Problems,
    ) -> ActorRef {
        let Some(name) = name else {
            let known = self.actor_names(visible);
            if known.len() != 1 && !self.actors.is_empty() {
                let help = format!("write `as: {}`", known.first().unwrap_or(&"..."));
                problems.add_with_help(
                    step.mark,
                    format!("`{}` does not say who does it", step.value),
                    help,
                );
            }
            return self
                .find_actor(known.first().unwrap_or(&""), visible)
                .map_or(ActorRef::One(0), |(actor, _)| actor);
        };
        match self.find_actor(name, visible) {
            Some((actor, _)) => actor,
            None => {
                self.report_actor(name, name.mark, visible, problems);
                ActorRef::One(0)
            }
        }
    }

    /// What an actor is called at this place. Empty where the file has a mistake.
    pub(super) fn name_of(&self, actor: ActorRef, visible: &Visible) -> String {
        let name = match actor {
            ActorRef::One(index) => self.actors.get(index).map(|actor| &actor.name.value),
            ActorRef::Loop(up) => visible.loops.iter().rev().nth(up).map(|(name, _)| name),
        };
        name.cloned().unwrap_or_default()
    }

    fn report_actor(&self, name: &str, mark: Mark, visible: &Visible, problems: &mut Problems) {
        if self.actors.iter().any(|actor| actor.name.value == name) {
            problems.add_with_help(
                mark,
                format!("`{name}` is a group, not one actor"),
                format!("put it into `for_each: one` with `in: {name}`, and say `one` here"),
            );
        } else if !self.actors.is_empty() {
            // Where there are none at all, that is the mistake, and was said once.
            problems.unknown(mark, "actor", name, self.actor_names(visible));
        }
    }

    /// Where the value of a placeholder comes from.
    pub(super) fn source(
        &mut self,
        placeholder: &Placeholder,
        visible: &Visible,
        problems: &mut Problems,
    ) -> Source {
        match placeholder.words.as_slice() {
            [name] => self.variable(name, placeholder.mark, visible, problems),
            [actor, field] => self.actor_field(actor, field, placeholder.mark, visible, problems),
            _ => Source::Uid,
        }
    }

    fn variable(
        &self,
        name: &str,
        mark: Mark,
        visible: &Visible,
        problems: &mut Problems,
    ) -> Source {
        if let Some((_, source)) = BUILT_IN.iter().find(|(word, _)| *word == name) {
            return source.clone();
        }
        if let Some((level, slot)) = visible.variables.get(name) {
            return Source::Variable {
                up: visible.loops.len() - level,
                slot: *slot,
            };
        }
        if let Some(list) = self.lists.iter().position(|list| list == name) {
            return Source::List(list);
        }
        if let Some(actor) = self
            .actors
            .iter()
            .map(|a| &a.name.value)
            .chain(visible.loops.iter().map(|l| &l.0))
            .find(|a| *a == name)
        {
            problems.add_with_help(
                mark,
                format!("`{name}` is an actor"),
                format!("say `{{{actor}.name}}`"),
            );
        } else if let Some((_, step, line)) = self.saved.iter().find(|(saved, ..)| saved == name) {
            problems.add_with_help(
                mark,
                format!("`{{{name}}}` is used where it is not saved yet"),
                format!(
                    "`{step}` (line {line}) saves it: a variable is known after its step, not in other branches of \
                     `parallel`, and not outside of its `for_each`"
                ),
            );
        } else if !self.incomplete {
            let known: Vec<&str> = visible
                .variables
                .keys()
                .map(String::as_str)
                .chain(self.lists.iter().map(String::as_str))
                .chain(BUILT_IN.iter().map(|(word, _)| *word))
                .collect();
            problems.add_with_help(
                mark,
                format!("unknown variable `{{{name}}}`"),
                suggest(name, &known),
            );
        }
        Source::Uid
    }

    fn actor_field(
        &mut self,
        actor: &str,
        field: &str,
        mark: Mark,
        visible: &Visible,
        problems: &mut Problems,
    ) -> Source {
        let Some((reference, index)) = self.find_actor(actor, visible) else {
            self.report_actor(actor, mark, visible, problems);
            return Source::Uid;
        };
        if let Some((_, known)) = FIELDS.iter().find(|(word, _)| *word == field) {
            return Source::Actor(reference, *known);
        }
        if let Some(at) = self.login.iter().position(|name| name == field) {
            return Source::Actor(reference, ActorField::Saved(at));
        }
        if visible.properties.contains(&(index, field.to_owned())) {
            return Source::Property(reference, self.property(field));
        }
        let full = format!("{actor}.{field}");
        if let Some((_, step, line)) = self.saved.iter().find(|(saved, ..)| *saved == full) {
            problems.add_with_help(
                mark,
                format!("`{{{full}}}` is used where it is not saved yet"),
                format!("`{step}` (line {line}) saves it"),
            );
        } else if !self.incomplete {
            let known: Vec<&str> = FIELDS
                .iter()
                .map(|(word, _)| *word)
                .chain(self.login.iter().map(String::as_str))
                .chain(
                    visible
                        .properties
                        .iter()
                        .filter(|(at, _)| *at == index)
                        .map(|(_, name)| name.as_str()),
                )
                .collect();
            problems.add_with_help(
                mark,
                format!("`{actor}` has no `{field}`"),
                suggest(field, &known),
            );
        }
        Source::Uid
    }

    fn property(&mut self, name: &str) -> usize {
        self.properties
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                self.properties.push(name.to_owned());
                self.properties.len() - 1
            })
    }

    /// Where a saved value goes; it is known from here on.
    pub(super) fn save(
        &mut self,
        name: &At<String>,
        visible: &mut Visible,
        problems: &mut Problems,
    ) -> SaveTarget {
        let nowhere = SaveTarget::Variable { up: 0, slot: 0 };
        if let Some((actor, field)) = name.split_once('.') {
            let Some((reference, index)) = self.find_actor(actor, visible) else {
                self.report_actor(actor, name.mark, visible, problems);
                return nowhere;
            };
            let taken = FIELDS.iter().any(|(word, _)| *word == field)
                || self.login.iter().any(|saved| saved == field);
            if !is_name(field) || taken {
                problems.add(
                    name.mark,
                    format!("`{field}` cannot be saved for an actor: choose another name"),
                );
                return nowhere;
            }
            visible.properties.insert((index, field.to_owned()));
            return SaveTarget::Property(reference, self.property(field));
        }
        let taken = BUILT_IN.iter().any(|(word, _)| *word == name.value)
            || self.lists.contains(&name.value)
            || self
                .actors
                .iter()
                .any(|actor| actor.name.value == name.value)
            || visible.loops.iter().any(|(user, _)| *user == name.value);
        if !is_name(name) || taken {
            let why = if taken {
                "it means something else already"
            } else {
                "it is not a name"
            };
            problems.add(
                name.mark,
                format!("`{}` cannot be a variable: {why}", name.value),
            );
            return nowhere;
        }
        let level = visible.loops.len();
        if visible
            .variables
            .get(&name.value)
            .is_some_and(|(at, _)| *at < level)
        {
            problems.add_with_help(
                name.mark,
                format!("`{}` was saved outside of this `for_each`", name.value),
                format!(
                    "choose another name, or save it for the actor: `{}.{}`",
                    visible.loops.last().map_or("actor", |(user, _)| user),
                    name.value
                ),
            );
            return nowhere;
        }
        let scope = &mut self.scopes[level];
        let slot = scope
            .iter()
            .position(|known| *known == name.value)
            .unwrap_or_else(|| {
                scope.push(name.value.clone());
                scope.len() - 1
            });
        visible.variables.insert(name.value.clone(), (level, slot));
        SaveTarget::Variable { up: 0, slot }
    }

    /// The index of a list.
    pub(super) fn list(
        &self,
        name: &At<String>,
        visible: &Visible,
        problems: &mut Problems,
    ) -> usize {
        let taken = BUILT_IN.iter().any(|(word, _)| *word == name.value)
            || self
                .actors
                .iter()
                .any(|actor| actor.name.value == name.value)
            || visible.variables.contains_key(&name.value);
        if taken || !is_name(name) {
            problems.add(
                name.mark,
                format!("`{}` cannot be the name of a list", name.value),
            );
        }
        self.lists
            .iter()
            .position(|list| *list == name.value)
            .unwrap_or(0)
    }
}
