//! One HTTP request to the API server, and the retries that are safe for requests that only read.
//!
//! `kube` would repeat any request, also a POST, fifteen times; that is switched off
//! ([`super::connect`]) and replaced by rules for each verb: reads are repeated here, mutations
//! only after reading back ([`super::send`]).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use super::connect::PluginError;
use super::diff::REDACTED;
use super::error::{Forbidden, NOT_DONE, Owner, Subject};
use super::{Cluster, ClusterError};

/// A request before it is sent.
#[derive(Clone)]
pub(super) struct Call {
    /// For errors: `get`, `list`, `create`, …
    pub(super) operation: &'static str,
    pub(super) subject: Subject,
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Vec<u8>,
    /// For the whole exchange.
    pub(super) timeout: Duration,
}

impl Call {
    /// A GET.
    pub(super) fn get(operation: &'static str, subject: Subject, path: String) -> Self {
        Self {
            operation,
            subject,
            method: Method::GET,
            path,
            accept: "application/json",
            content_type: None,
            body: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Any other verb, with a JSON body.
    pub(super) fn send(
        operation: &'static str,
        subject: Subject,
        method: Method,
        path: String,
        body: &Value,
    ) -> Self {
        Self {
            method,
            content_type: Some("application/json"),
            body: body.to_string().into_bytes(),
            // Admission webhooks may take up to 30 s each.
            timeout: Duration::from_secs(60),
            ..Self::get(operation, subject, path)
        }
    }
}

/// How a request came to nothing.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// No connection: it was certainly not sent.
    Connect(String),
    /// An answer of success that is no JSON.
    Garbled(String),
    /// It may have been sent; the answer did not arrive.
    Lost(String),
    /// The server answered with an error.
    Status(StatusAnswer),
    /// Somebody wants to stop: no further attempt was made.
    Stopped,
    /// The limit of the call ran out.
    Timeout,
}

/// An error answer, of the API server or of something in front of it.
#[derive(Debug, Clone)]
pub(super) struct StatusAnswer {
    pub(super) code: u16,
    /// `NotFound`, `AlreadyExists`, …; empty if the answer is no `Status`.
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) details: Value,
    pub(super) retry_after: Option<Duration>,
}

impl StatusAnswer {
    /// The causes of one kind: the field, and what is said of it.
    pub(super) fn causes<'a>(
        &'a self,
        reason: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let causes = self.details.get("causes").and_then(Value::as_array);
        causes
            .into_iter()
            .flatten()
            .filter(move |cause| cause["reason"] == reason)
            .map(|cause| {
                let text = |key: &str| cause[key].as_str().unwrap_or("");
                (text("field"), text("message"))
            })
    }

    /// Whether it says the same for as long as the objects are as they are, although its code is
    /// one of those that pass.
    pub(super) fn is_final(&self) -> bool {
        self.budget().is_some()
            || self.message.contains("more than one PodDisruptionBudget")
            || self.wrong_fields().is_some()
    }

    /// What is said against the fields of an object: those that its kind does not have. The server quotes
    /// the whole body before it, a Secret's too. Of an apply it is said with code 500.
    fn wrong_fields(&self) -> Option<&str> {
        const STRICT: &str = "strict decoding error: ";
        const TYPED: &str = "failed to create typed patch object (";
        if self.message.starts_with(TYPED) {
            return Some(self.message.split_once("): ")?.1);
        }
        Some(self.message.rsplit_once(STRICT)?.1)
    }

    /// What a disruption budget says against an eviction: not that the server is busy.
    pub(super) fn budget(&self) -> Option<&str> {
        self.causes("DisruptionBudget").next().map(|(_, said)| said)
    }

    /// A detail: `name`, `kind`, `group`.
    fn detail(&self, key: &str) -> &str {
        self.details.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// The 404 of an object or its namespace, and not of a kind or a path that is not served.
    pub(super) fn is_missing_object(&self) -> bool {
        self.code == 404 && !self.detail("name").is_empty()
    }
}

/// Reads the body of an answer of success; an error says why it cannot.
pub(super) type Parse<'a, T> = dyn FnMut(&[u8]) -> Result<T, String> + Send + 'a;

pub(super) fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|e| format!("{} bytes that are no JSON: {e}", body.len()))
}

