//! All that the sandbox keeps, in memory: users, sessions, scripts, executions. It ends with the
//! process. Locks are held for microseconds and never over an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::execution::{Execution, Job, new_id};
use crate::secret::digest;
use crate::timestamp::{rfc3339_millis, unix_millis};

/// A registered user.
pub(super) struct User {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) role: String,
    /// The digest of the user's id and password.
    password: [u8; 32],
    created_ms: i64,
    /// Counts submissions: wakes the stream of notifications.
    pub(super) submitted: watch::Sender<u64>,
    own: Mutex<Own>,
}

/// What belongs to one user.
struct Own {
    theme: String,
    settings_version: u64,
    settings_changed_ms: i64,
    /// Oldest first.
    executions: Vec<Arc<Execution>>,
    scripts: Vec<String>,
    /// `Idempotency-Key` to what was submitted with it.
    keys: HashMap<String, Arc<Execution>>,
    /// What ended before this has been read; the second is the same in Unix milliseconds.
    read: Option<(Instant, i64)>,
}

/// What an idempotency key led to.
pub(super) enum Submission {
    New(Arc<Execution>),
    /// The key was used before for the same job.
    Repeated(Arc<Execution>),
    /// The key was used before for another job.
    Conflict,
}

/// The reading state of one user's notifications.
#[derive(Clone, Copy)]
pub(super) struct Read(Option<(Instant, i64)>);

impl Read {
    /// When something that happened then was read, in Unix milliseconds.
    pub(super) fn at(self, happened: Instant) -> Option<i64> {
        self.0
            .filter(|(until, _)| happened <= *until)
            .map(|(_, millis)| millis)
    }
}

impl User {
    pub(super) fn new(username: &str, email: &str, password: &str, role: &str) -> Self {
        let id = new_id();
        let now = unix_millis();
        Self {
            password: digest(&format!("{id}/{password}")),
            id,
            username: username.to_owned(),
            email: email.to_owned(),
            role: role.to_owned(),
            created_ms: now,
            submitted: watch::Sender::new(0),
            own: Mutex::new(Own {
                theme: "auto".to_owned(),
                settings_version: 1,
                settings_changed_ms: now,
                executions: Vec::new(),
                scripts: Vec::new(),
                keys: HashMap::new(),
                read: None,
            }),
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_password(&self, password: &str) -> bool {
        // Digests are compared: how long that takes says nothing about the password.
        self.password == digest(&format!("{}/{password}", self.id))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "user_id": self.id,
            "username": self.username,
            "email": self.email,
            "role": self.role,
            "is_active": true,
            "is_superuser": self.role == "admin",
            "created_at": rfc3339_millis(self.created_ms),
            "updated_at": rfc3339_millis(self.created_ms),
            "bypass_rate_limit": null,
            "global_multiplier": null,
            "has_custom_limits": null,
        })
    }

    pub(super) fn settings(&self) -> Value {
        let own = self.own();
        json!({
            "user_id": self.id,
            "theme": own.theme,
            "timezone": "UTC",
            "date_format": "YYYY-MM-DD",
            "time_format": "24h",
            "notifications": {
                "execution_completed": true,
                "execution_failed": true,
                "system_updates": true,
                "security_alerts": true,
                "channels": ["in_app"],
            },
            "editor": {
                "font_size": 14,
                "tab_size": 4,
                "use_tabs": false,
                "word_wrap": true,
                "show_line_numbers": true,
            },
            "custom_settings": {},
            "version": own.settings_version,
            "created_at": rfc3339_millis(self.created_ms),
            "updated_at": rfc3339_millis(own.settings_changed_ms),
        })
    }

    pub(super) fn set_theme(&self, theme: &str) {
        let mut own = self.own();
        own.theme = theme.to_owned();
        own.settings_version += 1;
        own.settings_changed_ms = unix_millis();
    }

    /// Newest first.
    pub(super) fn executions(&self) -> Vec<Arc<Execution>> {
        self.own().executions.iter().rev().cloned().collect()
    }

    pub(super) fn read(&self) -> Read {
        Read(self.own().read)
    }

    pub(super) fn mark_all_read(&self) {
        self.own().read = Some((Instant::now(), unix_millis()));
    }
}

/// A saved script.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) id: String,
    /// The owner's user id.
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) script: String,
    pub(super) lang: String,
    pub(super) lang_version: String,
    pub(super) description: Option<String>,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    /// Deleted, and only kept because of a planted bug.
    pub(super) deleted: bool,
}

