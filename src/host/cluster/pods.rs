//! Words about what runs in a pod: its logs, commands in it, its ports.

use super::super::time::duration;
use super::super::world::World;
use crate::cluster::{Cluster, ExecOptions, Limits, LogOptions};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use jiff::Timestamp;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "pods", words);
}

#[export_module]
mod words {
    /// Executes a command in a pod's default container and gives its exit code and what it wrote.
    ///
    /// kubectl: `kubectl exec POD -- COMMAND ARG…`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `command`: the program and its arguments, as texts; no shell, unless it is one.
    ///
    /// Gives `#{code, stdout, stderr, truncated}`: a code other than 0 is no error, 127 stands for a program that is
    /// not there and 126 for one that cannot be run; `truncated` tells that there was more output than was kept.
    /// Throws `cluster` if the pod does not exist, the container does not run or is not named where there are several,
    /// or the connection breaks before the command's end (what it has done is not known then; it is never sent twice);
    /// `refused` in a run that only reads.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "shop", labels: "app=web" })[0].metadata.name;
    /// let said = cluster::exec("shop", pod, ["sh", "-c", "echo out; echo err >&2; exit 3"]);
    /// assert(said.code == 3 && said.stdout == "out\n" && said.stderr == "err\n", said);
    /// ```
    #[rhai_fn(name = "exec", return_raw, volatile)]
    pub fn exec(ctx: NativeCallContext, namespace: &str, pod: &str, command: Array) -> Reply<Map> {
        super::exec(&ctx, namespace, pod, command, Map::new())
    }

    /// Executes a command in a pod, with options.
    ///
    /// kubectl: `kubectl exec -i POD -c CONTAINER -- COMMAND ARG…`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `command`: the program and its arguments, as texts.
    /// - `options`: `container`; `stdin`, a text that the command reads; `timeout`, seconds until it must be done (60);
    ///   `max_output`, bytes of each output that are kept (16 MiB); `check`, whether a code other than 0 is thrown (false).
    ///
    /// Gives and throws as without options.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "shop", labels: "app=web" })[0].metadata.name;
    /// assert(cluster::exec("shop", pod, ["cat"], #{ stdin: "a line" }).stdout == "a line", "what it read");
    /// let certs = cluster::exec("shop", pod, ["pilot-agent", "request", "GET", "certs"], #{ container: "istio-proxy" });
    /// assert(certs.code == 0 && certs.stdout.contains("cert_chain"), certs);
    /// ```
    #[rhai_fn(name = "exec", return_raw, volatile)]
    pub fn exec_with(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        command: Array,
        options: Map,
    ) -> Reply<Map> {
        super::exec(&ctx, namespace, pod, command, options)
    }

