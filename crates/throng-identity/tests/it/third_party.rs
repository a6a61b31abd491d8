//! What needs programs that `cargo xtask setup` installs.

mod browser;
