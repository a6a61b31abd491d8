//! The ledger alone; what cleanup makes of it is tested with directories.

use super::*;

fn place() -> Place {
    Place {
        kind: "nextcloud".to_owned(),
        url: "http://nc/".to_owned(),
        admin: "admin".to_owned(),
    }
}

fn temporary() -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&directory.path().join("state/throng/ledger.sqlite")).unwrap();
    (directory, ledger)
}

#[test]
fn an_entry_goes_through_its_states_and_leaves() {
    let (_directory, ledger) = temporary();
    let run = ledger.begin_run().unwrap();
    let entry = ledger
        .plan(&run, Kind::User, &place(), "loadtest_user_1")
        .unwrap();
    let states = || {
        ledger
            .open_entries()
            .unwrap()
            .into_iter()
            .map(|e| (e.name, e.state))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), [("loadtest_user_1".to_owned(), State::Planned)]);
    for state in [State::Created, State::Deleting] {
        ledger.set_state(entry, state).unwrap();
        assert_eq!(states(), [("loadtest_user_1".to_owned(), state)]);
    }
    ledger.set_state(entry, State::Deleted).unwrap();
    assert!(states().is_empty());
}

#[test]
fn a_client_gets_its_id_and_expiry() {
    let (_directory, ledger) = temporary();
    let run = ledger.begin_run().unwrap();
    let entry = ledger
        .plan(&run, Kind::Client, &Place::issuer("http://idp"), "throng")
        .unwrap();
    ledger
        .client_created(entry, "c-1", Some(4_000_000_000))
        .unwrap();
    let found = &ledger.open_entries_of(&run).unwrap()[0];
    assert_eq!(
        (&*found.name, found.kind, found.expires),
        ("c-1", Kind::Client, Some(4_000_000_000))
    );
    ledger.forget(entry).unwrap();
    assert!(ledger.open_entries().unwrap().is_empty());
}

#[test]
fn what_is_committed_is_seen_by_others_at_once() {
    let (_directory, ledger) = temporary();
    let other = Ledger::open(ledger.path()).unwrap();
    let run = ledger.begin_run().unwrap();
    ledger.plan(&run, Kind::User, &place(), "u").unwrap();
    let seen = other.open_entries().unwrap();
    assert_eq!(seen[0].process, Process::current());
    assert!(seen[0].is_in_use());
    ledger.end_run(&run).unwrap();
    assert!(!other.open_entries().unwrap()[0].is_in_use());
}

#[test]
fn many_writers_do_not_lose_entries() {
    let (_directory, ledger) = temporary();
    let path = ledger.path().to_owned();
    let threads: Vec<_> = (0..8)
        .map(|t| {
            let path = path.clone();
            std::thread::spawn(move || {
                let ledger = Ledger::open(&path).unwrap();
                let run = ledger.begin_run().unwrap();
                for n in 0..50 {
                    let entry = ledger
                        .plan(&run, Kind::User, &place(), &format!("u{t}_{n}"))
                        .unwrap();
                    ledger.set_state(entry, State::Created).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let entries = ledger.open_entries().unwrap();
    assert_eq!(entries.len(), 400);
    assert!(entries.iter().all(|entry| entry.state == State::Created));
}

#[test]
fn several_may_open_a_new_one_at_once() {
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let open = || {
            let path = path.clone();
            std::thread::spawn(move || Ledger::open(&path).unwrap().begin_run().unwrap())
        };
        let threads: Vec<_> = (0..8).map(|_| open()).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_newer_layout_is_not_touched() {
    let (_directory, ledger) = temporary();
    ledger
        .connection
        .lock()
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        Ledger::open(ledger.path()),
        Err(LedgerError::Newer { found: 99, .. })
    ));
}

#[cfg(unix)]
#[test]
fn the_directory_is_for_the_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, ledger) = temporary();
    let mode = ledger
        .path()
        .parent()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_first_layout_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.sqlite");
    let old = super::ENTRIES
        .replace(", 'stays'))", "))")
        .replace("NOT IN ('deleted', 'stays')", "<> 'deleted'");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(super::SCHEMA).unwrap();
    connection.execute_batch(&old).unwrap();
    connection
        .execute_batch(
            "INSERT INTO runs VALUES ('r', 1, 'x', 1, NULL);
             INSERT INTO entries VALUES (7, 'r', 'user', 'k', 'http://d/', 'admin', 'u', 'created', NULL, 1, 1);",
        )
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let ledger = Ledger::open(&path).unwrap();
    let open = ledger.open_entries().unwrap();
    assert_eq!((open.len(), &*open[0].name), (1, "u"));
    ledger.set_state(open[0].id, State::Stays).unwrap();
    assert!(ledger.open_entries().unwrap().is_empty());
    drop(ledger);
    assert!(
        Ledger::open(&path)
            .unwrap()
            .open_entries()
            .unwrap()
            .is_empty()
    );
}