/// How often, and how long, a read is tried.
const READ_ATTEMPTS: u32 = 5;
const READ_BUDGET: Duration = Duration::from_secs(40);

impl Cluster {
    /// Sends a request once, when its turn has come, and reads the answer as JSON.
    pub(super) async fn once(&self, call: &Call) -> Result<Value, Failure> {
        self.once_as(call, &mut json).await
    }

    /// As [`Self::once`], with the answer read by `parse`.
    async fn once_as<T>(&self, call: &Call, parse: &mut Parse<'_, T>) -> Result<T, Failure> {
        let _turn = self.turn().await.map_err(|_| Failure::Stopped)?;
        let result = match tokio::time::timeout(call.timeout, self.exchange(call)).await {
            Ok(Ok(answer)) => parse(&answer).map_err(Failure::Garbled),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout),
        };
        match &result {
            Err(Failure::Status(s)) if s.code == 429 && s.budget().is_none() => {
                self.shared.limiter.narrow(s.retry_after);
            }
            Ok(_) => self.shared.limiter.widen(),
            Err(_) => {}
        }
        result
    }

    async fn exchange(&self, call: &Call) -> Result<Bytes, Failure> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, &self.shared.user_agent);
        if let Some(content_type) = call.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(call.body.clone()))
            .map_err(|e| Failure::Connect(e.to_string()))?;
        let response = self.shared.client.send(request).await.map_err(lost)?;
        let (parts, body) = response.into_parts();
        tracing::trace!(
            method = %call.method,
            path = call.path,
            status = parts.status.as_u16(),
            "answered"
        );
        if call.method != Method::GET {
            let headers = parts.headers.get_all(header::WARNING).into_iter();
            for warning in headers.filter_map(|h| warned(h.to_str().ok()?)) {
                self.warn(warning);
            }
        }
        let body = body
            .collect()
            .await
            .map_err(|e| Failure::Lost(root_cause(&e)))?
            .to_bytes();
        if parts.status.is_success() {
            return Ok(body);
        }
        let retry_after = parts
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Err(Failure::Status(status_answer(
            parts.status.as_u16(),
            &body,
            retry_after,
        )))
    }

    /// Sends a request that only reads, again if need be, and reads the answer as JSON.
    pub(super) async fn read(&self, call: &Call) -> Result<Value, ClusterError> {
        self.try_read(call)
            .await
            .map_err(|failure| self.error(call, failure))
    }

    /// As [`Self::read`], with the failure as it came.
    pub(super) async fn try_read(&self, call: &Call) -> Result<Value, Failure> {
        self.try_read_as(call, &mut json).await
    }

    /// As [`Self::try_read`], with the answer read by `parse`.
    pub(super) async fn try_read_as<T>(
        &self,
        call: &Call,
        parse: &mut Parse<'_, T>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let mut attempt = 0;
        loop {
            let failure = match self.once_as(call, parse).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            attempt += 1;
            let wait = pause(attempt, &failure);
            // A process that was stopped for a while (SIGSTOP) finds the limit gone when it goes on, with the
            // answer unread: the first time, that says nothing about the server.
            let spent = start.elapsed() + wait > READ_BUDGET
                && !(attempt == 1 && matches!(failure, Failure::Timeout));
            if !worth_retrying(&failure) || attempt >= READ_ATTEMPTS || spent {
                return Err(failure);
            }
            tracing::debug!(operation = call.operation, subject = ?call.subject, ?failure, attempt, "reading again");
            if self.rest(wait).await.is_err() {
                return Err(Failure::Stopped);
            }
        }
    }

    /// What a failure of a call means.
    pub(super) fn error(&self, call: &Call, failure: Failure) -> ClusterError {
        let operation = call.operation;
        let subject = call.subject.clone();
        match failure {
            Failure::Connect(reason) | Failure::Lost(reason) => ClusterError::Unreachable {
                context: self.shared.context.clone(),
                server: self.shared.server.clone(),
                reason,
            },
            Failure::Garbled(reason) => ClusterError::Decode {
                operation,
                subject,
                reason,
            },
            Failure::Stopped => ClusterError::Interrupted {
                operation,
                subject,
                known: NOT_DONE,
            },
            Failure::Timeout => ClusterError::Timeout {
                operation,
                subject,
                after: call.timeout,
            },
            Failure::Status(status) => self.status_error(call, status),
        }
    }

    fn status_error(&self, call: &Call, status: StatusAnswer) -> ClusterError {
        let operation = call.operation;
        let subject = call.subject.clone();
        let message = sparing(&status.message, subject.resource() == "secret");
        match (status.code, status.reason.as_str()) {
            (401, _) => ClusterError::Unauthorized {
                context: self.shared.context.clone(),
                server: self.shared.server.clone(),
            },
            (403, _) => match rbac(&message, &status) {
                Some(forbidden) => ClusterError::Forbidden(Box::new(forbidden)),
                None => ClusterError::Denied {
                    operation,
                    subject,
                    message,
                },
            },
            (404, _) if status.is_missing_object() => {
                let name = status.detail("name");
                let subject = if status.detail("kind") == "namespaces" {
                    Subject::new("namespace", None, Some(name))
                } else {
                    subject
                };
                ClusterError::NotFound { subject }
            }
            (404, _) => {
                // Served when it was discovered, and no more: discover again for the next name.
                if let Ok(mut catalog) = self.shared.catalog.try_lock() {
                    *catalog = None;
                }
                ClusterError::UnknownKind {
                    name: subject.resource().to_owned(),
                    suggestion: None,
                    unread: Vec::new(),
                }
            }
            (409, _) if status.causes(OWNED).next().is_some() => ClusterError::ApplyConflict {
                subject,
                owners: status.causes(OWNED).map(owner).collect(),
            },
            (429, _) if status.budget().is_some() => {
                let said = status.budget().unwrap_or_default().to_owned();
                let budget = said.strip_prefix("The disruption budget ");
                ClusterError::EvictionBlocked {
                    subject,
                    budget: budget.and_then(|b| Some(b.split_once(' ')?.0.to_owned())),
                    allowed: None,
                    message: said,
                }
            }
            (400 | 422 | 500, _) if status.wrong_fields().is_some() => ClusterError::Invalid {
                operation,
                subject,
                message: status.wrong_fields().unwrap_or_default().to_owned(),
            },
            (409, "AlreadyExists") => ClusterError::AlreadyExists { subject },
            (409, _) => ClusterError::Conflict {
                operation,
                subject,
                message,
            },
            (400 | 413 | 415 | 422, _) => ClusterError::Invalid {
                operation,
                subject,
                message,
            },
            (code, _) => ClusterError::Server {
                operation,
                subject,
                code,
                message,
            },
        }
    }
}

