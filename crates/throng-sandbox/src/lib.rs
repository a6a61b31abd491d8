//! throng-sandbox
