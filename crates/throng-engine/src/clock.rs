//! The run's clock: offsets from the start of the load, monotonic.

use std::time::Duration;

use tokio::time::Instant;

/// Reads offsets from the start of the load. Follows tokio's clock, so that tests can pause it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The offset of an instant of the real clock. Under a paused clock (tests) that is only good to "about now".
    pub(crate) fn offset_of(&self, instant: std::time::Instant) -> Duration {
        instant.saturating_duration_since(self.origin.into_std())
    }

    /// The instant at an offset.
    pub(crate) fn at(&self, offset: Duration) -> Instant {
        self.origin + offset
    }
}

/// Whether tokio's clock stands still (tests): then nothing may wait in a thread of its own, because time only
/// advances while all tasks wait in tokio.
pub(crate) fn is_paused() -> bool {
    let frozen = Instant::now();
    let real = std::time::Instant::now();
    // Both clocks tick in nanoseconds; twenty microseconds cannot pass on the one and not on the other.
    while real.elapsed() < Duration::from_micros(20) {
        std::hint::spin_loop();
    }
    Instant::now() == frozen
}
