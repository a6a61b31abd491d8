//! The whole program, as a user starts it: the real binary in a process of its own against a sandbox in this one, whose
//! journal says what really happened.

mod access;
mod cli;
mod cookies;
mod directories;
mod docs;
mod eras;
mod failed_logins;
mod http;
mod issuer;
mod journal;
mod killed;
mod kinds;
mod modes;
mod outputs;
mod property;
mod replay;
mod report;
mod roster;
mod run;
mod secrets;
mod shipped;
mod signals;
mod support;
mod third_party;
mod tools;
mod trouble;