    /// Calls a closure with each line that a container writes, from its start on and as they come, until it gives
    /// `false`, the container ends, or the time is up.
    ///
    /// kubectl: `kubectl logs -f POD -c CONTAINER --since=5m`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `options`: as for `cluster::logs`; `timeout`, seconds (300).
    /// - `f`: takes a line, without its end.
    ///
    /// Gives `#{lines, ended}`: how many lines there were, and whether it was the `closure`, the `container`, the
    /// `timeout` or the `connection` that ended it, the last while the container still runs. Throws as `cluster::logs`, and `environment` if the connection breaks.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// let seen = [];
    /// let end = cluster::follow_logs("legacy", pod, #{ timeout: 5 }, |line| { seen.push(line); false });
    /// assert(end.ended == "closure" && seen == ["listening on :8080"], seen);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn follow_logs(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        options: Map,
        f: FnPtr,
    ) -> Reply<Map> {
        super::follow(&ctx, namespace, pod, options, &f)
    }

    /// Asks a port of a pod for a path, by HTTP through a port-forward.
    ///
    /// kubectl: `kubectl port-forward POD 8080 & curl -i localhost:8080/healthz`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `port`: the port inside of the pod, whether it is declared or not.
    /// - `path`: from the `/` on.
    ///
    /// Gives `#{status, headers, body}`, whatever the status; names of headers are in lower case, the body is text.
    /// Throws `cluster` if there is no such pod, nobody listens, or the answer is cut short; an answer with neither
    /// `content-length` nor chunks ends with the connection, and it cannot be told whether that was its end.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// let answer = cluster::http_get("legacy", pod, 8080, "/");
    /// assert(answer.status == 200 && answer.headers["content-type"] == "application/json", answer);
    /// ```
    #[rhai_fn(name = "http_get", return_raw, volatile)]
    pub fn http_get(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        port: i64,
        path: &str,
    ) -> Reply<Map> {
        super::http_get(&ctx, namespace, pod, port, path, Map::new())
    }

    /// Asks a port of a pod for a path, with options.
    ///
    /// kubectl: `kubectl port-forward POD 8080 & curl -i -H 'NAME: VALUE' localhost:8080/healthz`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `port`: the port inside of the pod.
    /// - `path`: from the `/` on.
    /// - `options`: `timeout`, seconds for all of it (30); `headers`, a map of texts; `max_body`, bytes (64 MiB).
    ///
    /// Gives and throws as without options.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// let answer = cluster::http_get("legacy", pod, 8080, "/", #{ timeout: 5, headers: #{ accept: "*/*" } });
    /// assert(data::parse_json(answer.body).workload == `legacy/${pod}`, answer.body);
    /// ```
    #[rhai_fn(name = "http_get", return_raw, volatile)]
    pub fn http_get_with(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        port: i64,
        path: &str,
        options: Map,
    ) -> Reply<Map> {
        super::http_get(&ctx, namespace, pod, port, path, options)
    }

    /// What a pod's default container has written, as text.
    ///
    /// kubectl: `kubectl logs POD`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    ///
    /// What is no UTF-8 becomes `\uFFFD`. Throws `cluster` if the pod does not exist, the container has not started, or is
    /// not named where there are several and the pod does not say which is meant; and if there are more than 64 MiB.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// assert(cluster::logs("legacy", pod) == "listening on :8080\n", "what the application says first");
    /// ```
    #[rhai_fn(name = "logs", return_raw, volatile)]
    pub fn logs(ctx: NativeCallContext, namespace: &str, pod: &str) -> Reply<String> {
        super::logs(&ctx, namespace, pod, Map::new())
    }

    /// What a container has written, with options.
    ///
    /// kubectl: `kubectl logs POD -c CONTAINER --tail=20 --since=5m --timestamps --previous`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `options`: `container`; `previous`, of the run before the present one (false); `tail`, so many of the last lines;
    ///   `since`, seconds back from now or an RFC 3339 time; `timestamps`, whether each line begins with its time (false);
    ///   `limit_bytes`, after which the server cuts off.
    ///
    /// Throws as without options, and `cluster` if there was no previous run.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "shop", labels: "app=web" })[0].metadata.name;
    /// let last = cluster::logs("shop", pod, #{ container: "istio-proxy", tail: 1, since: 3600 });
    /// assert(last.ends_with("Envoy proxy is ready\n"), last);
    /// ```
    #[rhai_fn(name = "logs", return_raw, volatile)]
    pub fn logs_with(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        options: Map,
    ) -> Reply<String> {
        super::logs(&ctx, namespace, pod, options)
    }

    /// Opens a port of this machine that leads to a port of a pod while a closure runs, for programs that speak
    /// something else than HTTP.
    ///
    /// kubectl: `kubectl port-forward POD :8080`
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    /// - `port`: the port inside of the pod.
    /// - `f`: takes the address, `127.0.0.1:PORT` with a free port.
    ///
    /// Gives what the closure gives; the port is closed after it. Throws `cluster` if the pod does not exist or does not
    /// run, and what the closure throws. That nobody listens in the pod shows at the first connection, which is closed.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// let status = cluster::port_forward("legacy", pod, 8080, |address| http::get(`http://${address}/`).status);
    /// assert(status == 200, status);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn port_forward(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        port: i64,
        f: FnPtr,
    ) -> Reply<Dynamic> {
        let (world, cluster) = super::super::place(&ctx)?;
        let port = super::port_number(port)?;
        let local = world.wait(cluster.listen(namespace, pod, port))?;
        f.call_within_context(&ctx, (local.address().to_string(),))
    }
}

fn port_number(port: i64) -> Reply<u16> {
    let number = u16::try_from(port).ok().filter(|p| *p > 0);
    number.ok_or_else(|| {
        kit::fail(Failure::script(format!(
            "a port is a number from 1 to 65535, not {port}"
        )))
    })
}

#[derive(Deserialize)]
#[serde(default)]
struct Exec {
    container: Option<String>,
    stdin: Option<String>,
    timeout: f64,
    max_output: Option<usize>,
    check: bool,
}

impl Default for Exec {
    fn default() -> Exec {
        Exec {
            container: None,
            stdin: None,
            timeout: 60.0,
            max_output: None,
            check: false,
        }
    }
}