/// What a header `Warning` says: `299 - "unknown field \"x\""`.
fn warned(header: &str) -> Option<String> {
    let (_, quoted) = header.split_once('"')?;
    let mut said = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some(said),
            '\\' => said.extend(chars.next()),
            c => said.push(c),
        }
    }
}

/// The reason of a cause of a failed apply.
const OWNED: &str = "FieldManagerConflict";

/// Reads `conflict with "bob" using v1` and `conflict with "bob" with subresource "scale" using v1`.
fn owner((field, message): (&str, &str)) -> Owner {
    let quoted = message.split('"').nth(1).unwrap_or(message);
    Owner {
        manager: quoted.to_owned(),
        field: field.to_owned(),
    }
}

/// Whether a read may succeed when it is repeated.
pub(super) fn worth_retrying(failure: &Failure) -> bool {
    match failure {
        Failure::Connect(reason) => !reason.contains("certificate"),
        Failure::Garbled(_) | Failure::Lost(_) | Failure::Timeout => true,
        Failure::Status(s) => !s.is_final() && (s.code == 429 || s.code >= 500),
        Failure::Stopped => false,
    }
}

/// How long to wait before the next attempt: what the server asks for (at most 10 s), else 0.1 s
/// doubled each time up to 3 s.
pub(super) fn pause(attempt: u32, failure: &Failure) -> Duration {
    if let Failure::Status(StatusAnswer {
        retry_after: Some(after),
        ..
    }) = failure
    {
        return (*after).clamp(Duration::from_millis(100), Duration::from_secs(10));
    }
    Duration::from_millis(100)
        .saturating_mul(1 << attempt.saturating_sub(1).min(6))
        .min(Duration::from_secs(3))
}

