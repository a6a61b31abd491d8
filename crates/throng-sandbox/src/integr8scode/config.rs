//! How an Integr8sCode sandbox is to be started.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::bugs::Bugs;
use crate::knobs::Knobs;

/// The configuration of an Integr8sCode sandbox. The default is the real server's behaviour, on free
/// ports of this machine, without rate limits.
#[derive(Clone, Debug)]
pub struct Integr8scodeConfig {
    /// The address to listen on.
    pub listen: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Whether it speaks TLS with a certificate made at the start. Its cookies are `Secure` either way,
    /// so that over plain HTTP a conforming client never sends them back.
    pub tls: bool,
    /// Whether requests per address and path are limited.
    pub rate_limits: bool,
    /// Whether `POST /alerts/grafana` of older versions is there.
    pub alerts: bool,
    /// For how long five bad logins lock a username.
    pub lockout: Duration,
    /// How fast executions go.
    pub times: ExecutionTimes,
    /// How often a silent stream of an execution sends a comment.
    pub execution_ping: Duration,
    /// How often the stream of notifications sends a comment.
    pub notification_ping: Duration,
    /// The planted bugs.
    pub bugs: Bugs,
    /// The planted trouble at the start.
    pub knobs: Knobs,
    /// How many journal entries are kept; older ones are dropped and counted.
    pub journal_capacity: usize,
}

impl Default for Integr8scodeConfig {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            tls: true,
            rate_limits: false,
            alerts: true,
            lockout: Duration::from_secs(15 * 60),
            times: ExecutionTimes::default(),
            execution_ping: Duration::from_secs(15),
            notification_ping: Duration::from_secs(30),
            bugs: Bugs::default(),
            knobs: Knobs::default(),
            journal_capacity: 1_000_000,
        }
    }
}

/// How long an execution stays in each state. The real server takes seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionTimes {
    /// From `queued` to `scheduled`.
    pub queued: Duration,
    /// From `scheduled` to `running`.
    pub scheduled: Duration,
    /// How long a script runs that neither sleeps nor loops.
    pub running: Duration,
    /// When a running script is given up (`timeout`).
    pub limit: Duration,
}

impl Default for ExecutionTimes {
    fn default() -> Self {
        Self {
            queued: Duration::from_millis(50),
            scheduled: Duration::from_millis(100),
            running: Duration::from_millis(200),
            limit: Duration::from_secs(2),
        }
    }
}
