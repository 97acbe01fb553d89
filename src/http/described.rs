//! What every route of a kind may answer beside its own: written once for the API's description.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response, ResponseBuilder};

fn responses(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let one = |(status, why): &(&str, &str)| ((*status).to_owned(), RefOr::T(ResponseBuilder::new().description(*why).build()));
    list.iter().map(one).collect()
}

/// Of a route that only looks.
pub struct Looked;

impl IntoResponses for Looked {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            ("401", "no token and no session"),
            ("403", "another role"),
            ("422", "names each parameter"),
            ("503", "try again"),
        ])
    }
}

/// Of a route that takes a JSON body and changes something.
pub struct Written;

impl IntoResponses for Written {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            ("400", "no JSON"),
            ("401", "no token and no session"),
            ("403", "another role, or a cookie from a foreign page"),
            ("408", "too slow"),
            ("413", "too large"),
            ("415", "another type of body"),
            ("422", "names each field"),
            ("503", "try again"),
        ])
    }
}

/// Of a route that changes something and takes no body.
pub struct Done;

impl IntoResponses for Done {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            ("401", "no token and no session"),
            ("403", "another role, or a cookie from a foreign page"),
            ("422", "names each parameter"),
            ("503", "try again"),
        ])
    }
}
