//! What calls come to beside their answers: counters that go up, and the time that tokens were waited for.

use throng_engine::IterCx;
use throng_metrics::{CountSample, CounterId, Event, TokenCounters, TokenWaitSample, UserId};

use super::driver::TokenUse;

/// Records that a counter goes up, if it does.
pub(crate) fn count(cx: &IterCx, counter: CounterId, user: u32, by: u64) {
    if by > 0 {
        cx.record(Event::Count(CountSample {
            counter,
            user: UserId(user),
            at: cx.now(),
            by,
        }));
    }
}

/// Records what became of a user's token.
pub(crate) fn tokens(cx: &IterCx, counters: &TokenCounters, user: u32, tokens: Option<&TokenUse>) {
    let Some(tokens) = tokens else { return };
    for (counter, by) in [
        (counters.refreshes, tokens.refreshes),
        (counters.logins, tokens.logins),
        (counters.grants, tokens.grants),
        (counters.step_ups, tokens.step_ups),
        (counters.failures, tokens.failures),
        (counters.refusals, tokens.refusals),
        (counters.retries, tokens.retries),
    ] {
        count(cx, counter, user, by.into());
    }
    if let Some(waited) = tokens.waited {
        cx.record(Event::TokenWait(TokenWaitSample {
            user: UserId(user),
            at: cx.now(),
            waited,
        }));
    }
}
