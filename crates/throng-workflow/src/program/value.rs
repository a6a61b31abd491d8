//! Values: where they come from, how they are put into what is sent, and where those of an answer go.

use bytes::Bytes;
use http::HeaderName;
use regex::Regex;

use crate::path::Path;
use crate::template::Filter;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorRef {
    /// The actor with this index.
    One(usize),
    /// The user of the loop this many scopes out.
    Loop(usize),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A text that is unique to this execution.
    Uid,
    /// What is unique to this run.
    Run,
    /// The number of this execution, among those of its virtual user.
    Iteration,
    /// What is known of an actor from the start.
    Actor(ActorRef, ActorField),
    /// What a step saved for an actor.
    Property(ActorRef, usize),
    /// What a step saved.
    Variable {
        /// How many scopes out.
        up: usize,
        /// Which value there.
        slot: usize,
    },
    /// A list.
    List(usize),
}

/// What is known of an actor from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorField {
    /// Its login name.
    Name,
    /// Its display name.
    DisplayName,
    /// Its mail address.
    Email,
    /// What the login's requests saved: index among the names of [`crate::accounts::Login::saved`].
    Saved(usize),
}

/// A text or a JSON value cut into what is fixed and what is put in.
#[derive(Clone, Debug, Default)]
pub struct Pieces(pub Vec<Piece>);

/// A part of it.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Fixed.
    Fixed(Box<str>),
    /// Fixed, and no text.
    Raw(Bytes),
    /// A value.
    Value {
        /// Where it comes from.
        source: Source,
        /// What is done with it.
        filter: Filter,
        /// How it is put in.
        form: Form,
        /// Its name, for messages.
        name: Box<str>,
    },
}

/// How a value is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As JSON of its own type.
    Json,
    /// As text inside a JSON string: escaped.
    InString,
    /// As text.
    Text,
    /// As text, percent-encoded.
    Percent,
    /// As text, encoded for a form.
    Urlencoded,
    /// As text, encoded for the head of a multipart part.
    Quoted,
}

impl Pieces {
    /// As it stands in the file, about: what is put in by its name.
    pub fn template(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Fixed(text) => text.to_string(),
                Piece::Raw(_) => "...".to_owned(),
                Piece::Value { name, .. } => format!("{{{name}}}"),
            })
            .collect()
    }

    /// The text, when nothing is put in.
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Fixed(text)] => Some(text),
            _ => None,
        }
    }
}

/// A path and where its placeholders come from, in their order.
#[derive(Clone, Debug)]
pub struct PathProgram {
    /// The path.
    pub path: Path,
    /// The sources.
    pub sources: Vec<Source>,
}

/// A value to keep.
#[derive(Clone, Debug)]
pub struct Save {
    /// Its name, for messages.
    pub name: String,
    /// Where it is in the result.
    pub from: SaveFrom,
    /// Where it goes.
    pub target: SaveTarget,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum SaveFrom {
    /// A path of the result.
    Path(PathProgram),
    /// A header.
    Header(HeaderName),
    /// The first group of a match in the body.
    Regex(Regex),
    /// A cookie, by its place in [`super::Request::cookies`].
    Cookie(usize, String),
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveTarget {
    /// To a variable.
    Variable {
        /// How many scopes out.
        up: usize,
        /// Which value there.
        slot: usize,
    },
    /// To a property of an actor.
    Property(ActorRef, usize),
}
