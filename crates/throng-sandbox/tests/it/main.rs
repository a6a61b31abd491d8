//! Integration tests: a sandbox in this process, asked over HTTP.

mod http;
mod nextcloud;
