//! What needs programs that `cargo xtask setup` installs.

mod browser;
mod form_browser;
