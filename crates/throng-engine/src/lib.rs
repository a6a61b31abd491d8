//! throng-engine
