//! Watches: the changes of a resource, as they happen, one JSON document a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::kube::{Change, Kube, Status};
use super::convert::{self, View};
use super::listing::Selection;
use super::options;
use super::path::Query;
use super::reply::{Body, Form, Reply, partial};
use super::table;

/// How often a watch without changes says where it is, to those who want to know.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lasts when it does not say.
const DEFAULT_SECONDS: u64 = 1800;

/// A watch as it was asked for.
struct Watch {
    kube: Kube,
    view: View,
    namespace: Option<String>,
    selection: Selection,
    form: Form,
    include: String,
    bookmarks: bool,
    /// Whether the columns of a table have been sent.
    columns_sent: bool,
    send: mpsc::Sender<Bytes>,
}

/// Answers a watch request.
///
/// # Errors
/// As an API server refuses it.
pub fn answer(
    kube: &Kube,
    view: &View,
    namespace: Option<&str>,
    query: &Query,
    form: Form,
    name: &str,
) -> Result<Reply, Status> {
    options::check_watch(query)?;
    let mut selection = Selection::read(&view.resource, &view.version, query)?;
    if !name.is_empty() {
        selection.fields =
            super::super::kube::selector::FieldSelector::parse(&format!("metadata.name={name}"))
                .map_err(Status::bad_request)?;
    }
    let asked = query.get("resourceVersion");
    let from = convert::version_number(asked)?;
    let initial = query.is_true("sendInitialEvents");
    let seconds = query
        .get("timeoutSeconds")
        .parse()
        .unwrap_or(DEFAULT_SECONDS);
    let (send, receive) = mpsc::channel(64);
    let watch = Watch {
        kube: kube.clone(),
        view: view.clone(),
        namespace: namespace.map(str::to_owned),
        selection,
        form,
        include: query.get("includeObject").to_owned(),
        bookmarks: query.is_true("allowWatchBookmarks"),
        columns_sent: false,
        send,
    };
    let all_first = initial || from == 0;
    tokio::spawn(async move {
        let limit = Duration::from_secs(seconds.max(1));
        let _ = tokio::time::timeout(limit, watch.run(from, all_first, initial)).await;
    });
    let frames = stream::unfold(receive, |mut receive| async move {
        let bytes = receive.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(bytes)), receive))
    });
    let body: Body = BodyExt::boxed(StreamBody::new(frames));
    let mut reply = http::Response::new(body);
    reply.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(reply)
}

/// The asker is gone.
struct Gone;

impl Watch {
    async fn run(mut self, from: u64, all_first: bool, say_when_current: bool) -> Result<(), Gone> {
        let name = self.view.resource.storage_name();
        let mut wake = self.kube.changes_of(&name);
        let mut at = from;
        if all_first {
            let (version, listing) = self.kube.store().list(&name, self.namespace.as_deref());
            for (_, object) in listing {
                if self.selection.has(&object) {
                    self.event("ADDED", &object).await?;
                }
            }
            at = version;
            if say_when_current {
                self.bookmark(at, true).await?;
            }
        }
        loop {
            wake.mark_unchanged();
            // Read first: every change up to it is among those that follow.
            let now = self.kube.store().version();
            match self.kube.store().since(&name, at) {
                Ok(changes) => {
                    at = at.max(now);
                    for change in changes {
                        at = at.max(change.version);
                        self.change(&change).await?;
                    }
                }
                Err(expired) => {
                    let status = Status::expired(at, expired.oldest).to_value();
                    return self.line("ERROR", &status).await;
                }
            }
            tokio::select! {
                () = self.send.closed() => return Err(Gone),
                done = wake.changed() => if done.is_err() { return Ok(()) },
                () = tokio::time::sleep(BOOKMARK_EVERY), if self.bookmarks => {
                    self.bookmark(at, false).await?;
                }
            }
        }
    }

    /// A change as a selection sees it: what comes into it is added, what leaves it deleted.
    async fn change(&mut self, change: &Change) -> Result<(), Gone> {
        if self.namespace.as_ref().is_some_and(|n| *n != change.key.0) {
            return Ok(());
        }
        let was = change.before.as_ref().filter(|o| self.selection.has(o));
        let is = !change.deleted && self.selection.has(&change.object);
        match (was, is) {
            (None, false) => Ok(()),
            (None, true) => self.event("ADDED", &change.object).await,
            (Some(_), true) => self.event("MODIFIED", &change.object).await,
            (Some(_), false) if change.deleted => self.event("DELETED", &change.object).await,
            (Some(before), false) => {
                let mut last = (**before).clone();
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                self.event("DELETED", &Arc::new(last)).await
            }
        }
    }

    async fn event(&mut self, kind: &str, object: &Arc<Value>) -> Result<(), Gone> {
        let shown = self.view.show(object);
        match self.form {
            Form::Object => self.line(kind, shown.as_ref()).await,
            Form::Partial => self.line(kind, &partial(&shown)).await,
            Form::Table => {
                let meta = json!({"resourceVersion": shown["metadata"]["resourceVersion"]});
                let made = table::of(&self.view, &[shown.as_ref()], &meta, &self.include);
                let Ok(mut table) = made else { return Ok(()) };
                if self.columns_sent {
                    table["columnDefinitions"] = Value::Null;
                }
                self.columns_sent = true;
                self.line(kind, &table).await
            }
        }
    }

    async fn bookmark(&mut self, version: u64, current: bool) -> Result<(), Gone> {
        let mut meta = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if current {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({
            "kind": self.view.resource.kind,
            "apiVersion": self.view.api_version(),
            "metadata": meta,
        });
        if self.form == Form::Partial {
            object = partial(&object);
        }
        if self.form == Form::Table {
            let row = json!({"cells": [], "object": partial(&object)});
            object = json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"], "columnDefinitions": [], "rows": [row],
            });
        }
        self.line("BOOKMARK", &object).await
    }

    async fn line(&self, kind: &str, object: &Value) -> Result<(), Gone> {
        let mut text = Vec::with_capacity(1024);
        text.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        serde_json::to_writer(&mut text, object).map_err(|_| Gone)?;
        text.extend_from_slice(b"}\n");
        self.send.send(Bytes::from(text)).await.map_err(|_| Gone)
    }
}
