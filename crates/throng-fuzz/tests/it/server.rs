//! A server of routes that a test makes up.

use std::future::IntoFuture as _;

use axum::Router;

/// Serves routes below a path until the test's runtime ends; gives back the origin.
pub(crate) async fn serving(below: &str, routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let served = axum::serve(listener, Router::new().nest(below, routes)).into_future();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(served);
    origin
}
