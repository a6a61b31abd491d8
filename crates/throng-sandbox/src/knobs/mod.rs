//! Knobs: the trouble that the sandbox plants, changeable while it runs.
//!
//! The types here are the file format (any serde format; unknown keys are refused). What a knob does
//! to one request is decided in [`live`] and carried out by the journal's layer, which marks it as
//! planted. Knobs never change what the sandbox stores, except `lost_appends`, which is its purpose.

mod live;

use serde::{Deserialize, Serialize};

pub use live::LiveKnobs;
pub(crate) use live::{Plan, Subject};

/// All knobs. The default plants nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// Where the random choices start from; the same seed and requests give the same choices.
    pub seed: u64,
    /// Latency, errors and stalls by endpoint. Each of the three is taken from the first element that
    /// matches the request and sets it; for stalls, all matching elements count.
    pub endpoints: Vec<EndpointKnob>,
    /// How long after its creation a share becomes visible to its recipient, in milliseconds.
    pub share_propagation_ms: u64,
    /// How long an access token is valid, in seconds.
    pub token_lifetime_s: u64,
    /// How long a client is told that it is valid (`expires_in`), where that is not the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_lifetime_told_s: Option<u64>,
    /// Access tokens all end together, at full multiples of so many seconds since 1970, instead of each after its lifetime. The
    /// last second before one is no time to give out a token: it then lasts until the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expiry_grid_s: Option<u64>,
    /// How long the MCP server goes on taking access tokens that were revoked at the provider's revocation endpoint, as one does
    /// that remembers what it was told of a token. The provider itself knows at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_lag: Option<Latency>,
    /// Whether a tool whose scope was not granted is refused with 403 `insufficient_scope`, as the MCP specification has it, and
    /// not by a tool's error. Tools are then listed whatever the token is for.
    pub scope_challenges: bool,
    /// Whether refresh tokens are given out and accepted.
    pub refresh: bool,
    /// The fraction of acknowledged appends that are silently lost, 0 to 1.
    pub lost_appends: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            seed: 0,
            endpoints: Vec::new(),
            share_propagation_ms: 0,
            token_lifetime_s: 900,
            token_lifetime_told_s: None,
            token_expiry_grid_s: None,
            revocation_lag: None,
            scope_challenges: false,
            refresh: true,
            lost_appends: 0.0,
        }
    }
}

/// The trouble of one kind of endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointKnob {
    /// An MCP tool (`nc_notes_*`), a JSON-RPC method (`tools/*`), or an HTTP method and a route
    /// template (`POST /apps/oidc/token`, `* /ocs/*`). `*` stands for any text, `/` included.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How long a request is held back before it is handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The fraction of requests that fail instead of being handled, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// How they fail.
    #[serde(default)]
    pub error: ErrorKind,
    /// A window in which nothing is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
}

/// A planted latency: `fixed_ms` plus a random part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// The part that is always there, in milliseconds.
    pub fixed_ms: f64,
    /// The random part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

impl Latency {
    /// Its figures, by their paths in the file.
    fn parts(&self) -> [(&'static str, f64); 2] {
        let random = match self.jitter {
            None => ("jitter", 0.0),
            Some(Jitter::Uniform { max_ms }) => ("jitter.max_ms", max_ms),
            Some(Jitter::Normal { deviation_ms }) => ("jitter.deviation_ms", deviation_ms),
            Some(Jitter::Exponential { mean_ms }) => ("jitter.mean_ms", mean_ms),
        };
        [("fixed_ms", self.fixed_ms), random]
    }
}

/// The random part of a latency. The sum is never below zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Jitter {
    /// Evenly between 0 and `max_ms`.
    Uniform {
        /// Milliseconds.
        max_ms: f64,
    },
    /// Normally distributed around 0.
    Normal {
        /// The standard deviation in milliseconds.
        deviation_ms: f64,
    },
    /// Exponentially distributed.
    Exponential {
        /// The mean in milliseconds.
        mean_ms: f64,
    },
}

/// How a planted failure looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// This HTTP status, 400 to 599.
    Http(u16),
    /// A tool result with `isError` (an HTTP 500 where no tool was called).
    ToolError,
    /// A JSON-RPC error -32603 (an HTTP 500 where there is no request id to answer).
    RpcError,
    /// The connection is reset and no answer sent.
    Reset,
}

impl Default for ErrorKind {
    fn default() -> Self {
        Self::Http(500)
    }
}

/// A window of time in which every matching request is held until the window ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// When the window begins, in milliseconds after `from`.
    pub start_ms: u64,
    /// How long it lasts, in milliseconds.
    pub duration_ms: u64,
    /// What `start_ms` counts from.
    #[serde(default)]
    pub from: StallFrom,
}

