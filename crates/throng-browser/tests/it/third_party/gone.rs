//! Nothing is left, however a browser ends.

use std::path::Path;
use std::time::Duration;

use throng_browser::{Browser, BrowserError, Engine, Installed, Trust};

use super::support::{
    LIMIT, Running, any_in, environments, groups, has_variable, installed, options, processes,
};

async fn until_gone(directory: &Path, groups: &[String]) {
    let gone = async {
        while directory.exists() || !processes(directory).is_empty() || any_in(groups) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, gone).await;
    assert!(waited.is_ok(), "left: {:?}", processes(directory));
}

async fn a_dropped_browser_leaves_nothing(engine: Engine) {
    let running = Running::start(engine).await;
    let tab = running.tab().await;
    let directory = running.browser.directory().to_owned();
    assert!(directory.exists());
    let groups = groups(&directory);
    assert!(!groups.is_empty() && any_in(&groups));
    drop(tab);
    drop(running);
    until_gone(&directory, &groups).await;
}

#[tokio::test]
async fn a_dropped_chromium_leaves_nothing() {
    a_dropped_browser_leaves_nothing(Engine::Chromium).await;
}

#[tokio::test]
async fn a_dropped_firefox_leaves_nothing() {
    a_dropped_browser_leaves_nothing(Engine::Firefox).await;
}

#[tokio::test]
async fn a_dropped_webkit_leaves_nothing() {
    a_dropped_browser_leaves_nothing(Engine::Webkit).await;
}

/// Passwords are given in variables.
#[tokio::test]
async fn browsers_are_told_little_of_our_environment() {
    let ours = std::fs::read("/proc/self/environ").unwrap();
    assert!(has_variable(&ours, b"CARGO_MANIFEST_DIR="));
    for engine in Engine::ALL {
        let running = Running::start(engine).await;
        let theirs = environments(running.browser.directory());
        assert!(!theirs.is_empty(), "{engine:?}");
        for environment in theirs {
            assert!(
                !has_variable(&environment, b"CARGO_MANIFEST_DIR="),
                "{engine:?}"
            );
        }
        running.browser.close().await;
    }
}

#[tokio::test]
async fn a_program_that_is_no_browser_is_named_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("chromium");
    std::fs::write(&program, "#!/bin/sh\necho 'no library' >&2\nexit 3\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    let broken = Installed {
        program: program.clone(),
        ..installed(Engine::Chromium)
    };
    let mut options = options(Trust::Usual);
    options.temporary = directory.path().join("profiles");
    std::fs::create_dir(&options.temporary).unwrap();
    let error = Browser::launch(&broken, &options).await.unwrap_err();
    assert!(matches!(error, BrowserError::Ended { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("{} ended; its last words: no library", program.display())
    );
    let left: Vec<_> = std::fs::read_dir(&options.temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn headed_without_a_display_names_xvfb() {
    let mut options = options(Trust::Usual);
    options.headed = true;
    let error = Browser::launch(&installed(Engine::Firefox), &options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("xvfb-run"), "{error}");
}
