//! A request on its way through to the CRD server, and the answer back, a watch's events one by one.

use std::error::Error;

use futures_util::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use hyper::{Response, StatusCode};
use kube::client::Body as Upstream;
use kube::Client;
use serde_json::Value;

use super::request::Request;
use super::stand_in::{disguise, group_of_path, path_of_stand_in, undisguise};

pub(super) type Failure = Box<dyn Error + Send + Sync>;
pub(super) type Body = UnsyncBoxBody<Bytes, Failure>;

pub(super) fn whole(body: Vec<u8>) -> Body {
    Full::from(body).map_err(|never| match never {}).boxed_unsync()
}

/// The answer to `asked`; an error when there is none, so that the connection is closed.
pub(super) async fn forward(
    client: &Client,
    asked: &Request,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let group = group_of_path(&asked.path);
    let (mut parts, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes().to_vec();
    let mut path = asked.path.clone();
    if let Some(group) = group {
        path = path_of_stand_in(&path, group);
        if let Ok(mut object) = serde_json::from_slice::<Value>(&body) {
            disguise(&mut object, group);
            body = object.to_string().into_bytes();
        }
    }
    let question_mark = if asked.query.is_empty() { "" } else { "?" };
    parts.uri = format!("{path}{question_mark}{}", asked.query).parse()?;
    // The client's own take their place.
    for header in [AUTHORIZATION, CONTENT_LENGTH, HOST] {
        parts.headers.remove(header);
    }
    let (mut parts, answer) = client.send(hyper::Request::from_parts(parts, Upstream::from(body))).await?.into_parts();
    let Some(group) = group else {
        return Ok(Response::from_parts(parts, answer.map_err(Failure::from).boxed_unsync()));
    };
    parts.headers.remove(CONTENT_LENGTH);
    if asked.is_watch() && parts.status == StatusCode::OK {
        return Ok(Response::from_parts(parts, events(answer, group)));
    }
    let mut answer = answer.collect_bytes().await?.to_vec();
    if let Ok(mut object) = serde_json::from_slice::<Value>(&answer) {
        undisguise(&mut object, group);
        answer = object.to_string().into_bytes();
    }
    Ok(Response::from_parts(parts, whole(answer)))
}

/// Whether the object that was asked for exists.
pub(super) async fn is_there(client: &Client, asked: &Request) -> Result<bool, Failure> {
    let path = match group_of_path(&asked.path) {
        Some(group) => path_of_stand_in(&asked.path, group),
        None => asked.path.clone(),
    };
    let request = hyper::Request::get(path).body(Upstream::empty())?;
    Ok(client.send(request).await?.status() != StatusCode::NOT_FOUND)
}

/// A watch: one event a line.
fn events(answer: Upstream, group: &'static str) -> Body {
    let lines = unfold((answer, Vec::new()), move |(mut answer, mut read): (Upstream, Vec<u8>)| async move {
        loop {
            if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = read.drain(..=end).collect();
                return Some((translated(&line, group), (answer, read)));
            }
            match answer.frame().await? {
                Ok(frame) => read.extend(frame.into_data().unwrap_or_default()),
                Err(error) => return Some((Err(Failure::from(error)), (answer, read))),
            }
        }
    });
    StreamBody::new(lines).boxed_unsync()
}

fn translated(line: &[u8], group: &str) -> Result<Frame<Bytes>, Failure> {
    let mut event: Value = serde_json::from_slice(line)?;
    undisguise(&mut event, group);
    Ok(Frame::data(format!("{event}\n").into()))
}