/// The failure that a transport error of `kube` stands for.
pub(super) fn lost(error: kube::Error) -> Failure {
    if let kube::Error::Api(status) = &error {
        return Failure::Status(StatusAnswer {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            details: serde_json::to_value(&status.details).unwrap_or(Value::Null),
            retry_after: None,
        });
    }
    let reason = root_cause(&error);
    if certainly_not_sent(&error) {
        Failure::Connect(reason)
    } else {
        Failure::Lost(reason)
    }
}

fn certainly_not_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(e) = current {
        if let Some(client) = e.downcast_ref::<hyper_util::client::legacy::Error>() {
            return client.is_connect();
        }
        // Without credentials nothing is sent; a request that was answered with 401 had no effect.
        if e.is::<PluginError>() || matches!(e.downcast_ref(), Some(kube::Error::Auth(_))) {
            return true;
        }
        current = e.source();
    }
    false
}

/// The innermost cause, as our messages are written: lower case, no errno.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    let text = current.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

pub(super) fn status_answer(code: u16, body: &[u8], retry_after: Option<Duration>) -> StatusAnswer {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if json.get("kind").and_then(Value::as_str) == Some("Status") {
        let text = |key| {
            json.get(key)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let details = json.get("details").cloned().unwrap_or(Value::Null);
        let retry_after = retry_after.or_else(|| {
            let seconds = details.get("retryAfterSeconds")?.as_u64()?;
            Some(Duration::from_secs(seconds))
        });
        return StatusAnswer {
            code,
            reason: text("reason"),
            message: text("message"),
            details,
            retry_after,
        };
    }
    // A proxy, a load balancer, or a path that the server does not know answers in plain text.
    let text = String::from_utf8_lossy(body);
    let message = match text.trim() {
        "" => "no explanation",
        text => text,
    };
    StatusAnswer {
        code,
        reason: String::new(),
        message: message.chars().take(300).collect(),
        details: Value::Null,
        retry_after,
    }
}

/// Reads RBAC's three wordings: of a collection (`pods is forbidden: User "u" cannot list resource
/// "pods" in API group "" in the namespace "NS"`), of an object, and of a path (`forbidden: User
/// "u" cannot get path "/metrics"`). None for a 403 of an admission plugin.
fn rbac(message: &str, status: &StatusAnswer) -> Option<Forbidden> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(' ')?;
    let quoted = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before)?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let resource = if let Some(path) = quoted(rest, "path \"") {
        path
    } else {
        let resource = quoted(rest, "resource \"")?;
        match quoted(rest, "API group \"").filter(|g| !g.is_empty()) {
            // RBAC writes the group behind the subresource: `pods/portforward`.
            Some(group) => match resource.split_once('/') {
                Some((main, sub)) => format!("{main}.{group}/{sub}"),
                None => format!("{resource}.{group}"),
            },
            None => resource,
        }
    };
    Some(Forbidden {
        user: user.to_owned(),
        verb: verb.to_owned(),
        resource,
        namespace: quoted(rest, "in the namespace \""),
        name: Some(status.detail("name").to_owned()).filter(|n| !n.is_empty()),
    })
}

