//! Users, their passwords and their app passwords.
//!
//! Ids are compared without regard to ASCII case, as Nextcloud does. Deleting an account deletes what
//! references it (`ON DELETE CASCADE`), in every part's tables.

use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::{Store, StoreError, unix_now};
use crate::secret::{Secret, digest, random_alphanumeric};

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY COLLATE NOCASE,
    display_name TEXT NOT NULL,
    email TEXT NOT NULL,
    admin INTEGER NOT NULL,
    salt BLOB NOT NULL,
    password BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS app_passwords (
    digest BLOB PRIMARY KEY,
    account TEXT NOT NULL COLLATE NOCASE REFERENCES accounts(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS app_passwords_account ON app_passwords(account);
";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) display_name: String,
    /// Empty where there is none.
    pub(crate) email: String,
    pub(crate) admin: bool,
}

/// A user to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount<'a> {
    pub(crate) id: &'a str,
    /// Shown instead of the id; empty shows the id.
    pub(crate) display_name: &'a str,
    /// Empty for none.
    pub(crate) email: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) admin: bool,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateAccount {
    Created,
    /// There is a user of this id already.
    Exists,
}

impl Store {
    /// Makes the administrator, or gives the existing one this password.
    pub(crate) fn ensure_admin(&self, id: &str, password: &Secret) -> Result<(), StoreError> {
        let created = self.create_account(&NewAccount {
            id,
            display_name: id,
            email: "",
            password,
            admin: true,
        })?;
        if created == CreateAccount::Exists {
            self.set_password(id, password)?;
        }
        Ok(())
    }

    /// Makes a user with a random password, unless there is one of this id.
    pub(crate) fn ensure_user(&self, id: &str) -> Result<(), StoreError> {
        self.create_account(&NewAccount {
            id,
            display_name: id,
            email: "",
            password: &Secret::new(random_alphanumeric(24)),
            admin: false,
        })?;
        Ok(())
    }

    /// As [`Self::ensure_user`], and cheap where there is one, which is nearly always.
    pub(crate) fn ensure_known(&self, id: &str) -> Result<(), StoreError> {
        if self.account(id)?.is_none() {
            self.ensure_user(id)?;
        }
        Ok(())
    }

    /// Creates a user.
    pub(crate) fn create_account(&self, new: &NewAccount<'_>) -> Result<CreateAccount, StoreError> {
        let (salt, hash) = salted(new.password);
        let display_name = if new.display_name.is_empty() {
            new.id
        } else {
            new.display_name
        };
        let rows = self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO accounts (id, display_name, email, admin, salt, password)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    new.id,
                    display_name,
                    new.email,
                    new.admin,
                    salt,
                    hash
                ])
        })?;
        Ok(if rows == 0 {
            CreateAccount::Exists
        } else {
            CreateAccount::Created
        })
    }

    /// The user of this id.
    pub(crate) fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT id, display_name, email, admin FROM accounts WHERE id = ?")?
                .query_row([id], account)
                .optional()
        })
    }

    /// Users whose id, display name or mail contains `search` anywhere, by id.
    pub(crate) fn search_accounts(
        &self,
        search: &str,
        limit: Option<u32>,
        offset: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, display_name, email, admin FROM accounts
                     WHERE instr(lower(id), ?1) OR instr(lower(display_name), ?1)
                        OR instr(lower(email), ?1)
                     ORDER BY id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(
                    params![search.to_lowercase(), limit.map_or(-1, i64::from), offset],
                    account,
                )?
                .collect()
        })
    }

    /// Changes a user's display name; false where there is no such user.
    pub(crate) fn set_display_name(&self, id: &str, value: &str) -> Result<bool, StoreError> {
        self.with(|connection| {
            let rows = connection
                .prepare_cached("UPDATE accounts SET display_name = ? WHERE id = ?")?
                .execute([value, id])?;
            Ok(rows > 0)
        })
    }

    /// Changes a user's mail address; false where there is no such user.
    pub(crate) fn set_email(&self, id: &str, value: &str) -> Result<bool, StoreError> {
        self.with(|connection| {
            let rows = connection
                .prepare_cached("UPDATE accounts SET email = ? WHERE id = ?")?
                .execute([value, id])?;
            Ok(rows > 0)
        })
    }

    /// Changes a user's login password; false where there is no such user.
    pub(crate) fn set_password(&self, id: &str, password: &Secret) -> Result<bool, StoreError> {
        let (salt, hash) = salted(password);
        self.with(|connection| {
            let rows = connection
                .prepare_cached("UPDATE accounts SET salt = ?, password = ? WHERE id = ?")?
                .execute(params![salt, hash, id])?;
            Ok(rows > 0)
        })
    }

    /// Deletes a user and all that is theirs; false where there is no such user.
    pub(crate) fn delete_account(&self, id: &str) -> Result<bool, StoreError> {
        self.with(|connection| {
            let rows = connection
                .prepare_cached("DELETE FROM accounts WHERE id = ?")?
                .execute([id])?;
            Ok(rows > 0)
        })
    }

    /// The user, if this is their login password.
    pub(crate) fn check_password(
        &self,
        id: &str,
        password: &str,
    ) -> Result<Option<Account>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, display_name, email, admin, salt, password FROM accounts WHERE id = ?",
                )?
                .query_row([id], |row| {
                    let salt: [u8; 16] = row.get(4)?;
                    let expected: [u8; 32] = row.get(5)?;
                    let right = hash(&salt, password) == expected;
                    Ok(if right { Some(account(row)?) } else { None })
                })
                .optional()
                .map(Option::flatten)
        })
    }

    /// The user, if this is one of their app passwords.
    pub(crate) fn check_app_password(
        &self,
        id: &str,
        password: &str,
    ) -> Result<Option<Account>, StoreError> {
        Ok(self
            .app_password_owner(password)?
            .filter(|account| account.id.eq_ignore_ascii_case(id)))
    }

    /// The user whose app password this is.
    pub(crate) fn app_password_owner(&self, password: &str) -> Result<Option<Account>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, display_name, email, admin FROM accounts
                     WHERE id = (SELECT account FROM app_passwords WHERE digest = ?)",
                )?
                .query_row([digest(password)], account)
                .optional()
        })
    }

    /// Gives the user a new app password of 72 characters.
    pub(crate) fn new_app_password(&self, id: &str, name: &str) -> Result<Secret, StoreError> {
        let password = random_alphanumeric(72);
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO app_passwords (digest, account, name, created) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![digest(&password), id, name, unix_now()])
        })?;
        Ok(Secret::new(password))
    }

    /// Deletes an app password; false where there is no such one.
    pub(crate) fn delete_app_password(&self, password: &str) -> Result<bool, StoreError> {
        self.with(|connection| {
            let rows = connection
                .prepare_cached("DELETE FROM app_passwords WHERE digest = ?")?
                .execute([digest(password)])?;
            Ok(rows > 0)
        })
    }
}

