//! The recorder loses nothing and orders each user's events, however many threads write while it is drained.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use throng_metrics::{CountSample, CounterId, Event, Recorder, UserId};

#[test]
fn nothing_is_lost_while_many_write_and_one_drains() {
    const WRITERS: u32 = 8;
    const EACH: u64 = 20_000;
    // Fewer shards than writers, so that some share one.
    let recorder = Arc::new(Recorder::new(3));
    let writing = Arc::new(AtomicUsize::new(WRITERS as usize));
    let writers: Vec<_> = (0..WRITERS)
        .map(|user| {
            let (recorder, writing) = (Arc::clone(&recorder), Arc::clone(&writing));
            thread::spawn(move || {
                for n in 0..EACH {
                    let event = Event::Count(CountSample {
                        counter: CounterId(0),
                        user: UserId(user),
                        at: Duration::ZERO,
                        by: n,
                    });
                    recorder.record(UserId(user), event);
                }
                writing.fetch_sub(1, Ordering::Release);
            })
        })
        .collect();
    let mut events = Vec::new();
    while writing.load(Ordering::Acquire) > 0 {
        recorder.drain(&mut events);
    }
    for writer in writers {
        writer.join().unwrap();
    }
    recorder.drain(&mut events);

    let mut next = [0; WRITERS as usize];
    for event in &events {
        let Event::Count(count) = event else {
            panic!("{event:?} was never recorded")
        };
        let next = &mut next[count.user.0 as usize];
        assert_eq!(count.by, *next, "of user {}", count.user.0);
        *next += 1;
    }
    assert_eq!(next, [EACH; WRITERS as usize]);
}

#[test]
fn a_drained_recorder_is_empty() {
    let recorder = Recorder::new(0);
    let event = Event::Count(CountSample {
        counter: CounterId(0),
        user: UserId(9),
        at: Duration::ZERO,
        by: 1,
    });
    recorder.record(UserId(9), event.clone());
    let mut events = Vec::new();
    recorder.drain(&mut events);
    recorder.drain(&mut events);
    assert_eq!(events, [event]);
}
