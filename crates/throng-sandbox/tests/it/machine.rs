//! The OpenID Connect provider: tokens without anybody at a browser.

use serde_json::{Value, json};
use throng_sandbox::{NextcloudConfig, PreregisteredClient, Secret};

use crate::support::*;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

fn clients(config: &mut NextcloudConfig) {
    config.consent = false;
    for (id, secret) in [
        ("one", Some("secret-1")),
        ("two", Some("secret-2")),
        ("open", None),
    ] {
        config.clients.push(PreregisteredClient {
            id: id.to_owned(),
            secret: secret.map(Secret::new),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            jwt_access_tokens: false,
        });
    }
}

/// The status, and the error or the answer.
async fn ask(http: &mut Http, form: &[(&str, &str)]) -> (u16, Value) {
    let reply = http.post("/apps/oidc/token", form).await;
    let body = reply.json();
    let said = match body.get("error") {
        Some(error) => error.clone(),
        None => body,
    };
    (reply.status, said)
}

fn as_one<'a>(grant: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let client = [("client_id", "one"), ("client_secret", "secret-1")];
    grant.iter().copied().chain(client).collect()
}

async fn id_token(http: &mut Http) -> String {
    let application = Application {
        id: "one".to_owned(),
        secret: "secret-1".to_owned(),
        scope: "openid",
        resource: None,
    };
    let issued = tokens(http, &application).await;
    issued["id_token"].as_str().expect("an id token").to_owned()
}

#[tokio::test]
async fn credentials_are_a_clients_own_or_a_users() {
    let sandbox = sandbox(clients).await;
    let mut http = Http::new(&sandbox);
    let grant = ("grant_type", "client_credentials");
    let scope = ("scope", "openid notes.read offline_access");
    let resource = ("resource", sandbox.mcp_url());
    let (status, issued) = ask(&mut http, &as_one(&[grant, scope, resource])).await;
    assert_eq!(
        (status, &issued["scope"]),
        (200, &json!("notes.read")),
        "{issued}"
    );
    assert_eq!(
        (issued.get("id_token"), issued.get("refresh_token")),
        (None, None)
    );
    let access = issued["access_token"].as_str().unwrap();
    let (header, claims) = verified(&sandbox, &mut http, access, sandbox.mcp_url()).await;
    assert_eq!(header.typ.as_deref(), Some("at+JWT"));
    assert_eq!(claims["sub"], "service-account-one");

    let user = [("client_id", "admin"), ("client_secret", PASSWORD)];
    let (status, issued) = ask(&mut http, &[&[grant, scope][..], &user].concat()).await;
    assert_eq!(status, 200, "{issued}");
    for (client, error) in [
        (
            vec![("client_id", "one"), ("client_secret", "secret-2")],
            "invalid_client",
        ),
        (
            vec![("client_id", "admin"), ("client_secret", "wrong")],
            "invalid_client",
        ),
        (
            vec![("client_id", "nobody"), ("client_secret", "x")],
            "invalid_client",
        ),
        (vec![("client_id", "open")], "unauthorized_client"),
    ] {
        let (status, said) = ask(&mut http, &[&[grant][..], &client].concat()).await;
        assert!(status == 400 || status == 401, "{status}");
        assert_eq!(said, error, "{client:?}");
    }
}

