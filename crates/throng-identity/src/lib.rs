//! throng-identity
