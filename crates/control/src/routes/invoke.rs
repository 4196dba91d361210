//! Invoking a function by its name, whatever its routes are: method, path, query, headers and body reach it
//! unchanged, and its answer comes back unchanged.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::uri::PathAndQuery;
use skep_model::ProblemCode;

use super::{Shared, functions};
use crate::api;
use crate::reply::Failure;

/// Invokes a function with the path `/`
///
/// Any method; `Prefer: respond-async` is answered with 202 as on the public listener.
#[utoipa::path(post, path = "/v1/functions/{name}/invoke", tag = "functions",
    params(("name" = String, Path, description = "The function's name")),
    responses((status = 200, description = "What the function answered"),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn root(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    forward(shared, name, request).await
}

/// Invokes a function with a path of its own
#[utoipa::path(post, path = "/v1/functions/{name}/invoke/{path}", tag = "functions",
    params(("name" = String, Path, description = "The function's name"),
        ("path" = String, Path, description = "The path and query that the function sees")),
    responses((status = 200, description = "What the function answered"),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn below(
    State(shared): State<Shared>,
    Path((name, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    forward(shared, name, request).await
}

async fn forward(shared: Shared, name: String, mut request: Request<Body>) -> Response {
    match shared.node.function(&name) {
        None => return functions::unknown(&name).into_response(),
        Some(detail) if detail.function.is_none() => {
            let reasons: Vec<String> = detail
                .invalid
                .into_iter()
                .flat_map(|invalid| invalid.reasons)
                .collect();
            let said = format!("the function {name:?} is invalid: {}", reasons.join("; "));
            return Failure::new(ProblemCode::NotFound, said).into_response();
        }
        Some(_) => {}
    }
    match own_path(request.uri()) {
        Some(uri) => *request.uri_mut() = uri,
        None => return Failure::new(ProblemCode::BadRequest, "the path can't be read").into_response(),
    }
    shared.node.invoke(&name, request).await
}

/// What follows `…/invoke`, exactly as it was written.
fn own_path(uri: &Uri) -> Option<Uri> {
    let whole = uri.path_and_query()?;
    let path = whole.path().splitn(6, '/').nth(5).unwrap_or("");
    let text = match whole.query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    Some(Uri::from(text.parse::<PathAndQuery>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_sees_what_follows_invoke_byte_for_byte() {
        for (given, seen) in [
            ("/v1/functions/a/invoke", "/"),
            ("/v1/functions/a/invoke?x=1", "/?x=1"),
            ("/v1/functions/a/invoke/", "/"),
            ("/v1/functions/a/invoke/b//c%2Fd/?e=f%20g", "/b//c%2Fd/?e=f%20g"),
        ] {
            assert_eq!(own_path(&given.parse().unwrap()).unwrap(), seen, "{given}");
        }
    }
}