fn exec(
    ctx: &NativeCallContext,
    namespace: &str,
    pod: &str,
    command: Array,
    options: Map,
) -> Reply<Map> {
    const KNOWN: &[&str] = &["container", "stdin", "timeout", "max_output", "check"];
    let (world, cluster) = super::place(ctx)?;
    let options: Exec = kit::options("cluster::exec", options, KNOWN)?;
    let command = command
        .into_iter()
        .map(|part| {
            part.into_string().map_err(|found| {
                kit::fail(
                    Failure::script(format!(
                        "a command to execute is a list of texts, with no {found} in it"
                    ))
                    .hint("like `[\"sh\", \"-c\", \"echo hello\"]`"),
                )
            })
        })
        .collect::<Reply<Vec<String>>>()?;
    let default = ExecOptions::default();
    let how = ExecOptions {
        container: options.container,
        stdin: options.stdin.map(String::into_bytes),
        timeout: duration("`timeout`", &options.timeout.into())?,
        max_output: options.max_output.unwrap_or(default.max_output),
        check: options.check,
    };
    let done = world.wait(cluster.exec(namespace, pod, &command, &how))?;
    let text = |bytes: &[u8]| Dynamic::from(String::from_utf8_lossy(bytes).into_owned());
    Ok(map([
        ("code", i64::from(done.code).into()),
        ("stdout", text(&done.stdout)),
        ("stderr", text(&done.stderr)),
        ("truncated", done.truncated.into()),
    ]))
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Map {
    let entries = entries.into_iter();
    entries.map(|(key, value)| (key.into(), value)).collect()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Logs {
    container: Option<String>,
    previous: bool,
    tail: Option<u64>,
    since: Option<Since>,
    timestamps: bool,
    limit_bytes: Option<u64>,
    timeout: Option<f64>,
}

/// Seconds back from now, or a time.
#[derive(Deserialize)]
#[serde(untagged)]
enum Since {
    Seconds(f64),
    Time(String),
}

const LOGS: &[&str] = &[
    "container",
    "previous",
    "tail",
    "since",
    "timestamps",
    "limit_bytes",
];

impl Logs {
    fn wanted(self, word: &str) -> Reply<LogOptions> {
        let (since, since_time) = match self.since {
            None => (None, None),
            Some(Since::Seconds(seconds)) => (Some(duration("`since`", &seconds.into())?), None),
            Some(Since::Time(time)) => {
                let time: Timestamp = super::super::time::parse(word, &time)?;
                (None, Some(time))
            }
        };
        Ok(LogOptions {
            container: self.container,
            previous: self.previous,
            tail: self.tail,
            since,
            since_time,
            timestamps: self.timestamps,
            limit_bytes: self.limit_bytes,
        })
    }
}

fn logs(ctx: &NativeCallContext, namespace: &str, pod: &str, options: Map) -> Reply<String> {
    let (world, cluster) = super::place(ctx)?;
    let options: Logs = kit::options("cluster::logs", options, LOGS)?;
    let wanted = options.wanted("cluster::logs")?;
    world.bridge().watch(cluster.logs(namespace, pod, &wanted))
}

fn follow(
    ctx: &NativeCallContext,
    namespace: &str,
    pod: &str,
    options: Map,
    f: &FnPtr,
) -> Reply<Map> {
    let (world, cluster): (World, Cluster) = super::place(ctx)?;
    let known: Vec<&str> = LOGS.iter().copied().chain(["timeout"]).collect();
    let options: Logs = kit::options("cluster::follow_logs", options, &known)?;
    let limit = duration("`timeout`", &options.timeout.unwrap_or(300.0).into())?;
    let wanted = options.wanted("cluster::follow_logs")?;
    let until = Instant::now() + limit;
    let bridge = world.bridge();
    let mut stream = bridge.watch(cluster.follow_logs(namespace, pod, &wanted))?;
    let ended = loop {
        let left = until.saturating_duration_since(Instant::now());
        let next = bridge.watch(async {
            match tokio::time::timeout(left, stream.next()).await {
                Ok(next) => next.map(Some),
                Err(_) => Ok(None),
            }
        })?;
        match next {
            None => break "timeout",
            Some(None) => {
                let over = bridge.watch(stream.has_container_ended())?;
                break if over { "container" } else { "connection" };
            }
            Some(Some(line)) => {
                let more: Dynamic = f.call_within_context(ctx, (line,))?;
                if matches!(more.as_bool(), Ok(false)) {
                    break "closure";
                }
            }
        }
    };
    let lines = i64::try_from(stream.lines()).unwrap_or(i64::MAX);
    Ok(map([("lines", lines.into()), ("ended", ended.into())]))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Http {
    timeout: Option<f64>,
    headers: BTreeMap<String, String>,
    max_body: Option<usize>,
}

fn http_get(
    ctx: &NativeCallContext,
    namespace: &str,
    pod: &str,
    port: i64,
    path: &str,
    options: Map,
) -> Reply<Map> {
    let (world, cluster) = super::place(ctx)?;
    let known = ["timeout", "headers", "max_body"];
    let options: Http = kit::options("cluster::http_get", options, &known)?;
    let port = port_number(port)?;
    let mut limits = Limits::default();
    if let Some(timeout) = options.timeout {
        limits.total = duration("`timeout`", &timeout.into())?;
        limits.connect = limits
            .connect
            .min(limits.total.max(Duration::from_millis(1)));
    }
    limits.body = options.max_body.unwrap_or(limits.body);
    let headers: Vec<(String, String)> = options.headers.into_iter().collect();
    let answer = world.bridge().watch(async {
        let mut forward = cluster.forward(namespace, pod, port, &limits).await?;
        forward.get_with(path, &headers).await
    })?;
    let headers: Map = answer
        .headers
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(map([
        ("status", i64::from(answer.status).into()),
        ("headers", headers.into()),
        ("body", body.into()),
    ]))
}
