//! The one table of operations: routing, `Allow` headers and the OpenAPI document come from it.

use http::Method;

/// What all paths begin with.
pub(super) const PREFIX: &str = "/api/v1";

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Register,
    Login,
    Me,
    Logout,
    Execute,
    Result,
    Events,
    Cancel,
    Retry,
    ExecutionStream,
    NotificationStream,
    ListExecutions,
    CreateScript,
    ListScripts,
    GetScript,
    UpdateScript,
    DeleteScript,
    GetSettings,
    SetTheme,
    ListNotifications,
    MarkAllRead,
    ExampleScripts,
    Limits,
    Live,
    Grafana,
    OpenApi,
}

impl Operation {
    /// Whether one must be logged in. Logging out is for everybody, as in the real server.
    pub(super) fn protected(self) -> bool {
        !matches!(
            self,
            Self::Register
                | Self::Login
                | Self::Logout
                | Self::ExampleScripts
                | Self::Limits
                | Self::Live
                | Self::Grafana
                | Self::OpenApi
        )
    }
}

/// A path below [`PREFIX`] and what its methods do.
pub(super) struct Route {
    /// The template, `{name}` for a parameter.
    pub(super) path: &'static str,
    pub(super) operations: &'static [(Method, Operation)],
}

macro_rules! route {
    ($path:literal: $($method:ident $operation:ident),+) => {
        Route { path: $path, operations: &[$((Method::$method, Operation::$operation)),+] }
    };
}

/// All paths; a fixed segment comes before a parameter at the same place.
pub(super) const ROUTES: &[Route] = &[
    route!("/auth/register": POST Register),
    route!("/auth/login": POST Login),
    route!("/auth/me": GET Me),
    route!("/auth/logout": POST Logout),
    route!("/execute": POST Execute),
    route!("/executions/{execution_id}/result": GET Result),
    route!("/executions/{execution_id}/events": GET Events),
    route!("/executions/{execution_id}/cancel": POST Cancel),
    route!("/executions/{execution_id}/retry": POST Retry),
    route!("/events/notifications/stream": GET NotificationStream),
    route!("/events/executions/{execution_id}": GET ExecutionStream),
    route!("/user/executions": GET ListExecutions),
    route!("/scripts": GET ListScripts, POST CreateScript),
    route!("/scripts/{script_id}": GET GetScript, PUT UpdateScript, DELETE DeleteScript),
    route!("/user/settings/": GET GetSettings),
    route!("/user/settings/theme": PUT SetTheme),
    route!("/notifications": GET ListNotifications),
    route!("/notifications/mark-all-read": POST MarkAllRead),
    route!("/example-scripts": GET ExampleScripts),
    route!("/k8s-limits": GET Limits),
    route!("/health/live": GET Live),
    route!("/alerts/grafana": POST Grafana),
    route!("/openapi.json": GET OpenApi),
];

impl Route {
    /// The value of the path's parameter (empty without one) if this is the path's route. `path` is
    /// without the prefix and still percent-encoded.
    fn matched<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut parameter = "";
        let mut segments = path.split('/');
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            if expected.starts_with('{') {
                if segment.is_empty() {
                    return None;
                }
                parameter = segment;
            } else if expected != segment {
                return None;
            }
        }
        segments.next().is_none().then_some(parameter)
    }

    pub(super) fn operation(&self, method: &Method) -> Option<Operation> {
        self.operations
            .iter()
            .find(|(known, _)| known == method)
            .map(|(_, operation)| *operation)
    }

    /// The value of an `Allow` header.
    pub(super) fn allow(&self) -> String {
        let methods: Vec<&str> = self
            .operations
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        methods.join(", ")
    }

    /// Whether it is there at all.
    pub(super) fn served(&self, alerts: bool) -> bool {
        alerts || self.path != "/alerts/grafana"
    }
}

/// The route of a whole path, and its parameter.
pub(super) fn find(path: &str, alerts: bool) -> Option<(&'static Route, &str)> {
    let path = path.strip_prefix(PREFIX)?;
    ROUTES
        .iter()
        .filter(|route| route.served(alerts))
        .find_map(|route| Some((route, route.matched(path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_routes() {
        for (path, expected) in [
            ("/api/v1/scripts", Some(("/scripts", ""))),
            ("/api/v1/scripts/7", Some(("/scripts/{script_id}", "7"))),
            ("/api/v1/scripts/", None),
            ("/api/v1/scripts/7/8", None),
            ("/api/v1/user/settings/", Some(("/user/settings/", ""))),
            ("/api/v1/user/settings", None),
            (
                "/api/v1/executions/x/result",
                Some(("/executions/{execution_id}/result", "x")),
            ),
            ("/scripts", None),
        ] {
            let found = find(path, true).map(|(route, parameter)| (route.path, parameter));
            assert_eq!(found, expected, "{path}");
        }
        assert!(find("/api/v1/alerts/grafana", false).is_none());
    }
}
