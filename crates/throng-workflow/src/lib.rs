//! throng-workflow
