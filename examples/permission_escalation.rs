//! A workflow written in Rust: a share is upgraded from reading to editing while it is in use. The same as a file:
//! `permission_escalation.yaml` beside this one.
//!
//! ```text
//! cargo run --release --example permission_escalation -- --sandbox -u 4 -d 10
//! ```

use anyhow::Context;
use regex::Regex;
use serde_json::{Value, json};
use throng::{IterCx, Patience, Play, Playbook, Scenario, UserCx, WorkflowRole};

const WORKFLOW: &str = "permission_escalation";

struct PermissionEscalation {
    playbook: Playbook,
    forbidden: Regex,
}

impl Scenario for PermissionEscalation {
    type User = ();

    async fn start(&self, _cx: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }

    async fn iterate(&self, _user: &mut (), cx: &IterCx) -> anyhow::Result<()> {
        let mut play = self.playbook.begin(cx, WORKFLOW)?;
        let [owner, collaborator] = play.actors()?;
        let title = format!("Escalation {}", play.uid());
        let note = json!({ "title": title, "content": format!("Read this, {}", collaborator.name), "category": "LoadTest" });
        let id = play.call(owner, "create_note", note).await?["id"].clone();

        let result = self
            .escalate(&mut play, owner, collaborator, &title, &id)
            .await;
        // Whatever came of it, the note goes, and its shares with it.
        play.finally();
        play.call(owner, "delete_note", json!({ "note_id": id }))
            .await?;
        result
    }

    async fn stop(&self, _user: (), _cx: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}

impl PermissionEscalation {
    async fn escalate(
        &self,
        play: &mut Play<'_>,
        owner: throng::Actor<'_>,
        collaborator: throng::Actor<'_>,
        title: &str,
        id: &Value,
    ) -> anyhow::Result<()> {
        let share = json!({ "path": format!("/Notes/LoadTest/{title}.md"), "share_with": collaborator.name, "permissions": 1 });
        let share = play.call(owner, "share_readonly", share).await?["id"].clone();
        let path = play
            .until(
                collaborator,
                "find_shared",
                json!({ "shared_with_me": true }),
                Patience::default(),
                |list| {
                    list.as_array()?.iter().find(|found| found["id"] == share)?["file_target"]
                        .as_str()
                        .map(str::to_owned)
                },
            )
            .await?;
        let file = play
            .call(collaborator, "read_shared", json!({ "path": path }))
            .await?;
        let edit = json!({ "path": path, "content": "Done", "if_match": file["etag"] });

        play.call_must_be_refused(
            collaborator,
            "edit_too_early",
            edit.clone(),
            &self.forbidden,
        )
        .await?;

        let share_id: u64 = share.as_str().context("a share's id is a text")?.parse()?;
        // 3: read and update, the most that a single file can have.
        play.call(
            owner,
            "upgrade_permissions",
            json!({ "share_id": share_id, "permissions": 3 }),
        )
        .await?;
        play.call(collaborator, "collaborator_edit", edit).await?;
        play.call_checked(owner, "verify_edit", json!({ "note_id": id }), |note| {
            match note["content"].as_str() {
                Some("Done") => Ok(()),
                other => Err(format!("the note reads {other:?}")),
            }
        })
        .await
    }
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let steps = [
        ("create_note", "nc_notes_create_note"),
        ("share_readonly", "nc_share_create"),
        ("find_shared", "nc_share_list"),
        ("read_shared", "nc_webdav_read_file"),
        ("edit_too_early", "nc_webdav_write_file"),
        ("upgrade_permissions", "nc_share_update"),
        ("collaborator_edit", "nc_webdav_write_file"),
        ("verify_edit", "nc_notes_get_note"),
        ("delete_note", "nc_notes_delete_note"),
    ];
    let playbook = Playbook::new().workflow(WORKFLOW, WorkflowRole::Workflow, &steps);
    let scenario = PermissionEscalation {
        playbook: playbook.clone(),
        forbidden: Regex::new("(?i)403|forbidden|denied|permission")?,
    };
    Ok(throng::cli::run(scenario, playbook))
}
