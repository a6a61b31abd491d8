//! `users.from`: who takes part, and what is said of mistakes in such a file.

use std::path::Path;

use tempfile::TempDir;
use throng_workflow::{Environment, Overrides, ScenarioFile};

const PASSWORD: &str = "s3cret-of-the-environment";

fn environment(name: &str) -> Option<String> {
    (name == "ONE_PASSWORD").then(|| PASSWORD.to_owned())
}

/// A scenario beside these files.
fn read(
    users: &str,
    login: &str,
    files: &[(&str, &str)],
    overrides: &Overrides,
) -> (TempDir, Result<ScenarioFile, String>) {
    let home = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        std::fs::write(home.path().join(name), text).expect("a file");
    }
    let source = format!(
        "name: t\ntarget: {{ url: \"http://localhost/mcp\" }}\nlogin: {{ kind: {login} }}\nusers: {{ {users} }}\n\
         workflows:\n  w:\n    actors: [ann]\n    steps:\n      - do: {{ call: some_tool }}\n"
    );
    let name = home.path().join("my.yaml");
    let name = name.to_str().expect("a UTF-8 path");
    let result = ScenarioFile::parse(name, &source, overrides, &Environment::new(&environment));
    let result = result.map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let place = format!("{}/", home.path().display());
        all.join("\n\n").replace(&place, "")
    });
    (home, result)
}

fn problems(users: &str, login: &str, files: &[(&str, &str)]) -> String {
    let (_, result) = read(users, login, files, &Overrides::default());
    let said = result.expect_err("no problem was found");
    assert!(!said.contains("s3cret"), "a secret is shown: {said}");
    said
}

#[test]
fn users_come_from_csv_and_json_with_secrets_from_elsewhere() {
    let csv = "name,password,password_file,email\n\
               ann,${ONE_PASSWORD},,ann@x.example\n\
               ben,\"a, \"\"b\"\"\",,\n\
               cid,,cid.txt,\n";
    let json = r#"[
        { "name": "ann", "password": "${ONE_PASSWORD}", "email": "ann@x.example" },
        { "name": "ben", "password": "a, \"b\"" },
        { "name": "cid", "password_file": "cid.txt" }
    ]"#;
    for (name, text) in [("users.csv", csv), ("users.json", json)] {
        let files = [(name, text), ("cid.txt", "of cid \n")];
        let (_home, file) = read(
            &format!("from: {name}"),
            "oauth",
            &files,
            &Overrides::default(),
        );
        let file = file.unwrap_or_else(|said| panic!("{name}: {said}"));
        let users = &file.scenario.users;
        assert_eq!(file.program.catalog.users, ["ann", "ben", "cid"]);
        assert_eq!((users.count.value, users.create), (3, false));
        let listed = &users.from.as_ref().expect("a roster").users;
        let password = |n: usize| listed[n].password.as_ref().expect("a password").0.expose();
        assert_eq!(
            (password(0), password(1), password(2)),
            (PASSWORD, "a, \"b\"", "of cid ")
        );
        assert_eq!(listed[0].email.as_deref(), Some("ann@x.example"));
        assert_eq!(listed[1].email, None);
        assert!(!format!("{:?}", file.scenario).contains("s3cret"));
    }
}

#[test]
fn the_first_of_them_take_part_and_never_more_than_there_are() {
    let files = [("users.csv", "name,password\nann,a\nben,b\ncid,c\n")];
    let two = Overrides {
        users: Some(2),
        ..Overrides::default()
    };
    let (_home, file) = read("from: users.csv", "oauth", &files, &two);
    assert_eq!(
        file.expect("a scenario").program.catalog.users,
        ["ann", "ben"]
    );
    let four = Overrides {
        users: Some(4),
        ..Overrides::default()
    };
    let (_home, file) = read("from: users.csv", "oauth", &files, &four);
    let said = file.expect_err("too few");
    assert_eq!(
        said,
        "--users: 4 users are wanted, but there are 3 in users.csv\n  help: add users to it, or take no more than 3 (users.count, --users)"
    );
}

#[test]
fn a_flag_names_a_file_relative_to_the_current_directory() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("others.csv");
    std::fs::write(&path, "name,password\nzoe,z\n").expect("a file");
    assert!(Path::new(&path).is_absolute());
    let flag = Overrides {
        users_from: Some(path.to_str().expect("a UTF-8 path").to_owned()),
        ..Overrides::default()
    };
    let files = [("users.csv", "name,password\nann,a\n")];
    let (_home, file) = read("from: users.csv", "oauth", &files, &flag);
    assert_eq!(file.expect("a scenario").program.catalog.users, ["zoe"]);
}

snapshot!(
    mistakes_in_csv,
    problems(
        "from: users.csv, count: 9",
        "oauth",
        &[(
            "users.csv",
            "name,password,password_file\nann,s3cret-1,\nann,s3cret-2,\nben,,\ncid,s3cret-3,cid.txt\ndan,,nowhere.txt\n,s3cret-4,\neve,${NOBODY},\nfay,s3cret-5\n"
        )]
    )
);
snapshot!(
    an_unknown_column,
    problems(
        "from: users.csv",
        "form, page: /login",
        &[("users.csv", "name,pasword\nann,s3cret\n")]
    )
);
snapshot!(
    mistakes_in_json,
    problems(
        "from: users.json",
        "oauth",
        &[(
            "users.json",
            "[\n  { \"name\": \"ann\", \"pasword\": \"s3cret\" },\n  \"ben:s3cret\",\n  { \"name\": 5, \"password\": 6 },\n  { \"password\": \"s3cret\" }\n]\n"
        )]
    )
);
snapshot!(
    no_list,
    problems(
        "from: users.json",
        "oauth",
        &[("users.json", "{ \"ann\": \"s3cret\" }")]
    )
);
snapshot!(
    nobody_in_it,
    problems(
        "from: users.csv",
        "oauth",
        &[("users.csv", "name,password\n")]
    )
);
snapshot!(no_such_file, problems("from: nowhere.csv", "oauth", &[]));
snapshot!(
    another_kind_of_file,
    problems("from: users.xlsx", "oauth", &[("users.xlsx", "s3cret")])
);
