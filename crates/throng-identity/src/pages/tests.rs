//! Small pages of every kind, and broken ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

fn at(url: &str) -> Url {
    Url::parse(url).unwrap()
}

fn page(html: &str) -> Page {
    read(&at("http://idp.test/a/login?x=1"), html)
}

fn nextcloud_login(extra: &str) -> String {
    let redirect = STANDARD.encode(r#""\/apps\/oidc\/redirect?state=s&client_id=c""#);
    format!(
        "<!DOCTYPE html><html><head\n data-requesttoken=\"ab+c&#x2F;d=:e&amp;f\"><title>\n Login – Nextcloud </title></head>\
         <body id=\"body-login\"><input type=\"hidden\" id=\"initial-state-core-loginRedirectUrl\" value=\"{redirect}\">{extra}\
         <div id=\"login\"></div></body></html>"
    )
}

#[test]
fn nextcloud_login_page_is_read_from_its_state() {
    let errors = STANDARD.encode(r#"["invalidpassword"]"#);
    let delay = STANDARD.encode("3200");
    let html = nextcloud_login(&format!(
        "<input type=\"hidden\" id=\"initial-state-core-loginErrors\" value=\"{errors}\">\
         <input type=\"hidden\" id=\"initial-state-core-loginThrottleDelay\" value=\"{delay}\">"
    ));
    let Page::NextcloudLogin(login) = page(&html) else {
        panic!("not recognised")
    };
    assert_eq!(login.request_token.expose(), "ab+c/d=:e&f");
    assert_eq!(
        login.redirect_url,
        "/apps/oidc/redirect?state=s&client_id=c"
    );
    assert_eq!(login.errors, ["invalidpassword"]);
    assert_eq!(login.throttle_delay_ms, 3200);
    assert!(!login.form_hidden);
    assert!(!format!("{login:?}").contains("ab+c"));
}

#[test]
fn nextcloud_redirect_page_leads_back_to_authorize_and_not_into_its_password_form() {
    // The page has a hidden form with a password field, as every page of a logged-in user has.
    let html = r#"<html><head data-requesttoken="t"></head><body>
        <form id="sudo-login-form" class="hidden" method="POST"><input type="password" name="question" autocomplete="new-password"></form>
        <div id="oidc-redirect" data-client-id="c1" data-state="s&amp;1" data-response-type="code" data-nonce=""></div></body></html>"#;
    let Page::NextcloudRedirect(redirect) = page(html) else {
        panic!("not recognised")
    };
    let bare = redirect
        .authorize_url(&at("http://nc/index.php/apps/oidc/redirect"))
        .unwrap();
    assert_eq!(
        bare.as_str(),
        "http://nc/index.php/apps/oidc/authorize?client_id=c1&state=s%261&response_type=code"
    );
    let own = redirect
        .authorize_url(&at("http://nc/apps/oidc/redirect?client_id=c&state=x"))
        .unwrap();
    assert_eq!(
        own.as_str(),
        "http://nc/apps/oidc/authorize?client_id=c&state=x"
    );
}

#[test]
fn nextcloud_consent_page_is_read() {
    let html = r#"<head data-requesttoken="tok"></head><div id="oidc-consent" data-client-name="n" data-scopes="openid profile" data-client-id="c"></div>"#;
    let Page::NextcloudConsent(consent) = page(html) else {
        panic!("not recognised")
    };
    assert_eq!(consent.scopes, "openid profile");
    assert_eq!(consent.request_token.expose(), "tok");
    let grant = nextcloud::ConsentPage::grant_url(&at("http://nc/index.php/apps/oidc/consent?a=1"));
    assert_eq!(
        grant.as_str(),
        "http://nc/index.php/apps/oidc/consent/grant"
    );
}

fn sent(form: &Form, filled: &[(usize, &str)], pressed: Option<usize>) -> (String, String) {
    let submission = form.submit(filled, pressed).unwrap();
    (submission.url.to_string(), submission.body)
}

fn log_in(html: &str) -> (String, String) {
    let Page::Login(_, login) = page(html) else {
        panic!("no login form in {html}")
    };
    let mut filled = vec![(login.password.unwrap(), "p w")];
    filled.extend(login.user.map(|user| (user, "al&ice")));
    sent(&login.form, &filled, login.button)
}

#[test]
fn ordinary_login_forms_are_filled_in() {
    let cases = [
        // hidden kept, relative action, the submit button's name and value, unticked box left out
        (
            r#"<form action="../do" method=post><input type=hidden name=csrf value="t&amp;1"><input name=username>
               <input type=password name=pw><input type=checkbox name=remember><button name=op value=go>Sign in</button></form>"#,
            "http://idp.test/do",
            "csrf=t%261&username=al%26ice&pw=p+w&op=go",
        ),
        // no action: the page itself with its query; GET replaces it
        (
            r#"<form><input type=email name=mail><input type=password name=p></form>"#,
            "http://idp.test/a/login?mail=al%26ice&p=p+w",
            "",
        ),
        (
            r#"<form method=POST><input name=login><input type=password name=p></form>"#,
            "http://idp.test/a/login?x=1",
            "login=al%26ice&p=p+w",
        ),
        // base href
        (
            r#"<base href="/root/"><form method=post action="in"><input name=uid><input type=password name=p></form>"#,
            "http://idp.test/root/in",
            "uid=al%26ice&p=p+w",
        ),
        // a search form, a registration form and the login; controls tied by the form attribute
        (
            r#"<form action=/s><input name=q></form>
               <form method=post action=/reg><input name=email type=email><input type=password name=a><input type=password name=b></form>
               <form method=post action=/in id=f><input name=tenant value=t><input name=user autocomplete=username></form>
               <input form=f type=password name=p autocomplete=current-password>"#,
            "http://idp.test/in",
            "tenant=t&user=al%26ice&p=p+w",
        ),
        // the deny button comes first and is not pressed; a button's own action counts
        (
            r#"<form method=post action=/x><input name=user><input type=password name=p>
               <button name=b value=cancel>Cancel</button><button name=b value=ok formaction=/y>Log in</button></form>"#,
            "http://idp.test/y",
            "user=al%26ice&p=p+w&b=ok",
        ),
        // second page: the name is fixed, only the password is asked for
        (
            r#"<form method=post action=/p><input type=hidden name=user value=alice><input type=password name=password></form>"#,
            "http://idp.test/p",
            "user=alice&password=p+w",
        ),
        // select, textarea, required box, radio, disabled
        (
            r#"<form method=post action=/p><input name=user><input type=password name=p>
               <select name=s><option value=1>a<option value=2 selected>b</select><textarea name=t>x</textarea>
               <input type=checkbox name=terms required><input type=radio name=r value=1><input type=radio name=r value=2 checked>
               <input name=d value=d disabled></form>"#,
            "http://idp.test/p",
            "user=al%26ice&p=p+w&s=2&t=x&terms=on&r=2",
        ),
    ];
    for (html, url, body) in cases {
        assert_eq!(log_in(html), (url.to_owned(), body.to_owned()), "{html}");
    }
}

#[test]
fn multipart_forms_are_sent_as_such() {
    let html = r#"<form method=post enctype=multipart/form-data><input name=user><input type=password name=p></form>"#;
    let Page::Login(_, login) = page(html) else {
        panic!("no login")
    };
    let sent = login.form.submit(&[(0, "a"), (1, "b")], None).unwrap();
    let content_type = sent.content_type.unwrap();
    let boundary = content_type
        .strip_prefix("multipart/form-data; boundary=")
        .unwrap();
    let part = |name, value| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    assert_eq!(
        sent.body,
        format!("{}{}--{boundary}--\r\n", part("user", "a"), part("p", "b"))
    );
}

#[test]
fn identifier_pages_are_told_from_search_boxes() {
    let html = r#"<form action=/s><input name=q></form><form method=post action=/u><input type=text name=login id=login><button>Next</button></form>"#;
    let Page::Identifier(_, login) = page(html) else {
        panic!("not recognised")
    };
    assert_eq!(
        sent(&login.form, &[(login.user.unwrap(), "al")], login.button).1,
        "login=al"
    );
    assert!(matches!(
        page("<form action=/s><input name=q><button>Go</button></form>"),
        Page::Unknown(_)
    ));
}

#[test]
fn consent_presses_yes_and_never_no() {
    let cases = [
        (
            r#"<form method=post action=/c><input type=hidden name=t value=1>
               <button name=answer value=deny>Deny</button><button name=answer value=accept>Accept</button></form>"#,
            Some("t=1&answer=accept"),
        ),
        (
            r#"<form method=post action=/c><input type=hidden name=prompt value=consent><button type=submit>Continue</button></form>"#,
            Some("prompt=consent"),
        ),
        (
            r#"<form method=post action=/c><input type=submit name=no value="Do not allow"><input type=submit name=yes value="Allow access"></form>"#,
            Some("yes=Allow+access"),
        ),
        (
            r#"<form method=post><button name=a value=cancel>Cancel</button></form>"#,
            None,
        ),
        (
            r#"<form method=post><button name=a value=x>Log out and continue</button></form>"#,
            None,
        ),
        (
            r#"<form method=post action=/google><button>Continue with Google</button></form>"#,
            None,
        ),
        (
            r#"<form method=post><button name=a value=x>Don't allow</button></form>"#,
            None,
        ),
    ];
    for (html, want) in cases {
        match (page(html), want) {
            (Page::Consent(consent), Some(want)) => {
                assert_eq!(
                    sent(&consent.form, &[], Some(consent.button)).1,
                    want,
                    "{html}"
                );
            }
            (Page::Unknown(_), None) => {}
            (other, want) => panic!("{html}: wanted {want:?}, got {other:?}"),
        }
    }
}

#[test]
fn pages_that_go_on_by_themselves_are_followed() {
    let html = r#"<body onload="document.forms[0].submit()"><form method=post action="http://app/cb"><input type=hidden name=code value=c></form>"#;
    let Page::AutoSubmit(form) = page(html) else {
        panic!("not recognised")
    };
    assert_eq!(
        sent(&form, &[], None),
        ("http://app/cb".to_owned(), "code=c".to_owned())
    );
    for (content, want) in [
        ("0; url=next", "http://idp.test/a/next"),
        ("0;URL='/n?a=1&amp;b=2'", "http://idp.test/n?a=1&b=2"),
        ("3, /x", "http://idp.test/x"),
    ] {
        let html = format!("<meta http-equiv=Refresh content=\"{content}\">");
        let Page::Refresh(url) = page(&html) else {
            panic!("not recognised: {html}")
        };
        assert_eq!(url.as_str(), want);
    }
    assert!(matches!(
        page("<meta http-equiv=refresh content=30>"),
        Page::Unknown(_)
    ));
}

#[test]
fn an_unknown_page_says_what_it_says() {
    let html = r#"<title> Sorry
        </title><script>app()</script><style>.x{}</style><div class="alert-danger">Too <b>many</b> attempts</div><div class="error" hidden>not shown</div><div id=app>Please wait</div>"#;
    let Page::Unknown(document) = page(html) else {
        panic!("recognised")
    };
    assert_eq!(document.title, "Sorry");
    assert_eq!(document.errors, ["Too many attempts"]);
    assert_eq!(document.text, "Too many attempts Please wait");
    assert!(document.needs_script);
    let Page::Unknown(plain) = page("<p>Just text") else {
        panic!("recognised")
    };
    assert!(!plain.needs_script);
}

#[test]
fn deep_nesting_ends() {
    let html = "<div>".repeat(4_000) + "<p>x";
    assert!(matches!(page(&html), Page::Unknown(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_markup_makes_it_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("<form action=\"".to_owned()), Just("<form method=post>".to_owned()), Just("</form>".to_owned()),
                Just("<input type=password name=p>".to_owned()), Just("<input name=user".to_owned()), Just("<button>Allow".to_owned()),
                Just("<meta http-equiv=refresh content=\"0;url=".to_owned()), Just("<base href=\"".to_owned()),
                Just("<select name=s><option>".to_owned()), Just("id=\"oidc-consent\" data-requesttoken=\"".to_owned()),
                Just("<input id=\"initial-state-core-loginRedirectUrl\" value=\"".to_owned()), Just("\">".to_owned()),
                "\\PC{0,12}",
            ],
            0..24,
        ),
    ) {
        match page(&parts.concat()) {
            Page::Login(_, login) | Page::Identifier(_, login) => {
                let filled: Vec<_> = login.user.into_iter().chain(login.password).map(|i| (i, "v")).collect();
                login.form.submit(&filled, login.button);
            }
            Page::Consent(consent) => { consent.form.submit(&[], Some(consent.button)); }
            _ => {}
        }
    }
}

#[test]
fn nothing_that_is_sent_shows_in_debug() {
    let html = r#"<form method=post><input type=hidden name=csrf value=t0ken><input name=user><input type=password name=p></form>"#;
    let Page::Login(_, login) = page(html) else {
        panic!("no login")
    };
    let submission = login
        .form
        .submit(&[(1, "alice"), (2, "pa55word")], None)
        .unwrap();
    assert_eq!(submission.body, "csrf=t0ken&user=alice&p=pa55word");
    let shown = format!("{login:?} {submission:?}");
    assert!(
        !shown.contains("t0ken") && !shown.contains("pa55word"),
        "{shown}"
    );
}
