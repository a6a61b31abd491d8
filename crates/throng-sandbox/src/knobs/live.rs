//! Knobs in force: which of them a request meets, and the random draws.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{ErrorKind, Jitter, KnobError, Knobs, Latency, Stall, StallFrom};

/// A handle to the knobs in force; clones share them.
#[derive(Clone, Debug)]
pub struct LiveKnobs(Arc<RwLock<Arc<Active>>>);

/// What patterns are matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    pub(crate) route: &'a str,
    pub(crate) tool: Option<&'a str>,
    pub(crate) rpc_method: Option<&'a str>,
}

/// What happens to one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    pub(crate) stalled_until: Option<Instant>,
    pub(crate) error: Option<ErrorKind>,
}

/// Knobs with the state of their draws; replaced as a whole when they are set.
#[derive(Debug)]
struct Active {
    knobs: Knobs,
    set: Instant,
    endpoints: Vec<EndpointState>,
    appends: Mutex<SmallRng>,
    revocations: Mutex<SmallRng>,
}

#[derive(Debug)]
struct EndpointState {
    random: Mutex<SmallRng>,
    first_match: OnceLock<Instant>,
}

impl Active {
    fn new(knobs: Knobs) -> Self {
        // A stream of its own for each use, so that adding one knob does not change another's draws.
        let random = |stream: u64| {
            let seed = knobs
                .seed
                .wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            Mutex::new(SmallRng::seed_from_u64(seed))
        };
        Self {
            appends: random(0),
            revocations: random(u64::MAX),
            endpoints: (1..)
                .zip(&knobs.endpoints)
                .map(|(stream, _)| EndpointState {
                    random: random(stream),
                    first_match: OnceLock::new(),
                })
                .collect(),
            set: Instant::now(),
            knobs,
        }
    }
}

impl LiveKnobs {
    /// Puts knobs in force.
    ///
    /// # Errors
    ///
    /// What [`Knobs::validate`] finds.
    pub fn new(knobs: Knobs) -> Result<Self, Vec<KnobError>> {
        knobs.validate()?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(Active::new(knobs))))))
    }

    /// The knobs in force.
    pub fn get(&self) -> Knobs {
        self.active().knobs.clone()
    }

    /// Replaces all knobs: draws start from the seed again and stalls count from now.
    ///
    /// # Errors
    ///
    /// What [`Knobs::validate`] finds; the old knobs then stay in force.
    pub fn set(&self, knobs: Knobs) -> Result<(), Vec<KnobError>> {
        knobs.validate()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Active::new(knobs));
        Ok(())
    }

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long a new share stays invisible to its recipient.
    pub(crate) fn share_propagation(&self) -> Duration {
        Duration::from_millis(self.active().knobs.share_propagation_ms)
    }

    /// When an access token ends that is given out at `now`, both in seconds since 1970, and how long its client is told that
    /// it is valid.
    pub(crate) fn token_end(&self, now: i64) -> (i64, i64) {
        let knobs = &self.active().knobs;
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX / 2);
        let end = match knobs.token_expiry_grid_s.map(whole) {
            None => now.saturating_add(whole(knobs.token_lifetime_s)),
            Some(grid) => {
                let next = (now / grid + 1).saturating_mul(grid);
                // With a grid of 1 s every second is the last one.
                if next - now <= 1 { next + grid } else { next }
            }
        };
        let told = knobs.token_lifetime_told_s.map(whole);
        (end, told.unwrap_or(end - now))
    }

    /// How long a token that is revoked now goes on being taken.
    pub(crate) fn draw_revocation_lag(&self) -> Option<Duration> {
        let active = self.active();
        let lag = active.knobs.revocation_lag?;
        Some(sample(lag, &active.revocations))
    }

    /// Whether missing scopes are told by a challenge.
    pub(crate) fn scope_challenges(&self) -> bool {
        self.active().knobs.scope_challenges
    }

    /// Whether refresh tokens are given out and accepted.
    pub(crate) fn refresh(&self) -> bool {
        self.active().knobs.refresh
    }

    /// Whether this append is to be acknowledged and lost. The caller marks it in the journal
    /// (`note.planted("lost_append")`).
    pub(crate) fn draw_lost_append(&self) -> bool {
        let active = self.active();
        draw(&active.appends, active.knobs.lost_appends)
    }

    /// What happens to a request. Every call draws, so it is called once per request.
    pub(crate) fn plan(&self, subject: &Subject<'_>) -> Plan {
        let active = self.active();
        let mut plan = Plan::default();
        let now = Instant::now();
        let mut latency = None;
        let mut error_rate = None;
        for (knob, state) in active.knobs.endpoints.iter().zip(&active.endpoints) {
            if !matches(&knob.pattern, subject) {
                continue;
            }
            let first_match = *state.first_match.get_or_init(|| now);
            if let Some(setting) = knob.latency.filter(|_| latency.is_none()) {
                latency = Some(sample(setting, &state.random));
            }
            if let Some(rate) = knob.error_rate.filter(|_| error_rate.is_none()) {
                error_rate = Some(rate);
                plan.error = draw(&state.random, rate).then_some(knob.error);
            }
            if let Some(stall) = knob.stall {
                let until = stalled_until(stall, active.set, first_match, now);
                plan.stalled_until = plan.stalled_until.max(until);
            }
        }
        plan.latency = latency.unwrap_or_default();
        plan
    }
}

