//! What people are told about their mistakes.

use throng_workflow::{Environment, Overrides, ScenarioFile};

use crate::format::environment;

fn problems_with(source: &str, overrides: &Overrides) -> String {
    match ScenarioFile::parse(
        "my.yaml",
        source,
        overrides,
        &Environment::new(&environment),
    ) {
        Ok(_) => panic!("no problem was found"),
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            all.join("\n\n")
        }
    }
}

fn problems(source: &str) -> String {
    problems_with(source, &Overrides::default())
}

/// A file whose only workflow has these steps, indented by six.
fn steps(actors: &str, steps: &str) -> String {
    problems(&format!(
        "name: t\ntarget: {{ url: \"http://localhost/mcp\" }}\nusers: {{ count: 4 }}\nworkflows:\n  w:\n    actors: {actors}\n    steps:\n{steps}"
    ))
}

snapshot!(
    syntax,
    problems("name: t\ntarget: { url: \"x\nworkflows: 3")
);
snapshot!(duplicate_key, problems("name: t\nname: u\n"));
snapshot!(empty, problems(""));
snapshot!(not_a_map, problems("- a\n- b\n"));
snapshot!(missing_keys, problems("description: nothing else\n"));

snapshot!(
    many_at_once,
    problems(
        "nam: t
target: { protocl: mcp, url: localhost:80, timeout: 30 }
directory: { kind: nextclod, url: \"${NEXTCLOUD_HOST}\", admin: \"${NOBODY}\", password: 1234 }
users: { count: many, prefix: \"a b\", name: \"{prefix}-{m}\" }
load: { duration: 0s, warmup: 5 minutes, rate: 5/day, queue: 3 }
workload: mixd
workloads:
  mixed: { w: 50, nothing: -1, v: 0 }
  none: { w: 0 }
workflows:
  w:
    actors: [alice, bob]
    steps:
      - one: { as: alcie, call: a_tool, with: { x: \"{uid}\" }, save: { note: $.id } }
      - two: { as: bob, cal: a_tool }
      - three: { as: bob, call: a_tool, with: { n: \"{nte}\", m: \"{note\" }, chekc: { path: id, equals: 1 } }
"
    )
);

snapshot!(too_few_users, {
    let overrides = Overrides {
        users: Some(1),
        ..Overrides::default()
    };
    problems_with(
        "name: t
target: { url: \"http://localhost/mcp\" }
workflows:
  w: { actors: [a, { others: 2..5 }], steps: [ { s: { as: a, call: t } } ] }
",
        &overrides,
    )
});

snapshot!(bad_flags, {
    let overrides = Overrides {
        url: Some("ftp://x".to_owned()),
        rate: Some("fast".to_owned()),
        workload: Some("baselin".to_owned()),
        prefix: Some(String::new()),
        ..Overrides::default()
    };
    problems_with(
        throng_workflow::builtin::scenario("nextcloud").unwrap(),
        &overrides,
    )
});

snapshot!(actors, {
    steps(
        "[{ first: 2 }, bob, bob, { editors: 0 }, { all: rest }, \"9x\"]",
        "      - s: { as: editors, call: t }
      - t: { call: t }
      - for_each: bob
        in: editors
        steps: []
      - for_each: one
        in: bob
        steps: []
      - for_each: one
        in: edtors
        steps: []
",
    )
});

snapshot!(variables, {
    steps(
        "[me, { others: 2 }]",
        "      - early: { as: me, call: t, with: { a: \"{later}\", b: \"{me}\", c: \"{me.nam}\", d: \"{uidd}\", e: \"{you.name}\", f: \"{others.name}\" } }
      - late: { as: me, call: t, save: { later: $.id, uid: $.id, me: $.id, a-b: $.id, me.name: $.id, me.thing: $.id } }
      - ok: { as: me, call: t, with: { a: \"{later}\", b: \"{me.thing}\" } }
      - for_each: one
        in: others
        steps:
          - inner: { as: one, call: t, save: { inside: $.id, one.own: $.id, later: $.id } }
          - inner_ok: { as: one, call: t, with: { a: \"{inside}\", b: \"{one.own}\" } }
      - outside: { as: me, call: t, with: { a: \"{inside}\", b: \"{one.own}\" } }
      - for_each: again
        in: others
        steps:
          - again_ok: { as: again, call: t, with: { b: \"{again.own}\" } }
      - parallel:
          - left: { as: me, call: t, save: { l: $.id, same: $.id } }
          - right: { as: me, call: t, with: { l: \"{l}\" }, save: { same: $.id } }
      - after: { as: me, call: t, with: { l: \"{l}\" }, append_to: { things: \"{l}\" } }
      - lists: { as: me, call: t, with: { l: \"{things}\", m: \"{thinks}\" } }
",
    )
});

snapshot!(step_keys, {
    steps(
        "[me]",
        "      - nothing: {}
      - both: { call: t, resource: \"x://y\" }
      - same: { call: t }
      - same: { call: t }
      - arguments: { call: t, with: [1] }
      - alone: { resource: \"x://y\", with: { a: \"{uid}\" } }
      - bad_paths: { call: t, save: { x: id, y: \"$.a[\", z: 3 } }
      - bad_checks: { call: t, check: [ { path: $.x }, { path: $.x, matches: \"(\" }, { path: $.x, count_missing: lost }, { path: $.x, type: text } ] }
      - bad_until: { call: t, until: { path: $.x, exists: yes, every: 0ms, within: soon } }
      - bad_refusal: { call: t, refused: { count: \"no good\" }, or_else: [] }
      - no_refusal: { call: t, or_else: [ { pause: 1s } ] }
      - wrong_indent:
        call: t
      - just a text
      - parallel: [ { only: { call: t } } ]
      - one_of: [ { weight: 0, steps: [] } ]
      - pause: 1 second
",
    )
});

snapshot!(placeholders_without_quotes, {
    steps(
        "[me]",
        "      - make: { call: t, save: { note: $.id } }
      - bare: { call: t, with: { note_id: {note}, who: {me.name}, n: { note | int }, list: [ {note} ], meant: { note: null }, too: {} } }
      - checked: { call: t, check: { path: {note}, contains: {note} }, append_to: { all: {note} } }
      - block:
          call: t
          with:
            note:
",
    )
});

// A cause is told, and not what only follows from it.
snapshot!(missing_dash, {
    steps(
        "[me, you]",
        "      - write: { as: me, call: t, save: { note: $.id } }
        share: { as: me, call: t, with: { note: \"{note}\" }, save: { share: $.id } }
      - find: { as: you, call: t, with: { share: \"{share}\" } }
        parallel:
          - left: { as: me, call: t, save: { l: $.id } }
          - right: { as: you, call: t }
      - for_each: one
        in: nobody
        steps: []
        after: { as: me, call: t, save: { x: $.id } }
      - delete: { as: me, call: t, with: { share: \"{share}\", note: \"{note}\", l: \"{l}\", x: \"{x}\", y: \"{y}\" } }
",
    )
});

snapshot!(what_a_mistake_hides, {
    problems(
        "name: t
target: { url: \"http://localhost/mcp\" }
users: { count: four }
load: { duration: 8 sec }
thresholds: [ \"lost==0\", \"refusals==0\", \"w.bad.p95<1s\", \"error_rate<1\" ]
workflows:
  w:
    actors: [me, you]
    steps:
      - a: { as: me, call: t, refuse: { error: x, count: refusals } }
      - b: { as: me, call: t, until: { path: $.x, exists: true, every: 20 } }
      - c: { as: me, call: t, sav: { c: $.id } }
      - d: { as: me, call: t, with: { c: \"{c}\" }, keep: { d: $.id } }
      - e: { as: me, call: t, with: { d: \"{d}\" } }
  v:
    actors: me
    steps:
      - a: { as: me, call: t, with: { u: \"{unknown}\" } }
  u:
    actors: [me]
    steps:
      - a: { as: me, call: t, with: { u: \"{unknown}\" } }
",
    )
});

snapshot!(too_many_users, {
    problems(
        "name: t
target: { url: \"http://localhost/mcp\" }
users: { count: 1000001 }
workflows: { w: { actors: [a], steps: [ { s: { call: t } } ] } }
",
    )
});

snapshot!(another_workload_would_fit, {
    let overrides = Overrides {
        users: Some(1),
        duration: Some(std::time::Duration::ZERO),
        ..Overrides::default()
    };
    problems_with(
        "name: t
target: { url: \"http://localhost/mcp\" }
load: { duration: 8s }
workloads: { both: { w: 1, v: 1 }, light: { v: 1 } }
workflows:
  w: { actors: [a, b], steps: [ { s: { as: a, call: t } } ] }
  v: { actors: [a], steps: [ { s: { call: t } } ] }
",
        &overrides,
    )
});

snapshot!(syntax_is_seen_late, {
    let cases = [
        "name: t\ntarget\n  url: \"x\"\nworkflows: {}\n",
        "name: t\ntarget: { url: \"x\"\n\n# a note\nworkflows: {}\n",
        "name: t\nworkflows:\n  w:\n    actors: [a]\n   steps: []\n",
        "name: t\nworkflows:\n  w:\n    steps:\n      - s:\n          call t\n          with: {}\n",
        "name: t\nload:\n\tduration: 1s\n",
        "name: a: b\n",
        "name: t\nusers: { count: 2, }}\n",
        "name: \"t\nload: { duration: 1s }\n",
    ];
    cases.map(problems).join("\n\n")
});

#[test]
fn all_is_a_workload_of_every_file() {
    let source = "name: t
target: { url: \"http://localhost/mcp\" }
workloads: { one: { w: 1 } }
workflows:
  w: { actors: [a], steps: [ { s: { call: t } } ] }
  v: { actors: [a], steps: [ { s: { call: t } } ] }
";
    let mix = |source: &str| {
        let overrides = Overrides {
            workload: Some("all".to_owned()),
            ..Overrides::default()
        };
        let file = ScenarioFile::parse(
            "my.yaml",
            source,
            &overrides,
            &Environment::new(&environment),
        );
        let mix = &file.expect("it is known").program.mix;
        mix.iter()
            .map(|(id, weight)| (id.0, *weight))
            .collect::<Vec<_>>()
    };
    assert_eq!(mix(source), [(0, 1), (1, 1)]);
    // Unless the file means something else by it.
    assert_eq!(mix(&source.replace("one:", "all:")), [(0, 1)]);
}

snapshot!(unset_environment, {
    problems(
        "name: t
target: { url: \"http://${HOST}:${PORT:-80}/mcp\", headers: { X-Key: \"${KEY\", Y: \"${}\" } }
workflows:
  w: { actors: [me], steps: [ { s: { call: t } } ] }
",
    )
});

snapshot!(
    thresholds,
    problems(
        "name: t
target: { url: \"http://localhost/mcp\" }
thresholds: [ error_rate<1%, eror_rate<1%, \"nothing.p95<1s\", \"w.p95\", lost_updates==0 ]
workflows:
  w: { actors: [me], steps: [ { s: { call: t } } ] }
",
    )
);

snapshot!(login_requests, {
    problems(
        "name: t
target: { url: \"http://localhost/mcp\" }
login:
  kind: saml
  after:
    - a: { get: \"x\", post: \"y\" }
    - b: { basic: [one] }
    - d: { get: \"{target.orgin}/{directory.url}/{user.name}/{later}\", save: { later: $.x } }
    - e: { post: \"{target.origin}/{later}\", json: { x: \"{user.passwort}\" } }
    - c
workflows:
  w: { actors: [me], steps: [ { s: { call: t } } ] }
",
    )
});

#[test]
fn what_must_be_refused_waits_for_no_answer() {
    let until = "until: { path: $.n, equals: 5 }";
    let found = steps(
        "[me]",
        &format!("      - a: {{ call: t, refused: {{ error: denied, must: true }}, {until} }}\n"),
    );
    assert!(
        found.contains(
            "`a` must be refused (`must: true`), so there is no answer that `until` could wait for"
        ),
        "{found}"
    );
    let http = problems(
        "name: t\ntarget: { protocol: http, url: \"http://localhost\" }\nlogin: { kind: none }\nworkflows:\n  w:\n    actors: [me]\n    steps:\n      - b: { listen: /a, refused: { error: denied, must: true }, until: { path: $.n, equals: 5 } }\n",
    );
    assert!(http.contains("`b` must be refused"), "{http}");
}

snapshot!(missing_file, {
    let found = ScenarioFile::load(
        "nextclod",
        &Overrides::default(),
        &Environment::new(&environment),
    )
    .unwrap_err();
    found[0].to_string()
});

#[test]
fn secrets_never_show_in_messages() {
    let secret = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let source = "name: \"${SECRET}\"
target: { url: \"${SECRET}\", timeout: \"${SECRET}\", protocol: \"${SECRET}\", baggage: \"${SECRET}\" }
directory: { kind: \"${SECRET}\", url: \"${SECRET}\", admin: a, password: \"${SECRET}\" }
users: { count: \"${SECRET}\" }
load: { rate: \"${SECRET}\" }
workflows: \"${SECRET}\"
";
    let found = ScenarioFile::parse(
        "my.yaml",
        source,
        &Overrides::default(),
        &Environment::new(&secret),
    )
    .unwrap_err();
    assert!(found.len() > 5);
    for problem in found {
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn kinds_of_directory_and_login() {
    let workflow = "workflows: { w: { actors: [a], steps: [{ s: { call: t } }] } }";
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
directory: {{ kind: nextcloud, admin: root, register: {{ post: /register }} }}
login: {{ kind: request }}
{workflow}"
    )));
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
directory:
  kind: http-register
  url: http://d/
  register: {{ get: /a, post: /b, json: {{ who: '{{user.nam}}' }} }}
  delete: {{ delete: '/users/{{user.name}}', headers: {{ X-Password: '{{user.password}}' }} }}
login: {{ kind: request, client: {{ id: c }}, request: {{ post: /login, form: {{ u: '{{user.name}}', k: '{{later}}' }} }} }}
{workflow}"
    )));
}

#[test]
fn logins_by_tokens() {
    let workflow = "workflows: { w: { actors: [a], steps: [{ s: { call: t } }] } }";
    for login in [
        "{ kind: client_credential, client: { id: c, secret: s } }",
        "{ kind: client_credentials, client: { id: c, auth: bsic } }",
        "{ kind: client_credentials, token: t, via: exchange, logout: { get: /x } }",
        "{ kind: client_credentials, client: { id: c, key: '-----BEGIN s3cret', secret: s, auth: post } }",
        "{ kind: client_credentials, client: { id: c, key: no-such-file.pem } }",
        "{ kind: oauth, client: { id: c, key_id: k, algorithm: ES257 } }",
        "{ kind: token_exchange, via: id_jagg, subject: { isuer: http://i/, token: id } }",
        "{ kind: token_exchange, subject: { issuer: ftp://i/ } }",
        "{ kind: token_exchange, subject: { client: { id: c } } }",
        "{ kind: bearer, client: { id: c } }",
        "{ kind: bearer, token: t, audience: a }",
    ] {
        let found = problems(&format!(
            "name: x\ntarget: {{ url: http://t/ }}\nlogin: {login}\n{workflow}"
        ));
        assert!(
            !found.contains("s3cret") || login.contains("BEGIN"),
            "{found}"
        );
        insta::assert_snapshot!(found);
    }
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
directory: {{ kind: nextcloud, url: http://d/, admin: root, password: p }}
login: {{ kind: bearer, token: t }}
{workflow}"
    )));
}

#[test]
fn directories_of_an_administrator() {
    let rest =
        "login: { kind: none }\nworkflows: { w: { actors: [a], steps: [{ s: { get: /x } }] } }";
    let with = |directory: &str| {
        problems(&format!(
            "name: x\ntarget: {{ protocol: http, url: http://t/ }}\ndirectory:\n{directory}\n{rest}"
        ))
    };
    insta::assert_snapshot!(with(
        "  kind: scim
  token: '${HOME}'
  admin: root
  realm: r
  list: { get: /users }"
    ));
    insta::assert_snapshot!(with(
        "  kind: keycloak
  url: http://k/
  client: { id: c }
  admin: root
  delete: { delete: /x }"
    ));
    insta::assert_snapshot!(with(
        "  kind: http
  password: '${HOME}'
  before: [ { t: { post: /token, json: { p: '{directory.password}', u: '{user.name}' }, save: { t: $.t } } } ]
  headers: { X-Token: '{tt}' }
  create: { post: /users, json: { n: '{user.name}', t: '{t}' }, save: { id: $.id } }
  list: { get: '/users?q={serch}&p={page}', users: items, name: $.name }
  delete: { delete: '/users/{user.id}' }"
    ));
    insta::assert_snapshot!(with(
        "  kind: http\n  url: http://d/\n  list: { headers: { A: b } }"
    ));
    insta::assert_snapshot!(with("  kind: kecloak\n  url: http://d/"));
    insta::assert_snapshot!(problems(
        "name: x
target: { protocol: http, url: http://t/ }
directory: { kind: none, url: http://d/ }
login: { kind: request, request: { post: /login } }
workflows: { w: { actors: [a], steps: [{ s: { get: /x } }] } }"
    ));
}

#[test]
fn forms_and_logouts() {
    let workflow = "workflows: { w: { actors: [a], steps: [{ s: { get: /x } }] } }";
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ protocol: http, url: http://t/ }}
directory:
  kind: http-register
  register: {{ page: /signup/, fields: {{ nickname: '{{user.nam}}' }}, json: {{}} }}
  exists: 409
login: {{ kind: form, request: {{ post: /login }}, before: [ {{ csrf: {{ get: /csrf }} }} ], logged_in: {{ get: /me, post: /me }} }}
{workflow}"
    )));
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
login:
  kind: request
  page: /login/
  fields: {{ user: '{{user.name}}' }}
  logged_in: {{ get: /me }}
  before: [ {{ csrf: {{ get: /csrf, save: {{ csrf: {{ header: 'x y' }}, other: {{ regex: abc }} }} }} }} ]
  request: {{ post: /login, form: {{ k: '{{csrf}}', o: '{{later}}' }} }}
  logout: {{ post: /logout, save: {{ x: $.y }} }}
users: {{ password: p }}
{workflow}"
    )));
}

/// A browser is for those who log in on a page, and for nobody else.
#[test]
fn browsers() {
    let file = |login: &str| {
        format!(
            "name: t
target: {{ protocol: http, url: http://t/ }}
login: {{ {login}, driver: browser, browser: firefox, selectors: {{ user: '#name' }} }}
users: {{ password: p }}
workflows: {{ w: {{ actors: [a], steps: [{{ s: {{ get: /x }} }}] }} }}"
        )
    };
    for login in ["kind: oauth", "kind: form, page: /login/"] {
        let environment = Environment::new(&environment);
        let read =
            ScenarioFile::parse("my.yaml", &file(login), &Overrides::default(), &environment);
        read.unwrap_or_else(|problems| panic!("{login}: {problems:?}"));
    }
    for login in ["kind: none", "kind: request, request: { post: /login }"] {
        let problems = problems(&file(login));
        for key in ["driver", "browser", "selectors"] {
            assert!(problems.contains(&format!("has no `{key}`")), "{problems}");
        }
    }
}

snapshot!(
    properties,
    problems(
        "name: t
target: { protocol: http, url: \"http://localhost\" }
login: { kind: none }
workflows: { w: { actors: [me], steps: [{ a: { get: /a } }] } }
properties:
  nothing: { description: says nothing }
  both: { post: /a, get: /b }
  beside: { json: { type: string }, steps: [{ a: { get: /a } }] }
  empty: { get: /a, cases: 0, min_accepted: 120%, never: [6xx, 700, fine] }
  unknown: { given: { title: { type: string } }, steps: [{ a: { get: \"/a/{tilte}\" } }], exactly_one: [a] }
  actor: { given: { user: 1 }, get: /a }
  winners: { steps: [{ a: { get: /a } }, { b: { get: /b } }], exactly_one: [a, c] }
"
    )
);

snapshot!(
    monkeys,
    problems(
        "name: t
target: { url: \"http://localhost/mcp\", openapi: /openapi.json }
monkey:
  accept:
    - { check: server_eror, operation: GET things, reason: known }
    - { status: 500 }
  logout: log out
  largest_answer: 0
  probes: 0
  skp: [GET /x]
workflows:
  w: { actors: [me], steps: [{ a: { call: x } }] }
"
    )
);

#[test]
fn swarms_and_their_limits() {
    let workflow = "workflows: { w: { actors: [a], steps: [{ s: { call: t } }] } }";
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
users: {{ create: false }}
load: {{ mode: bothh, concurrency: 0 }}
{workflow}"
    )));
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ url: http://t/ }}
load: {{ mode: both }}
{workflow}"
    )));
}

#[test]
fn users_of_nowhere_and_names_that_are_taken() {
    let workflow = "workflows: { w: { actors: [a], steps: [{ s: { get: /x } }] } }";
    for users in ["{ count: 2 }", "{ password: '' }"] {
        insta::assert_snapshot!(problems(&format!(
            "target: {{ protocol: http, url: http://t/ }}
name: x
login: {{ kind: form, page: /login }}
{workflow}
users: {users}"
        )));
    }
    insta::assert_snapshot!(problems(&format!(
        "name: x
target: {{ protocol: http, url: http://t/ }}
users: {{ password: abc }}
login:
  kind: request
  before: [ {{ who: {{ get: /who, save: {{ name: $.v, token: $.token, n: $.n }} }} }} ]
  request: {{ post: /login, form: {{ k: '{{user.name}}' }}, save: {{ email: $.e, password: $.p }} }}
  after: [ {{ more: {{ get: /me, save: {{ display_name: $.d }} }} }} ]
{workflow}"
    )));
}

snapshot!(tokens, {
    let mut all = steps(
        "[me]",
        "      - both: { call: t, token: refresh }
      - json: { token: login, json: { a: 1 } }
      - word: { token: refrsh }
      - renews: { token: revoke, renew: false }
      - waits: { token: refresh, until: { refused: invalid_grant } }
      - twice: { call: t, until: { refused: \"401\", equals: 5 } }
      - saves: { call: t, until: { refused: \"401\" }, save: { a: $.id }, check: { exists: true }, refused: { error: no } }
",
    );
    for login in ["kind: none", "kind: request, request: { post: /login }"] {
        all.push_str(&problems(&format!(
            "name: t\ntarget: {{ protocol: http, url: \"http://localhost\" }}\nlogin: {{ {login} }}\nusers: {{ password: p }}\nworkflows:\n  w:\n    actors: [me]\n    steps:\n      - a: {{ token: refresh }}\n      - b: {{ get: /, renew: false }}\n",
        )));
    }
    all
});
