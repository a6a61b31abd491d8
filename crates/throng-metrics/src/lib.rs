//! throng-metrics