/// A server's message without the whole objects that it quotes (`Invalid value: "{…"`): of a Secret nothing, of
/// others the beginning.
fn sparing(message: &str, secret: bool) -> String {
    const QUOTED: &str = "Invalid value: \"";
    const SHOWN: usize = 120;
    let mut rest = message;
    let mut said = String::new();
    while let Some(at) = rest.find(QUOTED) {
        let (before, quoted) = rest.split_at(at + QUOTED.len());
        said.push_str(before);
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (value, after) = quoted.split_at(end.unwrap_or(quoted.len()));
        if secret {
            said.push_str(REDACTED);
        } else if let Some((cut, _)) = value.char_indices().nth(SHOWN) {
            said.push_str(&value[..cut]);
            said.push('…');
        } else {
            said.push_str(value);
        }
        rest = after;
    }
    said + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_quotes_of_a_secret_is_not_said_and_of_others_the_beginning() {
        let of = |value: &str| {
            format!("Secret \"s\" is invalid: Invalid value: \"{value}\": unmarshal error")
        };
        let quoted = of(r#"{\"data\":{\"pw\":\"aHVudGVyMg==\"},\"kind\":\"Secret\"}"#);
        assert_eq!(sparing(&quoted, true), of(REDACTED));
        assert_eq!(sparing(&quoted, false), quoted, "short");
        let long = sparing(&of(&"x".repeat(5000)), false);
        assert!(
            long.len() < 300 && long.ends_with("…\": unmarshal error"),
            "{long}"
        );
        assert_eq!(
            sparing("Invalid value: \"cut", true),
            format!("Invalid value: \"{REDACTED}")
        );
        assert_eq!(sparing("nothing quoted", true), "nothing quoted");
    }

    fn answer(body: &str) -> StatusAnswer {
        status_answer(403, body.as_bytes(), None)
    }

    #[test]
    fn all_three_wordings_of_rbac_are_read() {
        // As kube-apiserver 1.34 words them.
        let list = answer(
            r#"{"kind":"Status","reason":"Forbidden","message":"pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"shop\"","details":{"kind":"pods"}}"#,
        );
        let got = rbac(&list.message, &list).unwrap();
        assert_eq!(
            ClusterError::Forbidden(Box::new(got)).to_string(),
            "user `u` may not list `pods` in namespace `shop`"
        );
        let patch = answer(
            r#"{"kind":"Status","reason":"Forbidden","message":"deployments.apps \"web\" is forbidden: User \"system:serviceaccount:shop:bob\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"","details":{"name":"web","group":"apps","kind":"deployments"}}"#,
        );
        let error = ClusterError::Forbidden(Box::new(rbac(&patch.message, &patch).unwrap()));
        assert_eq!(
            error.to_string(),
            "user `system:serviceaccount:shop:bob` may not patch `deployments.apps` `web` in namespace `shop`"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some("grant the verb `patch` on `deployments.apps` in namespace `shop`")
        );
        let cluster = answer(
            r#"{"kind":"Status","message":"namespaces is forbidden: User \"u\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope","details":{"kind":"namespaces"}}"#,
        );
        assert_eq!(
            ClusterError::Forbidden(Box::new(rbac(&cluster.message, &cluster).unwrap()))
                .to_string(),
            "user `u` may not list `namespaces` in the whole cluster"
        );
        let url = answer(
            r#"{"kind":"Status","message":"forbidden: User \"u\" cannot get path \"/metrics\"","details":{}}"#,
        );
        assert_eq!(rbac(&url.message, &url).unwrap().resource, "/metrics");
        let quota = answer(
            r#"{"kind":"Status","reason":"Forbidden","message":"pods \"a\" is forbidden: exceeded quota: q","details":{"name":"a","kind":"pods"}}"#,
        );
        assert_eq!(rbac(&quota.message, &quota), None);
    }

    #[test]
    fn a_warning_is_read_as_it_was_meant() {
        assert_eq!(
            warned(r#"299 - "unknown field \"spec.x\"""#).as_deref(),
            Some(r#"unknown field "spec.x""#)
        );
        assert_eq!(warned("299 - \"cut"), None);
    }

    #[test]
    fn three_shapes_of_404_are_told_apart() {
        let object = status_answer(
            404,
            br#"{"kind":"Status","reason":"NotFound","message":"pods \"a\" not found","details":{"name":"a","kind":"pods"}}"#,
            None,
        );
        assert!(object.is_missing_object());
        let kind = status_answer(
            404,
            br#"{"kind":"Status","reason":"NotFound","message":"the server could not find the requested resource","details":{}}"#,
            None,
        );
        assert!(!kind.is_missing_object());
        let path = status_answer(404, b"404 page not found\n", None);
        assert!(!path.is_missing_object());
        assert_eq!(path.message, "404 page not found");
    }

    #[test]
    fn pauses_grow_and_heed_the_server() {
        let lost = Failure::Lost("x".into());
        let pauses: Vec<u128> = (1..=7).map(|n| pause(n, &lost).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        let mut busy = answer("{}");
        busy.retry_after = Some(Duration::from_secs(1));
        assert_eq!(
            pause(1, &Failure::Status(busy.clone())),
            Duration::from_secs(1)
        );
        busy.retry_after = Some(Duration::from_secs(3600));
        assert_eq!(pause(1, &Failure::Status(busy)), Duration::from_secs(10));
    }
}