/// The end of the window, if `now` lies in it.
fn stalled_until(
    stall: Stall,
    set: Instant,
    first_match: Instant,
    now: Instant,
) -> Option<Instant> {
    let origin = match stall.from {
        StallFrom::Set => set,
        StallFrom::FirstMatch => first_match,
    };
    let begin = origin.checked_add(Duration::from_millis(stall.start_ms))?;
    let end = begin.checked_add(Duration::from_millis(stall.duration_ms))?;
    (begin <= now && now < end).then_some(end)
}

fn draw(random: &Mutex<SmallRng>, fraction: f64) -> bool {
    if fraction <= 0.0 {
        return false;
    }
    random
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .random::<f64>()
        < fraction
}

fn sample(latency: Latency, random: &Mutex<SmallRng>) -> Duration {
    let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
    // In (0, 1]: the logarithms below stay finite.
    let mut unit = || 1.0 - random.random::<f64>();
    let jitter_ms = match latency.jitter {
        None => 0.0,
        Some(Jitter::Uniform { max_ms }) => max_ms * unit(),
        Some(Jitter::Exponential { mean_ms }) => -mean_ms * unit().ln(),
        Some(Jitter::Normal { deviation_ms }) => {
            // Box and Muller's transform.
            let radius = (-2.0 * unit().ln()).sqrt();
            deviation_ms * radius * (std::f64::consts::TAU * unit()).cos()
        }
    };
    Duration::try_from_secs_f64((latency.fixed_ms + jitter_ms) / 1000.0).unwrap_or_default()
}

/// Whether a pattern means this request, by its tool, its JSON-RPC method or its route.
fn matches(pattern: &str, subject: &Subject<'_>) -> bool {
    let named = |name: Option<&str>| name.is_some_and(|name| glob(pattern, name));
    if named(subject.tool) || named(subject.rpc_method) {
        return true;
    }
    match pattern.split_once(' ') {
        Some((method, route)) => {
            // `/index.php` is taken off before routing, so a pattern may have it or not.
            let route = route.trim_start();
            let route = route.strip_prefix("/index.php").unwrap_or(route);
            glob(method, subject.method) && glob(route, subject.route)
        }
        None => pattern == "*" || (pattern.starts_with('/') && glob(pattern, subject.route)),
    }
}