/// What a stall's start counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StallFrom {
    /// The moment at which the knobs were set.
    #[default]
    Set,
    /// The first matching request after that.
    FirstMatch,
}

/// A knob that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {found}, expected {expected}")]
pub struct KnobError {
    /// Which knob, as a path in the file.
    pub field: String,
    /// What it says.
    pub found: String,
    /// What it may say.
    pub expected: &'static str,
}

impl Knobs {
    /// Checks all values and gives back every fault at once.
    ///
    /// # Errors
    ///
    /// Fractions outside 0 to 1, negative or endless durations, statuses that are no errors, patterns
    /// that are empty.
    pub fn validate(&self) -> Result<(), Vec<KnobError>> {
        let mut faults = Vec::new();
        let mut fault = |good: bool, field: String, found: String, expected| {
            if !good {
                faults.push(KnobError {
                    field,
                    found,
                    expected,
                });
            }
        };
        let fraction = |value: f64| (0.0..=1.0).contains(&value);
        let milliseconds = |value: f64| value.is_finite() && (0.0..=86_400_000.0).contains(&value);
        const FRACTION: &str = "a fraction from 0 to 1";
        const MILLISECONDS: &str = "milliseconds from 0 to a day";

        fault(
            fraction(self.lost_appends),
            "lost_appends".to_owned(),
            self.lost_appends.to_string(),
            FRACTION,
        );
        for (name, seconds) in [
            ("token_lifetime_s", Some(self.token_lifetime_s)),
            ("token_lifetime_told_s", self.token_lifetime_told_s),
            ("token_expiry_grid_s", self.token_expiry_grid_s),
        ] {
            fault(
                seconds.is_none_or(|seconds| (1..=31_536_000).contains(&seconds)),
                name.to_owned(),
                seconds.unwrap_or_default().to_string(),
                "seconds from 1 to a year",
            );
        }
        for (name, value) in self.revocation_lag.iter().flat_map(Latency::parts) {
            fault(
                milliseconds(value),
                format!("revocation_lag.{name}"),
                value.to_string(),
                MILLISECONDS,
            );
        }
        for (index, knob) in self.endpoints.iter().enumerate() {
            let field = |name: &str| format!("endpoints[{index}].{name}");
            fault(
                !knob.pattern.trim().is_empty(),
                field("match"),
                "empty".to_owned(),
                "a tool, a JSON-RPC method or `METHOD /route`",
            );
            if let Some(rate) = knob.error_rate {
                fault(
                    fraction(rate),
                    field("error_rate"),
                    rate.to_string(),
                    FRACTION,
                );
            }
            if let ErrorKind::Http(status) = knob.error {
                fault(
                    (400..=599).contains(&status),
                    field("error.http"),
                    status.to_string(),
                    "a status from 400 to 599",
                );
            }
            if let Some(latency) = knob.latency {
                for (name, value) in latency.parts() {
                    fault(
                        milliseconds(value),
                        field(&format!("latency.{name}")),
                        value.to_string(),
                        MILLISECONDS,
                    );
                }
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_format_is_read_and_unknown_keys_are_refused() {
        let knobs: Knobs = serde_json::from_value(json!({
            "seed": 3,
            "endpoints": [{
                "match": "nc_notes_*",
                "latency": { "fixed_ms": 20, "jitter": { "kind": "exponential", "mean_ms": 5 } },
                "error_rate": 0.05,
                "error": { "http": 503 },
                "stall": { "start_ms": 2000, "duration_ms": 1000, "from": "first_match" },
            }, { "match": "*", "error_rate": 1, "error": "tool_error" }],
            "share_propagation_ms": 300,
        }))
        .expect("a valid file");
        assert_eq!(knobs.endpoints[0].error, ErrorKind::Http(503));
        assert_eq!(knobs.endpoints[1].error, ErrorKind::ToolError);
        assert_eq!(knobs.token_lifetime_s, 900);
        let error = serde_json::from_value::<Knobs>(json!({ "sed": 3 })).unwrap_err();
        assert!(error.to_string().contains("unknown field `sed`"), "{error}");
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let knobs: Knobs = serde_json::from_value(json!({
            "lost_appends": 2,
            "token_lifetime_s": 0,
            "token_expiry_grid_s": 0,
            "revocation_lag": { "fixed_ms": -1 },
            "endpoints": [{ "match": " ", "error_rate": -1, "error": { "http": 200 },
                "latency": { "fixed_ms": -5 } }],
        }))
        .expect("well-formed");
        let faults = knobs.validate().unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "lost_appends",
                "token_lifetime_s",
                "token_expiry_grid_s",
                "revocation_lag.fixed_ms",
                "endpoints[0].match",
                "endpoints[0].error_rate",
                "endpoints[0].error.http",
                "endpoints[0].latency.fixed_ms",
            ]
        );
    }
}
