//! The Nextcloud API, row by row of what a real one answers.

use serde_json::{Value, json};
use throng_sandbox::{Knobs, NextcloudConfig, NextcloudSandbox};

use crate::http::{Answer, Call};

/// A sandbox with the users `alice` and `bob`.
struct Cloud {
    sandbox: NextcloudSandbox,
}

const PASSWORD: &str = "Secret-Password-1";

impl Cloud {
    async fn start() -> Self {
        let config = NextcloudConfig {
            throttle: false,
            ..NextcloudConfig::default()
        };
        let cloud = Self {
            sandbox: NextcloudSandbox::start(config).await.expect("it starts"),
        };
        for user in ["alice", "bob"] {
            assert_eq!(cloud.create_user(user).await.status, 200);
        }
        cloud
    }

    fn call(&self, user: &str, method: &str, path: &str) -> Call {
        let (admin, secret) = self.sandbox.admin();
        let password = if user == admin { secret } else { PASSWORD };
        Call::new(method, &format!("{}{path}", self.sandbox.url()))
            .basic(user, password)
            .header("ocs-apirequest", "true")
            .header("accept", "application/json")
    }

    async fn create_user(&self, id: &str) -> Answer {
        let fields = [
            ("userid", id),
            ("password", PASSWORD),
            ("displayName", "Load Test User"),
            ("email", "someone@benchmark.local"),
        ];
        self.call("admin", "POST", "/ocs/v2.php/cloud/users")
            .form(&fields)
            .send()
            .await
    }