#[tokio::test]
async fn tokens_are_exchanged_by_those_they_were_issued_to() {
    let sandbox = sandbox(clients).await;
    let mut http = Http::new(&sandbox);
    let id = id_token(&mut http).await;
    let exchange = |token: &str, kind: &str| {
        vec![
            ("grant_type".to_owned(), EXCHANGE.to_owned()),
            ("subject_token".to_owned(), token.to_owned()),
            ("subject_token_type".to_owned(), kind.to_owned()),
            ("resource".to_owned(), sandbox.mcp_url().to_owned()),
            ("scope".to_owned(), "notes.read".to_owned()),
        ]
    };
    let with = |form: &[(String, String)], client: (&str, &str)| -> Vec<(String, String)> {
        let mut form = form.to_vec();
        form.push(("client_id".to_owned(), client.0.to_owned()));
        form.push(("client_secret".to_owned(), client.1.to_owned()));
        form
    };
    let form = with(&exchange(&id, ID_TOKEN), ("one", "secret-1"));
    let (status, issued) = ask(&mut http, &borrowed(&form)).await;
    assert_eq!(
        (status, &issued["issued_token_type"]),
        (200, &json!(ACCESS_TOKEN)),
        "{issued}"
    );
    let access = issued["access_token"].as_str().unwrap();
    let (_, claims) = verified(&sandbox, &mut http, access, sandbox.mcp_url()).await;
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!("admin"), &json!("one"))
    );
    // An access token may be exchanged by whom it was given to.
    let form = with(&exchange(access, ACCESS_TOKEN), ("two", "secret-2"));
    assert_eq!(ask(&mut http, &borrowed(&form)).await.0, 200);

    let forged = format!("{}.AAAA", id.rsplit_once('.').unwrap().0);
    for (token, kind, client, error) in [
        (&*id, ID_TOKEN, ("two", "secret-2"), "invalid_grant"),
        (&forged, ID_TOKEN, ("one", "secret-1"), "invalid_grant"),
        (access, ID_TOKEN, ("one", "secret-1"), "invalid_grant"),
        (&id, ACCESS_TOKEN, ("one", "secret-1"), "invalid_grant"),
        (&id, "urn:x", ("one", "secret-1"), "invalid_request"),
        (access, ACCESS_TOKEN, ("open", ""), "invalid_grant"),
    ] {
        let form = with(&exchange(token, kind), client);
        let (status, said) = ask(&mut http, &borrowed(&form)).await;
        assert_eq!((status, &said), (400, &json!(error)), "{kind} {client:?}");
    }
}

#[tokio::test]
async fn identity_assertions_are_for_one_server_and_one_client() {
    let sandbox = sandbox(clients).await;
    let mut http = Http::new(&sandbox);
    let id = id_token(&mut http).await;
    let mut assertions = Vec::new();
    for audience in [sandbox.url(), "http://127.0.0.1:1"] {
        let form = as_one(&[
            ("grant_type", EXCHANGE),
            ("subject_token", &id),
            ("subject_token_type", ID_TOKEN),
            ("requested_token_type", ID_JAG),
            ("audience", audience),
            ("resource", sandbox.mcp_url()),
            ("scope", "notes.read notes.write"),
        ]);
        let (status, issued) = ask(&mut http, &form).await;
        assert_eq!(
            (status, &issued["issued_token_type"], &issued["token_type"]),
            (200, &json!(ID_JAG), &json!("N_A")),
            "{issued}"
        );
        assertions.push(issued["access_token"].as_str().unwrap().to_owned());
    }
    let [ours, theirs] = &assertions[..] else {
        panic!("two assertions")
    };
    let grant = ("grant_type", BEARER);
    let form = as_one(&[
        grant,
        ("assertion", ours),
        ("scope", "notes.read files.read"),
    ]);
    let (status, issued) = ask(&mut http, &form).await;
    // No more than what was asserted.
    assert_eq!(
        (status, &issued["scope"]),
        (200, &json!("notes.read")),
        "{issued}"
    );
    let access = issued["access_token"].as_str().unwrap();
    let (_, claims) = verified(&sandbox, &mut http, access, sandbox.mcp_url()).await;
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("admin"), &json!(sandbox.mcp_url()))
    );

    let other = [("client_id", "two"), ("client_secret", "secret-2")];
    for (form, error) in [
        (as_one(&[grant, ("assertion", theirs)]), "invalid_grant"),
        (as_one(&[grant, ("assertion", &id)]), "invalid_grant"),
        (as_one(&[grant]), "invalid_request"),
        (
            as_one(&[
                grant,
                ("assertion", ours),
                ("resource", "http://127.0.0.1:1/mcp"),
            ]),
            "invalid_target",
        ),
        (
            [&[grant, ("assertion", ours.as_str())][..], &other].concat(),
            "invalid_grant",
        ),
    ] {
        let (status, said) = ask(&mut http, &form).await;
        assert_eq!((status, &said), (400, &json!(error)), "{form:?}");
    }
}

fn borrowed(form: &[(String, String)]) -> Vec<(&str, &str)> {
    form.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
