//! Logs of containers, as a kubelet answers through the API server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::kube::{Cause, Status};
use super::super::process::{Containers, Line, NotModelled, Run};
use super::path::Query;
use super::reply::{self, Body, Reply};
use super::subresources::check_container;

/// What of a log is wanted.
struct Wish {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    limit: Option<usize>,
}

/// Answers a request for a container's log.
///
/// # Errors
/// 400: no such container, or it has not started. 422: a number that cannot be. 501: what it writes is not known.
pub fn answer(containers: &Containers, pod: &Value, query: &Query) -> Result<Reply, Status> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let name = text("/metadata/name");
    let wish = wish(name, query)?;
    check_container(pod, query, true)?;
    if text("/spec/nodeName").is_empty() {
        // It has not begun to write.
        return Ok(reply::text(200, ""));
    }
    let container = match query.get("container") {
        "" => text("/spec/containers/0/name"),
        named => named,
    };
    let uid = text("/metadata/uid");
    let previous = query.is_true("previous");
    let run = if previous && waits_again(pod, container) {
        containers.run(uid, container)
    } else if previous {
        containers.run_before(uid, container)
    } else {
        containers.run(uid, container)
    };
    let run = if previous {
        run.ok_or_else(|| {
            Status::bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            ))
        })?
    } else {
        run.ok_or_else(|| waiting(pod, name, container))?
    };
    if let Some(NotModelled(what)) = run.unknown() {
        return Err(Status::not_modelled(&format!("logs: {what}")));
    }
    Ok(stream(run, wish))
}

fn wish(pod: &str, query: &Query) -> Result<Wish, Status> {
    let mut causes = Vec::new();
    for (field, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let asked = query.get(field).parse::<i64>().ok();
        if let Some(number) = asked.filter(|n| *n < least) {
            causes.push(Cause::invalid(field, &number.into(), why));
        }
    }
    if !causes.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", pod, &causes));
    }
    if !matches!(query.get("stream"), "" | "All") {
        return Err(Status::not_modelled("logs of one stream alone"));
    }
    let number = |field: &str| query.get(field).parse::<usize>().ok();
    let since = match query.get("sinceTime") {
        "" => number("sinceSeconds").map(|seconds| {
            let past = Duration::from_secs(seconds as u64);
            Timestamp::now()
                .checked_sub(past)
                .unwrap_or(Timestamp::UNIX_EPOCH)
        }),
        time => Some(
            time.parse()
                .map_err(|_| Status::bad_request(format!("parsing time \"{time}\" as RFC 3339")))?,
        ),
    };
    Ok(Wish {
        follow: query.is_true("follow"),
        timestamps: query.is_true("timestamps"),
        tail: number("tailLines"),
        since,
        limit: number("limitBytes"),
    })
}

/// A container's status.
fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten())
        .find(|c| c["name"] == container)
}

/// Whether a container has ended and is on hold: its last run is its previous one then.
fn waits_again(pod: &Value, container: &str) -> bool {
    status_of(pod, container).is_some_and(|status| {
        status["state"]["waiting"].is_object() && status["lastState"]["terminated"].is_object()
    })
}

/// A container that has not started, in the words of a kubelet.
fn waiting(pod: &Value, name: &str, container: &str) -> Status {
    let reason = status_of(pod, container).and_then(|c| c["state"]["waiting"]["reason"].as_str());
    let why = match reason {
        None => {
            return Status::bad_request(format!(
                "container \"{container}\" in pod \"{name}\" is not available"
            ));
        }
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
    };
    Status::bad_request(format!(
        "container \"{container}\" in pod \"{name}\" is waiting to start: {why}"
    ))
}

fn stream(run: Arc<Run>, wish: Wish) -> Reply {
    let (send, receive) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        // A reader that goes away is no event.
        let _ = write(&run, &wish, &send).await;
    });
    let frames = futures::stream::unfold(receive, |mut receive| async move {
        let bytes = receive.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(bytes)), receive))
    });
    let body: Body = BodyExt::boxed(StreamBody::new(frames));
    let mut reply = http::Response::new(body);
    let text = HeaderValue::from_static("text/plain");
    reply.headers_mut().insert(CONTENT_TYPE, text);
    reply
}

/// Writes what is wanted until there is no more, the limit is reached, or nobody reads.
async fn write(run: &Run, wish: &Wish, send: &mpsc::Sender<Bytes>) -> Option<()> {
    let mut news = run.output.changes();
    let mut left = wish.limit.unwrap_or(usize::MAX);
    let mut next = 0;
    let mut first = true;
    loop {
        news.borrow_and_update();
        let (mut lines, after, ended) = run.output.since(next);
        next = after;
        lines.retain(|line| wish.since.is_none_or(|since| line.at >= since));
        if std::mem::take(&mut first)
            && let Some(tail) = wish.tail
        {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        for line in lines {
            let mut bytes = shown(&line, wish.timestamps);
            bytes.truncate(left);
            left -= bytes.len();
            if !bytes.is_empty() {
                send.send(bytes).await.ok()?;
            }
        }
        if ended || !wish.follow || left == 0 {
            return Some(());
        }
        tokio::select! {
            changed = news.changed() => changed.ok()?,
            () = send.closed() => return None,
        }
    }
}

fn shown(line: &Line, timestamps: bool) -> Bytes {
    if !timestamps {
        return line.bytes.clone();
    }
    let mut bytes = format!("{:.9} ", line.at).into_bytes();
    bytes.extend_from_slice(&line.bytes);
    bytes.into()
}
