//! throng-client
