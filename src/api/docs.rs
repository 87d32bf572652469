//! `/docs`: Swagger UI, from files inside the binary. `/redoc` leads to it.

use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, LOCATION};
use http::{HeaderValue, StatusCode};

use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::input::AssetPath;
use super::reply::Reply;

/// Everything comes from this daemon. Swagger UI sets styles on its elements.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const PNG: HeaderValue = HeaderValue::from_static("image/png");

/// A file of Swagger UI, which `build/swagger_ui.rs` packs with gzip.
macro_rules! packed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")).as_slice()
    };
}

const PAGE: &str = include_str!("docs/index.html");
const START: &str = include_str!("docs/start.js");

pub(super) async fn docs_page(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    Ok(file(HTML, PAGE.as_bytes()))
}

pub(super) async fn redoc(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    let reply = Reply::empty(StatusCode::TEMPORARY_REDIRECT);
    Ok(reply.with_header(LOCATION, HeaderValue::from_static("/docs")))
}

pub(super) async fn docs_asset(_: Call<()>, inputs: Inputs<AssetPath>) -> Result<Reply, ApiError> {
    let name = inputs.path.asset.0;
    if name == "start.js" {
        return Ok(file(JAVASCRIPT, START.as_bytes()));
    }
    let (media_type, packed) = match name.as_str() {
        "swagger-ui.css" => (CSS, packed!("swagger-ui.css")),
        "swagger-ui-bundle.js" => (JAVASCRIPT, packed!("swagger-ui-bundle.js")),
        "favicon-32x32.png" => (PNG, packed!("favicon-32x32.png")),
        _ => return Err(ApiError::PathNotFound),
    };
    Ok(file(media_type, packed).with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip")))
}

/// A file of the documentation.
pub(super) fn file(media_type: HeaderValue, bytes: impl Into<Cow<'static, [u8]>>) -> Reply {
    Reply::content(StatusCode::OK, media_type, bytes)
        .with_header(CONTENT_SECURITY_POLICY, DOCS_POLICY)
}
