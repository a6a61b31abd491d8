//! The crate against the sandbox and against servers of the tests' own; and what is generated, held against the rules that it is
//! generated from.

mod answers;
mod documents;
mod hangs;
mod integr8scode;
mod leaks;
mod page;
mod properties;
mod server;
mod shelves;
mod swarm;
mod users;
mod values;