/// Matches a whole text against a pattern in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    // The leftmost place of each middle part is as good as any other.
    while let Some((part, after)) = rest.split_once('*') {
        let Some(found) = text.find(part) else {
            return false;
        };
        text = &text[found + part.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::EndpointKnob;

    const CALL: Subject<'_> = Subject {
        method: "POST",
        route: "/mcp",
        tool: Some("nc_notes_get_note"),
        rpc_method: Some("tools/call"),
    };

    fn knob(pattern: &str) -> EndpointKnob {
        EndpointKnob {
            pattern: pattern.to_owned(),
            latency: None,
            error_rate: None,
            error: ErrorKind::ToolError,
            stall: None,
        }
    }

    fn live(endpoints: Vec<EndpointKnob>) -> LiveKnobs {
        let knobs = Knobs {
            endpoints,
            ..Knobs::default()
        };
        LiveKnobs::new(knobs).expect("valid knobs")
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "anything/at all", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a*b*c", "a-b-b-c", true),
            ("*b", "ab", true),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn patterns_name_tools_methods_and_routes() {
        for (pattern, expected) in [
            ("nc_notes_*", true),
            ("nc_share_*", false),
            ("tools/call", true),
            ("POST /mcp", true),
            ("POST /index.php/mcp", true),
            ("GET /mcp", false),
            ("* /mc*", true),
            ("/mcp", true),
            ("*", true),
        ] {
            assert_eq!(matches(pattern, &CALL), expected, "{pattern}");
        }
    }

    #[test]
    fn the_first_setting_wins_each_by_itself() {
        let fixed = |ms| {
            Some(Latency {
                fixed_ms: ms,
                jitter: None,
            })
        };
        let live = live(vec![
            EndpointKnob {
                latency: fixed(5.0),
                ..knob("nc_notes_*")
            },
            EndpointKnob {
                latency: fixed(9.0),
                error_rate: Some(1.0),
                ..knob("*")
            },
        ]);
        let plan = live.plan(&CALL);
        assert_eq!(plan.latency, Duration::from_millis(5));
        assert_eq!(plan.error, Some(ErrorKind::ToolError));
    }

    #[test]
    fn draws_follow_the_rate_and_the_seed() {
        let endpoints = vec![EndpointKnob {
            error_rate: Some(0.05),
            ..knob("*")
        }];
        let draws = |live: &LiveKnobs| -> Vec<bool> {
            (0..20_000)
                .map(|_| live.plan(&CALL).error.is_some())
                .collect()
        };
        let first = draws(&live(endpoints.clone()));
        assert_eq!(first, draws(&live(endpoints)));
        let errors = first.iter().filter(|error| **error).count();
        // Four standard deviations of a binomial around 1000.
        assert!((877..=1123).contains(&errors), "{errors}");
    }

    #[test]
    fn jitter_has_the_asked_mean() {
        let random = Mutex::new(SmallRng::seed_from_u64(1));
        for (jitter, mean) in [
            (Jitter::Uniform { max_ms: 10.0 }, 15.0),
            (Jitter::Exponential { mean_ms: 5.0 }, 15.0),
            (Jitter::Normal { deviation_ms: 2.0 }, 10.0),
        ] {
            let latency = Latency {
                fixed_ms: 10.0,
                jitter: Some(jitter),
            };
            let total: Duration = (0..10_000).map(|_| sample(latency, &random)).sum();
            let found = total.as_secs_f64() * 1000.0 / 10_000.0;
            assert!((found - mean).abs() < 0.3, "{jitter:?}: {found}");
        }
    }

    #[test]
    fn a_stall_holds_what_comes_within_its_window() {
        let origin = Instant::now();
        let stall = Stall {
            start_ms: 100,
            duration_ms: 50,
            from: StallFrom::FirstMatch,
        };
        let at = |ms| origin + Duration::from_millis(ms);
        let held = |ms| stalled_until(stall, origin, origin, at(ms));
        assert_eq!(held(99), None);
        assert_eq!(held(100), Some(at(150)));
        assert_eq!(held(149), Some(at(150)));
        assert_eq!(held(150), None);
    }
}