    async fn create_note(&self, user: &str, title: &str, content: &str) -> Value {
        let note = json!({ "title": title, "content": content, "category": "Test" });
        let answer = self
            .call(user, "POST", "/index.php/apps/notes/api/v1/notes")
            .json(&note)
            .send()
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn share(&self, path: &str, with: &str, permissions: &str) -> Answer {
        let fields = [
            ("path", path),
            ("shareWith", with),
            ("shareType", "0"),
            ("permissions", permissions),
        ];
        self.call("alice", "POST", SHARES)
            .form(&fields)
            .send()
            .await
    }

    async fn write(&self, user: &str, path: &str, content: &'static str) -> Answer {
        self.dav(user, "PUT", path)
            .body("text/plain", content)
            .send()
            .await
    }

    fn dav(&self, user: &str, method: &str, path: &str) -> Call {
        self.call(user, method, &format!("/remote.php/dav/files/{user}{path}"))
    }
}

const SHARES: &str = "/ocs/v2.php/apps/files_sharing/api/v1/shares";

fn status_code(answer: &Answer) -> i64 {
    answer.json()["ocs"]["meta"]["statuscode"]
        .as_i64()
        .expect("an OCS envelope")
}

#[tokio::test]
async fn users_are_created_read_edited_and_deleted() {
    let cloud = Cloud::start().await;
    let created = cloud.create_user("loadtest_user_1").await;
    assert_eq!(
        created.json(),
        json!({"ocs": {"meta": {"status": "ok", "statuscode": 200, "message": "OK"}, "data": {"id": "loadtest_user_1"}}})
    );
    let again = cloud.create_user("loadtest_user_1").await;
    assert_eq!((again.status.as_u16(), status_code(&again)), (400, 102));
    let odd = cloud.create_user("a/b").await;
    assert_eq!((odd.status.as_u16(), status_code(&odd)), (400, 101));
    let users = "/ocs/v2.php/cloud/users";
    let bare = cloud
        .call("admin", "POST", users)
        .form(&[("userid", "x")])
        .send()
        .await;
    assert_eq!((bare.status.as_u16(), status_code(&bare)), (400, 108));

    let one = "/ocs/v2.php/cloud/users/loadtest_user_1";
    let renamed = cloud
        .call("admin", "PUT", one)
        .form(&[("key", "displayname"), ("value", "New")]);
    assert_eq!(renamed.send().await.status, 200);
    let read = cloud.call("admin", "GET", one).send().await;
    assert_eq!(read.json()["ocs"]["data"]["displayname"], "New");
    let deleted = cloud.call("admin", "DELETE", one).send().await;
    assert_eq!(deleted.json()["ocs"]["data"], json!([]));
    let missing = cloud.call("admin", "DELETE", one).send().await;
    assert_eq!((missing.status.as_u16(), status_code(&missing)), (404, 998));
    assert_eq!(cloud.call("admin", "GET", one).send().await.status, 404);
}

#[tokio::test]
async fn the_user_search_finds_strangers_by_substring() {
    let cloud = Cloud::start().await;
    for user in [
        "loadtest_user_1",
        "xloadtest_user_1",
        "carol_loadtest",
        "loadtest_user_1x",
    ] {
        cloud.create_user(user).await;
    }
    let search = "/ocs/v2.php/cloud/users?search=LOADTEST&limit=2&offset=1";
    let found = cloud.call("admin", "GET", search).send().await;
    assert_eq!(
        found.json()["ocs"]["data"],
        json!({"users": ["loadtest_user_1", "loadtest_user_1x"]})
    );
    let by_mail = cloud.call(
        "admin",
        "GET",
        "/ocs/v2.php/cloud/users?search=benchmark.local",
    );
    let by_mail = by_mail.send().await.json();
    assert_eq!(
        by_mail["ocs"]["data"]["users"].as_array().map(Vec::len),
        Some(6)
    );
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let cloud = Cloud::start().await;
    let users = "/ocs/v2.php/cloud/users";
    let forbidden = cloud.call("alice", "GET", users).send().await;
    assert_eq!(
        (forbidden.status.as_u16(), status_code(&forbidden)),
        (403, 403)
    );
    let url = format!("{}{users}", cloud.sandbox.url());
    let wrong = Call::new("GET", &url)
        .basic("admin", "wrong")
        .header("ocs-apirequest", "true")
        .header("accept", "application/json")
        .send()
        .await;
    assert_eq!((wrong.status.as_u16(), status_code(&wrong)), (401, 997));
    assert!(wrong.header("www-authenticate").starts_with("Basic"));
    let (admin, password) = cloud.sandbox.admin();
    let without = Call::new("POST", &url).basic(admin, password).send().await;
    assert_eq!(without.json(), json!({"message": "CSRF check failed"}));
    let xml = Call::new("GET", &url).basic(admin, password).send().await;
    assert!(
        xml.body.contains("<element>alice</element>"),
        "{}",
        xml.body
    );
    let first = cloud
        .call("admin", "DELETE", "/ocs/v1.php/cloud/users/nobody")
        .send()
        .await;
    assert_eq!((first.status.as_u16(), status_code(&first)), (200, 998));
    let me = cloud
        .call("alice", "GET", "/ocs/v1.php/cloud/user")
        .send()
        .await;
    assert_eq!(
        (status_code(&me), &me.json()["ocs"]["data"]["id"]),
        (100, &json!("alice"))
    );
}

#[tokio::test]
async fn the_status_and_the_capabilities_are_public() {
    let cloud = Cloud::start().await;
    let url = |path: &str| format!("{}{path}", cloud.sandbox.url());
    let status = Call::new("GET", &url("/status.php")).send().await.json();
    assert_eq!(
        (&status["installed"], &status["maintenance"]),
        (&json!(true), &json!(false))
    );
    let path = "/ocs/v2.php/cloud/capabilities?format=json";
    let capabilities = Call::new("GET", &url(path)).send().await.json();
    assert!(capabilities["ocs"]["data"]["capabilities"]["notes"].is_null());
    let capabilities = cloud.call("alice", "GET", path).send().await.json();
    let apps = &capabilities["ocs"]["data"]["capabilities"];
    assert!(
        apps["notes"].is_object() && apps["files_sharing"].is_object() && apps["deck"].is_null()
    );
}

#[tokio::test]
async fn notes_keep_their_entity_tags() {
    let cloud = Cloud::start().await;
    let note = cloud.create_note("alice", "T", "one").await;
    let mut keys: Vec<_> = note.as_object().expect("an object").keys().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "category",
            "content",
            "error",
            "errorType",
            "etag",
            "favorite",
            "id",
            "modified",
            "readonly",
            "title"
        ]
    );
    let path = format!("/index.php/apps/notes/api/v1/notes/{}", note["id"]);
    let read = cloud.call("alice", "GET", &path).send().await;
    let etag = read.header("etag").to_owned();
    assert_eq!(
        etag,
        format!("\"{}\"", note["etag"].as_str().expect("a tag"))
    );
    let unchanged = cloud
        .call("alice", "GET", &path)
        .header("if-none-match", &etag);
    assert_eq!(unchanged.send().await.status, 304);

    let put = |content: &str| {
        let change = json!({ "content": content });
        cloud
            .call("alice", "PUT", &path)
            .header("if-match", &etag)
            .json(&change)
    };
    let written = put("two").send().await;
    assert_eq!(written.status, 200);
    assert_ne!(written.header("etag"), etag);
    let stale = put("three").send().await;
    assert_eq!(stale.status, 412);
    assert_eq!(
        stale.json()["content"],
        "two",
        "the body is the note as it stands"
    );

    assert_eq!(cloud.create_note("alice", "T", "").await["title"], "T (2)");
    assert_eq!(cloud.call("bob", "GET", &path).send().await.status, 404);
    assert_eq!(
        cloud.call("alice", "DELETE", &path).send().await.json(),
        json!([])
    );
    assert_eq!(
        cloud.call("alice", "DELETE", &path).send().await.status,
        404
    );
}

