//! The desk's answers as responses of the protocol `stage://`.

use tauri::http::{
    Response, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};

use crate::desk::Reply;

/// For an address that always gives the same picture.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub(crate) fn response(reply: Reply) -> Response<Vec<u8>> {
    match reply {
        Reply::Picture { picture, lasting } => {
            let cache = if lasting { FOR_EVER } else { "no-store" };
            // Usually nobody else holds the bytes of a thumbnail; a tile's are also in the cache.
            let bytes = std::sync::Arc::unwrap_or_clone(picture.bytes);
            answer(StatusCode::OK, picture.media_type, cache, bytes)
        }
        Reply::Missing(why) => text(StatusCode::NOT_FOUND, &why),
        Reply::Failed(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

pub(crate) fn missing(why: &str) -> Response<Vec<u8>> {
    text(StatusCode::NOT_FOUND, why)
}

fn text(status: StatusCode, why: &str) -> Response<Vec<u8>> {
    answer(status, "text/plain; charset=utf-8", "no-store", why.as_bytes().to_vec())
}

fn answer(status: StatusCode, media_type: &'static str, cache: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    // The front end draws the pictures on canvases and reads them back.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

#[cfg(test)]
mod tests {
    use outframe_studio::tiles::nothing;

    use super::*;

    #[test]
    fn pictures_are_kept_and_errors_are_not() {
        let kept = response(Reply::Picture { picture: nothing(), lasting: true });
        assert_eq!(
            (kept.status(), &kept.headers()[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("image/png"))
        );
        assert!(kept.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let passing = response(Reply::Picture { picture: nothing(), lasting: false });
        assert_eq!(passing.headers()[CACHE_CONTROL], "no-store");
        let gone = response(Reply::Missing("No picture: gone.".into()));
        assert_eq!((gone.status(), gone.body().as_slice()), (StatusCode::NOT_FOUND, &b"No picture: gone."[..]));
        for response in [kept, passing, gone] {
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }
}
