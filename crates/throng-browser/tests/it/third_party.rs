//! What needs a browser that `cargo xtask setup` installs.

mod gone;
mod support;
mod tabs;
