//! Steps about tokens: what is done with one, what uses one as it is, and waiting until one is refused.

use crate::decode::At;
use crate::model::{LoginKind, Step, TokenWord, Until};
use crate::problem::{Mark, Problems};
use crate::program::Action;

/// What a step does with its actor's token, and the name of its endpoint. There is none of a URL: it's found out at run time,
/// where the authorization server has it.
pub(super) fn action(
    name: &At<String>,
    step: &Step,
    token: &At<TokenWord>,
    login: LoginKind,
    problems: &mut Problems,
) -> (Action, String) {
    if let Some((key, mark)) = also(step) {
        problems.add_with_help(
            mark.unwrap_or(name.mark),
            format!(
                "`{}` has `token`, which is all that it does, and `{key}`",
                name.value
            ),
            "leave out one of the two",
        );
    }
    needs_oauth("token", token.mark, login, problems);
    if let Some(renew) = &step.renew {
        problems.add_with_help(
            renew.mark,
            "a step with `token` renews nothing by itself",
            "leave out `renew`",
        );
    }
    (
        Action::Token(token.value.into()),
        format!("token {}", token.word()),
    )
}

/// Reports `renew` where there is nothing to renew.
pub(super) fn check_renewal(step: &Step, login: LoginKind, problems: &mut Problems) {
    if let Some(renew) = &step.renew {
        needs_oauth("renew", renew.mark, login, problems);
    }
}

fn needs_oauth(key: &str, mark: Mark, login: LoginKind, problems: &mut Problems) {
    let has_tokens = matches!(
        login,
        LoginKind::OAuth | LoginKind::ClientCredentials | LoginKind::TokenExchange
    );
    if !has_tokens {
        problems.add_with_help(
            mark,
            format!(
                "`{key}` is about the tokens of OAuth logins, and users of this scenario have none (`login.kind` is {})",
                login.word()
            ),
            "say `login: { kind: oauth }`, or leave the step out",
        );
    }
}

/// Reports what makes no sense beside `until: { refused: ... }`.
pub(super) fn check_until(name: &At<String>, step: &Step, until: &Until, problems: &mut Problems) {
    let Some(refused) = &until.refused else {
        return;
    };
    let mut contradicts = |mark: Mark, what: &str| {
        problems.add_with_help(
            mark,
            format!(
                "`{}` waits until it is refused, so that there is {what}",
                name.value
            ),
            "leave out one of the two",
        );
    };
    if !says_nothing(until) {
        contradicts(refused.mark, "no result for another condition of `until`");
    }
    if let Some((saved, _)) = step.save.0.first() {
        contradicts(saved.mark, "no result to save from");
    }
    if let Some(check) = step.check.0.first() {
        contradicts(check.mark, "no result to check");
    }
    if let Some(refused) = &step.refused {
        contradicts(refused.mark, "no other refusal to expect");
    }
    if step.listen.is_some() {
        contradicts(refused.mark, "no event to listen for");
    }
    if step.token.is_some() {
        contradicts(
            refused.mark,
            "nothing to wait for: what is done with a token is done once",
        );
    }
}

/// Whether an `until` has no condition on the result.
fn says_nothing(until: &Until) -> bool {
    let Until {
        mark: _,
        path,
        header,
        status,
        schema,
        exists,
        equals,
        not_equals,
        contains,
        not_contains,
        contains_each,
        count_missing,
        matches,
        json_type,
        length,
        at_least,
        at_most,
        refused: _,
        every: _,
        within: _,
    } = until;
    let templates = [equals, not_equals, contains, not_contains, contains_each];
    path.is_whole()
        && header.is_none()
        && status.0.is_empty()
        && schema.is_none()
        && exists.is_none()
        && templates.iter().all(|template| template.is_none())
        && count_missing.is_none()
        && matches.is_none()
        && json_type.is_none()
        && length.is_none()
        && at_least.is_none()
        && at_most.is_none()
}

/// Another key that says what a step does or how, and where it stands, if that is known.
fn also(step: &Step) -> Option<(&'static str, Option<Mark>)> {
    let templates = [
        ("resource", &step.resource),
        ("get", &step.get),
        ("post", &step.post),
        ("put", &step.put),
        ("patch", &step.patch),
        ("delete", &step.delete),
        ("head", &step.head),
        ("options", &step.options),
        ("listen", &step.listen),
        ("body", &step.body),
    ];
    let templates = templates
        .into_iter()
        .filter_map(|(key, template)| Some((key, Some(template.as_ref()?.mark))));
    let names = [
        ("query", step.query.0.first().map(|(name, _)| name.mark)),
        ("headers", step.headers.0.first().map(|(name, _)| name.mark)),
        (
            "form",
            step.form
                .as_ref()
                .and_then(|form| Some(form.0.first()?.0.mark)),
        ),
        (
            "multipart",
            step.multipart
                .as_ref()
                .and_then(|parts| Some(parts.0.first()?.0.mark)),
        ),
        ("call", step.call.as_ref().map(|at| at.mark)),
        ("within", step.within.as_ref().map(|at| at.mark)),
        ("events", step.events.as_ref().map(|at| at.mark)),
        ("content_type", step.content_type.as_ref().map(|at| at.mark)),
        ("expect", step.expect.0.first().map(|at| at.mark)),
    ];
    let names = names
        .into_iter()
        .filter_map(|(key, mark)| Some((key, Some(mark?))));
    let unplaced = [
        ("with", step.with.is_some()),
        ("json", step.json.is_some()),
        ("redirects", step.redirects.is_some()),
    ];
    let unplaced = unplaced
        .into_iter()
        .filter_map(|(key, there)| there.then_some((key, None)));
    names.chain(templates).chain(unplaced).next()
}