#[tokio::test]
async fn notes_are_listed_in_chunks() {
    let cloud = Cloud::start().await;
    for number in 0..5 {
        cloud
            .create_note("alice", &format!("N{number}"), "text")
            .await;
    }
    let base = "/index.php/apps/notes/api/v1/notes?chunkSize=2";
    let mut path = base.to_owned();
    let (mut full, mut pending) = (Vec::new(), Vec::new());
    loop {
        let answer = cloud.call("alice", "GET", &path).send().await;
        let notes = answer.json();
        let notes = notes.as_array().expect("a list");
        full.extend(
            notes
                .iter()
                .filter(|note| note["title"].is_string())
                .map(|note| note["id"].clone()),
        );
        let cursor = answer.header("x-notes-chunk-cursor");
        if cursor.is_empty() {
            assert_eq!(notes.len(), 5, "the last chunk names all notes");
            break;
        }
        pending.push(answer.header("x-notes-chunk-pending").to_owned());
        path = format!("{base}&chunkCursor={cursor}");
    }
    assert_eq!(full.len(), 5);
    assert_eq!(pending, ["3", "1"]);
}

#[tokio::test]
async fn a_shared_note_is_a_file_in_the_recipients_root_and_no_note() {
    let cloud = Cloud::start().await;
    let note = cloud.create_note("alice", "T1", "shared text").await;
    let shared = cloud.share("/Notes/Test/T1.md", "bob", "1").await;
    let share = shared.json()["ocs"]["data"].clone();
    assert_eq!(
        (&share["id"], &share["file_target"]),
        (&json!("1"), &json!("/T1.md"))
    );
    assert_eq!(
        (&share["item_source"], &share["share_with"]),
        (&note["id"], &json!("bob"))
    );

    let path = format!("/index.php/apps/notes/api/v1/notes/{}", note["id"]);
    assert_eq!(cloud.call("bob", "GET", &path).send().await.status, 404);
    let read = cloud.dav("bob", "GET", "/T1.md").send().await;
    assert_eq!(
        (read.status.as_u16(), read.body.as_str()),
        (200, "shared text")
    );
    assert_eq!(
        cloud.write("bob", "/T1.md", "mine").await.status,
        403,
        "read-only"
    );

    let again = cloud.share("/Notes/Test/T1.md", "bob", "15").await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["ocs"]["data"]["id"]),
        (200, &json!("1"))
    );
    let one = format!("{SHARES}/1");
    let raised = cloud
        .call("alice", "PUT", &one)
        .form(&[("permissions", "3")])
        .send()
        .await;
    assert_eq!(raised.json()["ocs"]["data"]["permissions"], 3);
    assert_eq!(cloud.write("bob", "/T1.md", "mine").await.status, 204);
    let changed = cloud.call("alice", "GET", &path).send().await.json();
    assert_eq!(changed["content"], "mine");
    assert_ne!(changed["etag"], note["etag"]);

    let incoming = cloud.call("bob", "GET", &format!("{SHARES}?shared_with_me=true"));
    let incoming = incoming.send().await.json()["ocs"]["data"].clone();
    assert_eq!(
        (incoming.as_array().map(Vec::len), &incoming[0]["path"]),
        (Some(1), &json!("/T1.md"))
    );
    assert_eq!(cloud.call("alice", "DELETE", &one).send().await.status, 200);
    assert_eq!(cloud.call("alice", "DELETE", &one).send().await.status, 404);
    assert_eq!(cloud.dav("bob", "GET", "/T1.md").send().await.status, 404);
}

#[tokio::test]
async fn wrong_shares_are_refused() {
    let cloud = Cloud::start().await;
    cloud.write("alice", "/a.txt", "x").await;
    for (path, with, permissions, status) in [
        ("/none.txt", "bob", "1", 404),
        ("/a.txt", "nobody", "1", 404),
        ("/a.txt", "alice", "1", 403),
        ("/a.txt", "bob", "8", 400),
    ] {
        let answer = cloud.share(path, with, permissions).await;
        let found = (answer.status.as_u16(), status_code(&answer));
        assert_eq!(
            found,
            (status, i64::from(status)),
            "{path} {with} {permissions}"
        );
    }
}