impl Script {
    pub(super) fn json(&self) -> Value {
        json!({
            "script_id": self.id,
            "name": self.name,
            "script": self.script,
            "lang": self.lang,
            "lang_version": self.lang_version,
            "description": self.description,
            "created_at": rfc3339_millis(self.created_ms),
            "updated_at": rfc3339_millis(self.updated_ms),
        })
    }
}

/// Everything.
#[derive(Default)]
pub(super) struct World(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    users: HashMap<String, Arc<User>>,
    /// By the digest of the access token.
    sessions: HashMap<[u8; 32], Session>,
    scripts: HashMap<String, Script>,
    executions: HashMap<String, Arc<Execution>>,
}

struct Session {
    user: Arc<User>,
    expires: Instant,
}

impl World {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn usernames(&self) -> Vec<String> {
        let mut names: Vec<_> = self.tables().users.keys().cloned().collect();
        names.sort();
        names
    }

    pub(super) fn user(&self, username: &str) -> Option<Arc<User>> {
        self.tables().users.get(username).cloned()
    }

    /// Adds a user, unless there is one of that name.
    pub(super) fn add_user(&self, user: User) -> Option<Arc<User>> {
        let mut tables = self.tables();
        if tables.users.contains_key(&user.username) {
            return None;
        }
        let user = Arc::new(user);
        tables
            .users
            .insert(user.username.clone(), Arc::clone(&user));
        Some(user)
    }

    /// Adds a user whoever there is: what a check that was made too early comes to.
    pub(super) fn put_user(&self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.tables()
            .users
            .insert(user.username.clone(), Arc::clone(&user));
        user
    }

    pub(super) fn open_session(&self, access_token: &str, user: Arc<User>, lifetime: Duration) {
        let expires = Instant::now() + lifetime;
        let session = Session { user, expires };
        self.tables().sessions.insert(digest(access_token), session);
    }

    pub(super) fn close_session(&self, access_token: &str) {
        self.tables().sessions.remove(&digest(access_token));
    }

    pub(super) fn session(&self, access_token: &str) -> Option<Arc<User>> {
        let tables = self.tables();
        let session = tables.sessions.get(&digest(access_token))?;
        (Instant::now() < session.expires).then(|| Arc::clone(&session.user))
    }

    /// Adds an execution, unless the key has one already.
    pub(super) fn submit(
        &self,
        user: &User,
        key: Option<&str>,
        make: impl FnOnce() -> Execution,
        job: &Job,
    ) -> Submission {
        let mut own = user.own();
        if let Some(known) = key.and_then(|key| own.keys.get(key)) {
            return if known.job == *job {
                Submission::Repeated(Arc::clone(known))
            } else {
                Submission::Conflict
            };
        }
        let execution = Arc::new(make());
        if let Some(key) = key {
            own.keys.insert(key.to_owned(), Arc::clone(&execution));
        }
        own.executions.push(Arc::clone(&execution));
        self.tables()
            .executions
            .insert(execution.id.clone(), Arc::clone(&execution));
        user.submitted.send_modify(|count| *count += 1);
        Submission::New(execution)
    }

    pub(super) fn execution(&self, id: &str) -> Option<Arc<Execution>> {
        self.tables().executions.get(id).cloned()
    }

    pub(super) fn add_script(&self, user: &User, script: Script) {
        user.own().scripts.push(script.id.clone());
        self.tables().scripts.insert(script.id.clone(), script);
    }

    /// The user's scripts, oldest first.
    pub(super) fn scripts(&self, user: &User) -> Vec<Script> {
        let ids = user.own().scripts.clone();
        let tables = self.tables();
        ids.iter()
            .filter_map(|id| tables.scripts.get(id).cloned())
            .collect()
    }

    /// Anybody's script.
    pub(super) fn script(&self, id: &str) -> Option<Script> {
        self.tables().scripts.get(id).cloned()
    }

    /// Changes a script of this user that is not deleted, and gives back what it is then.
    pub(super) fn change_script(
        &self,
        user: &User,
        id: &str,
        change: impl FnOnce(&mut Script),
    ) -> Option<Script> {
        let mut tables = self.tables();
        let script = tables
            .scripts
            .get_mut(id)
            .filter(|script| script.owner == user.id && !script.deleted)?;
        change(script);
        script.updated_ms = unix_millis();
        Some(script.clone())
    }

    /// Deletes a script of this user; `keep` only takes it out of the list.
    pub(super) fn delete_script(&self, user: &User, id: &str, keep: bool) -> bool {
        let deleted = self.change_script(user, id, |script| script.deleted = true);
        if deleted.is_none() {
            return false;
        }
        user.own().scripts.retain(|known| known != id);
        if !keep {
            self.tables().scripts.remove(id);
        }
        true
    }
}
