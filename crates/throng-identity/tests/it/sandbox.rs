//! The whole way on the sandbox: its provider, its pages, its users.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, header};
use serde_json::Value;
use throng_client::Client;
use throng_client::mcp::Authorize;
use throng_identity::cleanup::{CleanupOptions, clean_run};
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::directory::nextcloud::Nextcloud;
use throng_identity::directory::{Deletion, Directory, DirectoryError, NewUser};
use throng_identity::discovery::{Flow, discover_issuer};
use throng_identity::hooks::{Hook, HookAuth, SaveFrom, Values};
use throng_identity::ledger::{Ledger, RunId};
use throng_identity::login::{
    FormLogin, FormPage, LoginDriver, LoginPlan, Problem, Purpose, log_in, log_in_by_form,
};
use throng_identity::provision::{
    Identity, LoginWay, ProvisionError, ProvisionEvent, ProvisionPlan, Provisioned, oauth_client,
    provision,
};
use throng_identity::registration::{ClientSource, OAuthClient, RegistrationRequest};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Secret, TokenCell, scopes};
use throng_sandbox::{NextcloudConfig, NextcloudSandbox};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::provider::{REDIRECT, client, connector};
use crate::support::cleaned;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A sandbox, an administrator's view of it, a ledger and a registered client.
pub(crate) struct World {
    pub(crate) sandbox: NextcloudSandbox,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) ledger: Ledger,
    run: RunId,
    _state: tempfile::TempDir,
}

/// The tokens of somebody who logged in by OAuth.
fn tokens(identity: &Identity) -> &TokenCell {
    identity.tokens.as_ref().expect("an OAuth login")
}

impl World {
    pub(crate) async fn start(config: NextcloudConfig) -> Self {
        let sandbox = NextcloudSandbox::start(config).await.unwrap();
        let (admin, password) = sandbox.admin();
        let directory = Arc::new(directory(&sandbox, admin, password));
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&state.path().join("ledger.sqlite")).unwrap();
        Self {
            run: ledger.begin_run().unwrap(),
            directory,
            ledger,
            _state: state,
            sandbox,
        }
    }

    async fn login(&self) -> (Arc<LoginPlan>, OAuthClient) {
        let admin = client();
        let (issuer, resource) = (self.sandbox.url(), Some(self.sandbox.mcp_url()));
        let authorization = discover_issuer(Flow::Code, &admin, issuer, resource, TIMEOUT)
            .await
            .unwrap();
        let wanted = ["openid", "profile", "email"].map(str::to_owned);
        let scopes = scopes::choose(&scopes::Known {
            wanted: Some(&wanted),
            server: &authorization.server_scopes,
            ..Default::default()
        });
        let redirect_uri = Url::parse(REDIRECT).unwrap();
        let request = RegistrationRequest {
            client_name: "throng test".into(),
            redirect_uri: redirect_uri.clone(),
            scopes: scopes.clone(),
        };
        let known = (&self.ledger, &self.run);
        let oauth_client = oauth_client(
            &ClientSource::Dynamic,
            &admin,
            &authorization,
            &request,
            known,
            TIMEOUT,
        )
        .await
        .unwrap();
        let plan = LoginPlan::new(
            Arc::new(authorization),
            Arc::new(oauth_client.clone()),
            redirect_uri,
            scopes,
        );
        (Arc::new(plan), oauth_client)
    }

    fn plan(&self, users: u32, login: Arc<LoginPlan>) -> ProvisionPlan {
        let url = format!("{}/ocs/v2.php/core/getapppassword", self.sandbox.url());
        let app_password = Hook {
            headers: vec![("OCS-APIRequest".into(), "true".into())],
            auth: HookAuth::Basic {
                user: "{name}".into(),
                password: "{password}".into(),
            },
            expect: vec![200],
            save: vec![(
                "app_password".into(),
                SaveFrom::Path("$.ocs.data.apppassword".into()),
            )],
            ..Hook::new("app_password", Method::GET, url)
        };
        ProvisionPlan {
            users,
            prefix: Prefix::new("loadtest").unwrap(),
            names: NameTemplates::default(),
            known: None,
            directory: Some(self.directory.clone()),
            connector: connector(),
            login: LoginWay::OAuth(login),
            password: None,
            after_login: [app_password].into(),
            timeout: Duration::from_secs(30),
            concurrency: 8,
            retry: RetryPolicy::default(),
            stop_at_failure: false,
            login_grace: None,
            run: self.run.clone(),
        }
    }

    async fn provision(&self, plan: &ProvisionPlan) -> Provisioned {
        provision(
            plan,
            &self.ledger,
            &CancellationToken::new(),
            Arc::new(|_| {}),
        )
        .await
    }

    pub(crate) async fn users(&self) -> BTreeSet<String> {
        self.directory.list("").await.unwrap().into_iter().collect()
    }
}