#[tokio::test]
async fn a_share_takes_its_time_to_propagate() {
    let cloud = Cloud::start().await;
    cloud.write("alice", "/a.txt", "x").await;
    let knobs = Knobs {
        share_propagation_ms: 86_400_000,
        ..Knobs::default()
    };
    cloud.sandbox.knobs().set(knobs).expect("valid knobs");
    assert_eq!(cloud.share("/a.txt", "bob", "1").await.status, 200);
    let incoming = cloud.call("bob", "GET", &format!("{SHARES}?shared_with_me=true"));
    assert_eq!(incoming.send().await.json()["ocs"]["data"], json!([]));
    assert_eq!(cloud.dav("bob", "GET", "/a.txt").send().await.status, 404);
    let outgoing = cloud.call("alice", "GET", SHARES).send().await.json();
    assert_eq!(outgoing["ocs"]["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn webdav_answers_as_sabre_does() {
    let cloud = Cloud::start().await;
    let created = cloud.write("alice", "/a b.txt", "one").await;
    // A space in a URL travels encoded; the URL parser of the client does that.
    assert_eq!(created.status, 201);
    assert!(!created.header("oc-fileid").is_empty());
    assert_eq!(created.header("etag"), created.header("oc-etag"));
    assert_eq!(cloud.write("alice", "/a b.txt", "two").await.status, 204);
    let only_new = cloud
        .dav("alice", "PUT", "/a b.txt")
        .header("if-none-match", "*");
    assert_eq!(only_new.send().await.status, 412);
    assert_eq!(cloud.write("alice", "/D/x.txt", "x").await.status, 404);
    assert_eq!(cloud.dav("alice", "MKCOL", "/D").send().await.status, 201);
    assert_eq!(cloud.dav("alice", "MKCOL", "/D").send().await.status, 405);
    assert_eq!(cloud.dav("alice", "MKCOL", "/E/F").send().await.status, 409);

    let names = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop><d:getetag/>\
                 <oc:fileid/><d:resourcetype/></d:prop></d:propfind>";
    let find = |depth: &str| {
        cloud
            .dav("alice", "PROPFIND", "/")
            .header("depth", depth)
            .body("application/xml", names)
    };
    let root = find("0").send().await;
    assert_eq!(root.status, 207);
    assert_eq!(root.body.matches("<d:response>").count(), 1);
    let listed = find("1").send().await.body;
    assert_eq!(listed.matches("<d:response>").count(), 3);
    assert!(
        listed.contains("<d:href>/remote.php/dav/files/alice/a%20b.txt</d:href>"),
        "{listed}"
    );

    let other = cloud
        .call("alice", "GET", "/remote.php/dav/files/bob/x")
        .send()
        .await;
    assert_eq!(other.status, 404);
    assert_eq!(cloud.dav("alice", "DELETE", "/D").send().await.status, 204);
    let gone = cloud.dav("alice", "DELETE", "/D").send().await;
    assert_eq!(gone.status, 404);
    assert!(
        gone.body
            .contains("<s:exception>Sabre\\DAV\\Exception\\NotFound</s:exception>")
    );
    let anonymous = Call::new(
        "PROPFIND",
        &format!("{}/remote.php/dav/", cloud.sandbox.url()),
    );
    assert_eq!(anonymous.send().await.status, 401);
}

#[tokio::test]
async fn the_principal_leads_to_the_calendars() {
    let cloud = Cloud::start().await;
    let find = |path: &str, names: &str| {
        let body = format!(
            "<propfind xmlns=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:caldav\"><prop>{names}</prop></propfind>"
        );
        cloud
            .call("alice", "PROPFIND", path)
            .header("depth", "1")
            .body("application/xml", body)
    };
    let principal = find("/remote.php/dav/", "<current-user-principal/>")
        .send()
        .await
        .body;
    assert!(principal.contains("<d:href>/remote.php/dav/principals/users/alice/</d:href>"));
    let path = "/remote.php/dav/principals/users/alice/";
    let home = find(path, "<c:calendar-home-set/>").send().await.body;
    assert!(
        home.contains("<d:href>/remote.php/dav/calendars/alice/</d:href>"),
        "{home}"
    );
    let path = "/remote.php/dav/calendars/alice/";
    let calendars = find(path, "<displayname/><resourcetype/>")
        .send()
        .await
        .body;
    assert_eq!(
        calendars.matches("<cal:calendar/>").count(),
        1,
        "{calendars}"
    );
}

#[tokio::test]
async fn deleting_a_user_deletes_what_they_had_and_shared() {
    let cloud = Cloud::start().await;
    cloud.write("alice", "/a.txt", "x").await;
    cloud.share("/a.txt", "bob", "1").await;
    assert_eq!(
        cloud
            .call("admin", "DELETE", "/ocs/v2.php/cloud/users/alice")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(cloud.dav("bob", "GET", "/a.txt").send().await.status, 404);
    assert_eq!(cloud.create_user("alice").await.status, 200);
    assert_eq!(cloud.dav("alice", "GET", "/a.txt").send().await.status, 404);
    let root = cloud
        .dav("alice", "PROPFIND", "/")
        .header("depth", "0")
        .send()
        .await;
    assert_eq!(root.status, 207, "the new account has a home of its own");
}