/// Reads `id, display_name, email, admin`.
fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: row.get(0)?,
        display_name: row.get(1)?,
        email: row.get(2)?,
        admin: row.get(3)?,
    })
}

/// A fast salted hash on purpose: a slow one would make every Basic request of a load test cost more
/// than what is tested, and these passwords live for one test.
fn salted(password: &Secret) -> ([u8; 16], [u8; 32]) {
    let salt: [u8; 16] = rand::random();
    (salt, hash(&salt, password.expose()))
}

fn hash(salt: &[u8; 16], password: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_their_passwords() {
        let store = Store::open(None).expect("a database in memory");
        let password = Secret::new("right");
        let new = NewAccount {
            id: "Alice",
            display_name: "",
            email: "a@example.org",
            password: &password,
            admin: false,
        };
        assert_eq!(store.create_account(&new).unwrap(), CreateAccount::Created);
        assert_eq!(store.create_account(&new).unwrap(), CreateAccount::Exists);
        assert!(store.check_password("alice", "right").unwrap().is_some());
        assert!(store.check_password("alice", "wrong").unwrap().is_none());
        assert!(store.check_password("bob", "right").unwrap().is_none());

        let app = store.new_app_password("alice", "test").unwrap();
        assert!(
            store
                .check_app_password("ALICE", app.expose())
                .unwrap()
                .is_some()
        );
        assert!(
            store
                .check_app_password("bob", app.expose())
                .unwrap()
                .is_none()
        );
        assert!(store.delete_account("alice").unwrap());
        assert!(!store.delete_account("alice").unwrap());
        assert!(store.app_password_owner(app.expose()).unwrap().is_none());
    }

    #[test]
    fn the_search_is_a_substring_search_in_all_three_fields() {
        let store = Store::open(None).expect("a database in memory");
        let password = Secret::new("x");
        for (id, display_name, email) in [
            ("loadtest_user_1", "One", ""),
            ("carol", "Carol LoadTest", ""),
            ("dave", "Dave", "dave@loadtest.example"),
            ("erin", "Erin", ""),
        ] {
            let new = NewAccount {
                id,
                display_name,
                email,
                password: &password,
                admin: false,
            };
            store.create_account(&new).unwrap();
        }
        let found = |limit, offset| -> Vec<String> {
            let accounts = store.search_accounts("loadtest", limit, offset).unwrap();
            accounts.into_iter().map(|account| account.id).collect()
        };
        assert_eq!(found(None, 0), ["carol", "dave", "loadtest_user_1"]);
        assert_eq!(found(Some(1), 1), ["dave"]);
    }
}