fn directory(sandbox: &NextcloudSandbox, admin: &str, password: &str) -> Nextcloud {
    Nextcloud::new(
        Client::new(&connector()),
        Url::parse(sandbox.url()).unwrap(),
        admin,
        Secret::new(password),
        TIMEOUT,
    )
}

pub(crate) fn user(name: &str) -> NewUser {
    NewUser {
        name: name.into(),
        display_name: format!("The {name}"),
        email: format!("{name}@benchmark.local"),
        password: Secret::new("Corr3ct-horse!"),
    }
}

async fn who(
    client: &Client,
    sandbox: &NextcloudSandbox,
    authorization: http::HeaderValue,
) -> Value {
    let request = Request::get(format!("{}/apps/oidc/userinfo", sandbox.url()))
        .header(header::AUTHORIZATION, authorization)
        .body(Bytes::new())
        .unwrap();
    let answer = client
        .without_cookies()
        .send(request, TIMEOUT)
        .await
        .unwrap();
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_created_logged_in_and_removed() {
    let world = World::start(NextcloudConfig::default()).await;
    world.directory.check().await.unwrap();
    let before = world.users().await;
    let (login, oauth_client) = world.login().await;
    let plan = world.plan(12, login);
    let registration = oauth_client.registration.unwrap();
    let provisioned = world.provision(&plan).await;
    assert!(
        provisioned.failures.is_empty(),
        "{:?}",
        provisioned.failures
    );
    assert_eq!(
        (
            provisioned.identities.len(),
            provisioned.timings.len(),
            provisioned.not_started
        ),
        (12, 12, 0)
    );
    for (i, identity) in provisioned.identities.iter().enumerate() {
        assert_eq!(
            (identity.index as usize, identity.name.clone()),
            (i, format!("loadtest_user_{}", i + 1))
        );
        assert_eq!(identity.saved["app_password"].expose().len(), 72);
        let info = who(
            &identity.client,
            &world.sandbox,
            tokens(identity).authorization().unwrap(),
        )
        .await;
        assert_eq!(info["sub"], identity.name.as_str());
    }
    let timings = &provisioned.timings[0];
    assert!(timings.create.is_some() && timings.login.is_some() && timings.after_login.is_some());
    let purposes: Vec<_> = timings.hops.iter().map(|hop| hop.purpose).collect();
    assert!(
        purposes.contains(&Purpose::Credentials) && purposes.contains(&Purpose::Consent),
        "{purposes:?}"
    );
    assert_eq!(world.ledger.open_entries().unwrap().len(), 13);
    assert_eq!(world.users().await.len(), before.len() + 12);

    let cancel = CancellationToken::new();
    let admin = client();
    let options = CleanupOptions::default();
    let report = clean_run(
        &plan.run,
        Some(&world.directory),
        Some((&admin, &registration)),
        &world.ledger,
        &options,
        &cancel,
        &|_| {},
    )
    .await
    .unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        (report.deleted.len(), report.clients_deleted.len()),
        (12, 1)
    );
    assert_eq!(world.users().await, before);
    assert!(world.ledger.open_entries().unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_named_and_tried_once() {
    let world = World::start(NextcloudConfig::default()).await;
    let (plan, _) = world.login().await;
    world.directory.create(&user("alice")).await.unwrap();
    let error = log_in(&plan, &client(), "alice", &Secret::new("wrong"))
        .await
        .unwrap_err();
    assert!(matches!(error.problem(), Problem::Credentials), "{error}");
    assert_eq!(
        (error.attempts(), error.said()),
        (1, Some("invalidpassword"))
    );
    // The page now names a delay for this address, which is kept to and the login succeeds.
    log_in(&plan, &client(), "alice", &user("alice").password)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_login_works_with_and_without_consent() {
    for consent in [true, false] {
        let world = World::start(NextcloudConfig {
            consent,
            ..NextcloudConfig::default()
        })
        .await;
        let (plan, _) = world.login().await;
        world.directory.create(&user("alice")).await.unwrap();
        let identity = client();
        let login = log_in(&plan, &identity, "alice", &user("alice").password)
            .await
            .unwrap();
        assert_eq!(login.tokens.claims.unwrap().sub, "alice");
        assert_eq!(
            login.hops.iter().any(|hop| hop.purpose == Purpose::Consent),
            consent
        );
        // The provider's session is still good: no form is needed the second time.
        let again = log_in(&plan, &identity, "alice", &user("alice").password)
            .await
            .unwrap();
        assert!(
            again
                .hops
                .iter()
                .all(|hop| hop.purpose != Purpose::Credentials),
            "{:#?}",
            again.hops
        );
    }
}

#[tokio::test]
async fn expired_tokens_are_renewed_with_rotation() {
    let mut config = NextcloudConfig::default();
    config.knobs.token_lifetime_s = 60;
    let world = World::start(config).await;
    let (plan, _) = world.login().await;
    let provisioned = world.provision(&world.plan(1, plan)).await;
    let identity = &provisioned.identities[0];
    for round in 1..=3 {
        let stale = tokens(identity).authorization().unwrap();
        let waiters = join_all((0..20).map(|_| tokens(identity).renew(&stale))).await;
        assert!(waiters.iter().all(Result::is_ok), "{waiters:?}");
        assert_eq!(
            (
                tokens(identity).stats().refreshes,
                tokens(identity).stats().logins
            ),
            (round, 0)
        );
        let info = who(
            &identity.client,
            &world.sandbox,
            tokens(identity).authorization().unwrap(),
        )
        .await;
        assert_eq!(info["sub"], "loadtest_user_1");
    }
}

#[tokio::test]
async fn directory_refusals_are_explained() {
    let world = World::start(NextcloudConfig::default()).await;
    world.directory.create(&user("alice")).await.unwrap();
    let error = world.directory.create(&user("alice")).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Exists { .. }));
    assert!(
        error.to_string().contains("user alice exists already")
            && error.to_string().contains("throng cleanup"),
        "{error}"
    );
    let error = world.directory.create(&user("a#b")).await.unwrap_err();
    assert!(
        matches!(error, DirectoryError::Refused { code: 101, .. }),
        "{error}"
    );
    let nothing = NewUser {
        password: Secret::new(""),
        email: String::new(),
        ..user("bob")
    };
    let error = world.directory.create(&nothing).await.unwrap_err();
    assert!(
        matches!(error, DirectoryError::Refused { code: 108, .. }),
        "{error}"
    );
    assert_eq!(
        world.directory.delete("nobody").await.unwrap(),
        Deletion::AlreadyGone
    );

    let wrong = directory(&world.sandbox, "admin", "wrong");
    assert!(matches!(
        wrong.check().await,
        Err(DirectoryError::Unauthorized { .. })
    ));
    let plain = directory(&world.sandbox, "alice", user("alice").password.expose());
    assert!(matches!(
        plain.check().await,
        Err(DirectoryError::Forbidden { .. })
    ));
    assert!(matches!(
        plain.create(&user("eve")).await,
        Err(DirectoryError::Forbidden { .. })
    ));
    let elsewhere = Nextcloud::new(
        client(),
        Url::parse("http://127.0.0.1:1/").unwrap(),
        "admin",
        Secret::new("x"),
        TIMEOUT,
    );
    assert!(matches!(
        elsewhere.check().await,
        Err(DirectoryError::Transport { .. })
    ));
}

#[tokio::test]
async fn an_existing_user_fails_alone_and_is_not_cleaned_up() {
    let world = World::start(NextcloudConfig::default()).await;
    world
        .directory
        .create(&user("loadtest_user_2"))
        .await
        .unwrap();
    let (login, _) = world.login().await;
    let plan = world.plan(3, login);
    let provisioned = world.provision(&plan).await;
    assert_eq!(
        provisioned
            .identities
            .iter()
            .map(|i| i.n)
            .collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(provisioned.identities[1].index, 1, "dense");
    let [
        (
            2,
            ProvisionError::Create {
                source: DirectoryError::Exists { .. },
                ..
            },
        ),
    ] = &provisioned.failures[..]
    else {
        panic!("{:?}", provisioned.failures)
    };
    let report = cleaned(&plan, &world.ledger).await;
    assert_eq!(report.deleted, ["loadtest_user_1", "loadtest_user_3"]);
    assert!(world.users().await.contains("loadtest_user_2"));
}

#[tokio::test]
async fn users_of_failed_and_interrupted_logins_are_cleaned_up() {
    let world = World::start(NextcloudConfig::default()).await;
    let before = world.users().await;
    let (login, _) = world.login().await;
    // Every login fails: the client is not known to the provider.
    let unknown = OAuthClient {
        id: "unknown".into(),
        ..(*login.oauth_client).clone()
    };
    let failing = LoginPlan {
        oauth_client: Arc::new(unknown),
        retry: RetryPolicy::once(),
        ..(*login).clone()
    };
    let plan = world.plan(4, Arc::new(failing));
    let provisioned = world.provision(&plan).await;
    assert_eq!(
        (provisioned.identities.len(), provisioned.failures.len()),
        (0, 4)
    );
    assert!(
        provisioned
            .failures
            .iter()
            .all(|(_, error)| matches!(error, ProvisionError::Login(_))),
        "{:?}",
        provisioned.failures
    );
    let report = cleaned(&plan, &world.ledger).await;
    assert_eq!(report.deleted.len(), 4);

    // Interrupted when the first user exists: whatever was begun is known, and goes.
    let plan = ProvisionPlan {
        concurrency: 2,
        ..world.plan(30, login)
    };
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let on_event = Arc::new(move |event: ProvisionEvent<'_>| {
        if matches!(event, ProvisionEvent::Created(..)) {
            stop.cancel();
        }
    });
    let provisioned = provision(&plan, &world.ledger, &cancel, on_event).await;
    assert!(provisioned.not_started >= 28, "{provisioned:?}");
    assert!(
        provisioned
            .failures
            .iter()
            .all(|(_, error)| matches!(error, ProvisionError::Interrupted { .. }))
    );
    let report = cleaned(&plan, &world.ledger).await;
    assert!(
        report.is_complete() && !report.deleted.is_empty(),
        "{report:?}"
    );
    assert_eq!(world.users().await, before);
}

#[tokio::test]
async fn the_way_from_the_mcp_url_is_found() {
    let world = World::start(NextcloudConfig::default()).await;
    let url = Url::parse(world.sandbox.mcp_url()).unwrap();
    let found = throng_identity::discovery::discover(&client(), &url, TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (found.issuer.as_str(), found.resource.as_deref()),
        (world.sandbox.url(), Some(world.sandbox.mcp_url()))
    );
    assert!(
        found
            .resource_scopes
            .iter()
            .any(|scope| scope == "notes.read"),
        "{found:?}"
    );
}

#[tokio::test]
async fn nextclouds_own_login_page_is_one_that_a_scenario_may_name() {
    let world = World::start(NextcloudConfig::default()).await;
    let (name, password) = ("loadtest_user_1", Secret::new("n0body-knows-this-one"));
    let user = NewUser {
        name: name.to_owned(),
        display_name: "One".to_owned(),
        email: "one@example.com".to_owned(),
        password: password.clone(),
    };
    world.directory.create(&user).await.unwrap();
    let login = FormLogin {
        driver: LoginDriver::Http,
        form: FormPage {
            name: "login".to_owned(),
            page: format!("{}/login", world.sandbox.url()),
            fields: Vec::new(),
        },
        logged_in: None,
        timeout: TIMEOUT,
        retry: RetryPolicy::once(),
    };
    let mut values = Values::from([("name".to_owned(), Secret::new(name))]);
    values.insert("password".to_owned(), password.clone());
    let client = Client::with_cookies(&connector());
    let session = log_in_by_form(&login, &client, name, &password, &values).await;
    assert!(session.is_ok(), "{session:?}");

    let wrong = Secret::new("another-one-of-nobody");
    let client = Client::with_cookies(&connector());
    let error = log_in_by_form(&login, &client, name, &wrong, &values)
        .await
        .unwrap_err();
    assert!(matches!(error.problem(), Problem::Credentials), "{error}");
}
