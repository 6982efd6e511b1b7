//! Every way in which a connection comes about, and every way in which it does not, each with what is
//! said of it. Servers that answer otherwise than an API server are a few lines each.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use rootshift::pki::mint::{Authority, CaSpec, LeafSpec};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::support::{Program, rootshift};

/// A kubeconfig that is changed a little for each case.
struct Config {
    value: Value,
    dir: tempfile::TempDir,
}

impl Config {
    fn of(place: &Place) -> Self {
        let text = std::fs::read_to_string(&place.kubeconfig).unwrap();
        Self {
            value: serde_saphyr::from_str(&text).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn cluster(&mut self) -> &mut Value {
        &mut self.value["clusters"][0]["cluster"]
    }

    fn user(&mut self) -> &mut Value {
        &mut self.value["users"][0]["user"]
    }

    fn server(&mut self) -> String {
        self.cluster()["server"].as_str().unwrap().to_owned()
    }

    /// A credential plugin that is a shell script.
    fn plugin(&mut self, script: &str) {
        *self.user() = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "IfAvailable",
            "command": "sh", "args": ["-c", script],
            "env": [{"name": "STATE", "value": self.dir.path().join("state").to_str().unwrap()}],
        }});
    }

    async fn try_connect(&self, change: impl FnOnce(&mut Target)) -> Result<Cluster, ClusterError> {
        let path = self.dir.path().join("config");
        std::fs::write(&path, self.value.to_string()).unwrap();
        let mut target = Target {
            kubeconfig: Some(path),
            patience: Some(Duration::from_millis(700)),
            ..Target::default()
        };
        change(&mut target);
        Cluster::connect(&target).await
    }

    async fn connect(&self) -> Cluster {
        let cluster = self.try_connect(|_| ()).await;
        cluster.unwrap_or_else(|e| panic!("{e}"))
    }

    /// What is said of the failure: its kind, its text without the directory, its hint.
    async fn said(&self) -> (&'static str, String, String) {
        let error = self.try_connect(|_| ()).await.unwrap_err();
        let dir = self.dir.path().to_str().unwrap();
        let text = error.to_string().replace(dir, "[DIR]");
        (error.kind(), text, error.hint().unwrap_or_default())
    }
}

/// What is done to a kubeconfig.
type Change = Box<dyn Fn(&mut Config)>;

/// The answer of a plugin with this token.
fn credential(token: &str) -> String {
    format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{{"token":"{token}"}}}}"#
    )
}

/// A server that does the same with each connection.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    (address, task)
}

/// A server that answers every request with the same text.
async fn answering(answer: &'static str) -> (SocketAddr, JoinHandle<()>) {
    server(move |mut stream| async move {
        let mut seen = Vec::new();
        while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
            if seen.ends_with(b"\r\n\r\n") || !seen.is_ascii() {
                seen.clear();
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    })
    .await
}

/// A proxy that knows CONNECT and leads every request to one server; it notes what it was asked.
async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let (address, _) = server(move |mut stream| {
        let notes = Arc::clone(&notes);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            notes.lock().unwrap().push(String::from_utf8(head).unwrap());
            let mut onward = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
            tokio::io::copy_bidirectional(&mut stream, &mut onward)
                .await
                .ok();
        }
    })
    .await;
    (address, asked)
}

/// A server that speaks TLS with a certificate that expired yesterday; its root in PEM.
async fn expired() -> (SocketAddr, String) {
    let now = Timestamp::now();
    let hours = SignedDuration::from_hours;
    let ca = CaSpec::istio("test", now).valid(now - hours(72), now + hours(72));
    let ca = Authority::self_signed(&ca).unwrap();
    let spec = LeafSpec {
        ips: vec!["127.0.0.1".parse().unwrap()],
        ..LeafSpec::uris::<String>([], now).valid(now - hours(48), now - hours(24))
    };
    let (cert, key) = ca.issue(&spec).unwrap();
    let key = rustls_pki_types::pem::PemObject::from_pem_slice(
        secrecy::ExposeSecret::expose_secret(&key.pem()).as_bytes(),
    )
    .unwrap();
    let chain = vec![rustls_pki_types::CertificateDer::from(cert.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (address, _) = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            acceptor.accept(stream).await.ok();
        }
    })
    .await;
    (address, ca.root().pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_kubeconfig_is_said_with_its_place() {
    let place = Place::new().await;
    let context = Config::of(&place).value["current-context"].clone();
    let context = context.as_str().unwrap();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let cases: Vec<(&str, Change)> = vec![
        (
            "there is no cluster `gone`; the file has `CONTEXT`",
            Box::new(|c| c.value["contexts"][0]["context"]["cluster"] = json!("gone")),
        ),
        (
            "there is no user `gone`; the file has `twin-admin@CONTEXT`",
            Box::new(|c| c.value["contexts"][0]["context"]["user"] = json!("gone")),
        ),
        (
            "its cluster has no `server`",
            Box::new(|c| {
                c.cluster().as_object_mut().unwrap().remove("server");
            }),
        ),
        (
            "`127.0.0.1:1` is no address of a server: it begins with `https://`",
            Box::new(|c| c.cluster()["server"] = json!("127.0.0.1:1")),
        ),
        (
            "`certificate-authority`: [DIR]/ca.crt: no such file or directory",
            Box::new(|c| {
                *c.cluster() = json!({"server": c.server(), "certificate-authority": "ca.crt"});
            }),
        ),
        (
            "`client-certificate`: [DIR]/me.crt: cannot read: no such file or directory",
            Box::new(|c| {
                *c.user() = json!({"client-certificate": "me.crt", "client-key": "me.key"});
            }),
        ),
        (
            "its user has a client certificate, but no key",
            Box::new(move |c| *c.user() = json!({"client-certificate-data": base64("x")})),
        ),
        (
            "`tokenFile`: [DIR]/token: cannot read: no such file or directory",
            Box::new(|c| *c.user() = json!({"tokenFile": "token"})),
        ),
    ];
    for (reason, change) in cases {
        let mut config = Config::of(&place);
        change(&mut config);
        let (kind, text, hint) = config.said().await;
        let reason = reason.replace("CONTEXT", context);
        assert_eq!(
            text,
            format!("kubeconfig `[DIR]/config` cannot be used: context `{context}`: {reason}")
        );
        assert_eq!(kind, "environment");
        assert_eq!(hint, "correct it, or give another file with --kubeconfig");
    }
    let mut config = Config::of(&place);
    config.cluster()["certificate-authority-data"] = json!("***");
    let (_, text, _) = config.said().await;
    assert!(
        text.contains("`certificate-authority-data` is no base64"),
        "{text}"
    );
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_said_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = async |path: &Path| {
        let target = Target {
            kubeconfig: Some(path.to_owned()),
            ..Target::default()
        };
        Cluster::connect(&target).await.unwrap_err().to_string()
    };
    let path = dir.path().join("config");
    std::fs::write(
        &path,
        "apiVersion: v1\nclusters:\n- name: a\n  cluster: [oops\n",
    )
    .unwrap();
    let text = at(&path).await;
    assert!(text.contains("line ") && !text.contains('\n'), "{text}");
    let text = at(dir.path()).await;
    assert!(text.ends_with("cannot be used: is a directory"), "{text}");
    let text = at(&dir.path().join("none")).await;
    assert!(text.starts_with("there is no kubeconfig at"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_between_us_and_the_server_is_told_apart() {
    let place = Place::new().await;
    let (http, _http) = answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let (wants_tls, _tls) = answering(
        "HTTP/1.0 400 Bad Request\r\ncontent-length: 48\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    )
    .await;
    let (silent, _silent) = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let (old, old_root) = expired().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let other = Authority::self_signed(&CaSpec::istio("other", Timestamp::now())).unwrap();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (other, old_root) = (base64(&other.root().pem()), base64(&old_root));
    let to = |address: String| -> Change {
        Box::new(move |c: &mut Config| c.cluster()["server"] = json!(address.clone()))
    };
    let cases: Vec<(Change, &str, &str)> = vec![
        (
            to(format!("https://{closed}")),
            "connection refused",
            "right address",
        ),
        (
            to("https://nowhere.invalid:6443".into()),
            "host `nowhere.invalid` has no address",
            "VPN",
        ),
        (
            to(format!("https://{silent}")),
            "no answer within 0.7 s",
            "firewall",
        ),
        (
            to(format!("https://{http}")),
            "what answers there does not speak TLS",
            "right port",
        ),
        (
            to(format!("http://{wants_tls}")),
            "it speaks TLS, and was asked without",
            "write `https://`",
        ),
        (
            Box::new(move |c| c.cluster()["certificate-authority-data"] = json!(other)),
            "its certificate is signed by no authority that is trusted here",
            "`certificate-authority-data`",
        ),
        (
            Box::new(|c| c.cluster()["tls-server-name"] = json!("other.example")),
            "its certificate is for another name: `",
            "`tls-server-name`",
        ),
        (
            Box::new(move |c| {
                *c.cluster() = json!({"server": format!("https://{old}"), "certificate-authority-data": old_root});
            }),
            "its certificate is not valid now: it expired at ",
            "clock",
        ),
    ];
    for (change, reason, way_out) in cases {
        let mut config = Config::of(&place);
        change(&mut config);
        let (kind, text, hint) = config.said().await;
        let start = "the API server of context `";
        let server = config.server();
        let at = format!("cannot be reached at {server}: {reason}");
        assert!(text.starts_with(start) && text.contains(&at), "{text}");
        assert!(hint.contains(way_out), "{hint}");
        assert_eq!(kind, "environment", "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_taken_are_told_from_those_that_cannot_be_had() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    *config.user() = json!({"token": "wrong"});
    let (kind, text, hint) = config.said().await;
    assert_eq!(kind, "cluster");
    assert!(
        text.contains("does not accept the credentials (401)"),
        "{text}"
    );
    assert!(hint.contains("log in again"), "{hint}");

    // A certificate that is out of date, at a server that says no more than 401.
    let now = Timestamp::now();
    let hours = SignedDuration::from_hours;
    let ca = CaSpec::istio("test", now).valid(now - hours(72), now + hours(72));
    let ca = Authority::self_signed(&ca).unwrap();
    let spec = LeafSpec::uris(["spiffe://a/b"], now).valid(now - hours(48), now - hours(24));
    let (cert, key) = ca.issue(&spec).unwrap();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let key = secrecy::ExposeSecret::expose_secret(&key.pem()).to_owned();
    *config.user() = json!({
        "client-certificate-data": base64(&cert.pem()), "client-key-data": base64(&key), "token": "wrong",
    });
    let (kind, text, _) = config.said().await;
    assert_eq!(kind, "environment");
    assert!(
        text.contains("its client certificate expired 24 h ago at "),
        "{text}"
    );

    // Who may not act as another one.
    let refusal = r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403,"message":"users \"jane\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope","details":{"name":"jane","kind":"users"}}"#;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{refusal}",
        refusal.len()
    );
    let (address, _server) = answering(Box::leak(answer.into_boxed_str())).await;
    let mut config = Config::of(&place);
    config.cluster()["server"] = json!(format!("http://{address}"));
    let error = config
        .try_connect(|t| t.impersonate = Some("jane".into()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "user `bob` may not impersonate `users` `jane` in the whole cluster"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_plugin_is_run_once_and_again_when_its_token_is_refused() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    let token = config.user()["token"].as_str().unwrap().to_owned();
    let count = r#"echo "$KUBERNETES_EXEC_INFO" >> "$STATE"; "#;
    config.plugin(&format!("{count} echo '{}'", credential(&token)));
    let cluster = config.connect().await;
    assert!(cluster.can("list", "nodes", None).await.unwrap());
    let state = config.dir.path().join("state");
    let runs = std::fs::read_to_string(&state).unwrap();
    assert_eq!(runs.lines().count(), 1, "{runs}");
    let info: Value = serde_json::from_str(runs.trim()).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    assert_eq!(info["spec"], json!({"interactive": false}));

    // The first token is refused: the plugin is asked for another one, and the request sent again.
    std::fs::remove_file(&state).unwrap();
    config.plugin(&format!(
        r#"if [ -e "$STATE" ]; then echo '{}'; else touch "$STATE"; echo '{}'; fi"#,
        credential(&token),
        credential("stale")
    ));
    let cluster = config.connect().await;
    let ns = namespace(&cluster).await;
    remove(&cluster, &ns).await;

    // One that has no other token is told as what it is.
    config.plugin(&format!("echo '{}'", credential("stale")));
    let (_, text, _) = config.said().await;
    assert!(
        text.contains("does not accept the credentials (401)"),
        "{text}"
    );

    // One that is about to expire is not used for the next request.
    std::fs::remove_file(&state).ok();
    let soon = Timestamp::now() + SignedDuration::from_secs(30);
    let short = credential(&token).replace(
        "\"status\":{",
        &format!("\"status\":{{\"expirationTimestamp\":\"{soon}\","),
    );
    config.plugin(&format!("{count} echo '{short}'"));
    config.connect().await;
    let runs = std::fs::read_to_string(&state).unwrap();
    assert!(runs.lines().count() >= 2, "{runs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_plugin_that_gives_none_is_said_with_what_it_said() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    config.plugin("true");
    let context = config.value["current-context"].as_str().unwrap().to_owned();
    let command = config.user()["exec"].clone();

    config.user()["exec"]["command"] = json!("no-such-plugin");
    config.user()["exec"]["installHint"] = json!("apt install the-plugin");
    let (kind, text, hint) = config.said().await;
    assert_eq!(
        text,
        format!(
            "no credentials for context `{context}`: credential plugin `no-such-plugin` cannot be started: no such \
             file or directory"
        )
    );
    assert_eq!(
        (kind, hint.as_str()),
        ("environment", "apt install the-plugin")
    );

    config.user()["exec"] = command;
    for (script, reason, way_out) in [
        (
            "echo please log in >&2; exit 3",
            "failed with exit code 3: please log in",
            "log in again",
        ),
        (
            "exit 1",
            "failed with exit code 1 and said nothing",
            "by hand",
        ),
        (
            "echo open the browser >&2; sleep 20",
            "did not end within 0.7 s; it said: open the browser",
            "by hand",
        ),
        ("echo secret-garbage", "gave no credentials: ", "by hand"),
        (
            "echo '{}'",
            "what it prints is no ExecCredential",
            "by hand",
        ),
        (
            r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"t"}}'"#,
            "the kubeconfig wants version `client.authentication.k8s.io/v1`, it speaks \
             `client.authentication.k8s.io/v1beta1`",
            "by hand",
        ),
        (
            r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'"#,
            "its answer has neither a token nor a certificate",
            "by hand",
        ),
        (
            r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t","expirationTimestamp":"2020-01-01T00:00:00Z"}}'"#,
            "they expired at 2020-01-01T00:00:00Z",
            "by hand",
        ),
    ] {
        config.plugin(script);
        let (kind, text, hint) = config.said().await;
        assert!(
            text.contains("credential plugin `sh`") && text.contains(reason),
            "{text}"
        );
        assert!(hint.contains(way_out), "{hint}");
        assert_eq!(kind, "environment");
        assert!(!text.contains("secret-garbage"), "{text}");
    }
    config.plugin("true");
    config.user()["exec"]["interactiveMode"] = json!("Always");
    let (_, text, _) = config.said().await;
    assert!(text.contains("nobody can answer them here"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_impersonated_has_the_rights_that_count() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    let may = async |cluster: &Cluster| cluster.can("delete", "nodes", None).await.unwrap();
    assert!(may(&config.connect().await).await);
    let jane = config
        .try_connect(|t| t.impersonate = Some("jane".into()))
        .await
        .unwrap();
    assert!(!may(&jane).await);
    let nodes = kind(&jane, "nodes").await;
    let error = jane.get(&nodes, None, "n").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("user `jane` may not get `nodes`"),
        "{error}"
    );
    let root = config
        .try_connect(|t| {
            t.impersonate = Some("jane".into());
            t.impersonate_groups = vec!["dev".into(), "system:masters".into()];
        })
        .await
        .unwrap();
    assert!(may(&root).await);
    // As the kubeconfig says it; the command line goes before it.
    config.user()["as"] = json!("joe");
    config.user()["as-groups"] = json!(["system:masters"]);
    assert!(may(&config.connect().await).await);
    let jane = config
        .try_connect(|t| t.impersonate = Some("jane".into()))
        .await
        .unwrap();
    assert!(!may(&jane).await);
    let error = config
        .try_connect(|t| t.impersonate_groups = vec!["dev".into()])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "groups to act as were given without a user"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_leads_to_the_server_or_says_why_not() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    let server = config.server();
    let to: SocketAddr = server.strip_prefix("https://").unwrap().parse().unwrap();
    let (address, asked) = proxy(to).await;
    config.cluster()["proxy-url"] = json!(format!("http://me:p%40ss@{address}"));
    let cluster = config.connect().await;
    let ns = namespace(&cluster).await;
    remove(&cluster, &ns).await;
    let seen = asked.lock().unwrap()[0].clone();
    assert!(
        seen.starts_with(&format!("CONNECT {to} HTTP/1.1\r\n")),
        "{seen}"
    );
    let seen = seen.to_lowercase();
    assert!(
        seen.contains("proxy-authorization: basic bwu6cebzcw=="),
        "{seen}"
    );

    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (denying, _d) = answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let (asking, _a) =
        answering("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    for (url, reason) in [
        (format!("http://me:secret@{closed}"), "connection refused"),
        (
            format!("http://{denying}"),
            "it refuses the way to the server",
        ),
        (format!("http://{asking}"), "it wants a user and a password"),
        (
            "http://proxy.invalid:3128".to_owned(),
            "host `proxy.invalid` has no address",
        ),
    ] {
        config.cluster()["proxy-url"] = json!(url);
        let (_, text, hint) = config.said().await;
        let shown = url.replace("me:secret@", "");
        let at = format!("cannot be reached at {server}: proxy `{shown}`: {reason}");
        assert!(text.contains(&at), "{text}");
        assert!(hint.contains("`proxy-url`"), "{hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environments_proxy_is_not_for_loopback_and_not_for_what_it_excepts() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    let to: SocketAddr = config
        .server()
        .strip_prefix("https://")
        .unwrap()
        .parse()
        .unwrap();
    let (address, asked) = proxy(to).await;
    let run = |config: &Config, no_proxy: &str| {
        let program = Program::new(["eval", "--kubeconfig", "config", "--journal", "none"])
            .arg("cluster::version().starts_with(\"v1.\")")
            .file("config", config.value.to_string())
            .env("HTTPS_PROXY", format!("http://{address}"))
            .env("NO_PROXY", no_proxy);
        tokio::task::block_in_place(|| program.run())
    };
    let ran = run(&config, "");
    assert_eq!((ran.code, ran.stdout.trim()), (0, "true"), "{}", ran.stderr);
    assert!(
        asked.lock().unwrap().is_empty(),
        "loopback is reached directly"
    );

    // A name that only the proxy knows.
    config.cluster()["server"] = json!("https://api.invalid:6443");
    config.cluster()["tls-server-name"] = json!("127.0.0.1");
    let ran = run(&config, "");
    assert_eq!((ran.code, ran.stdout.trim()), (0, "true"), "{}", ran.stderr);
    let seen = asked.lock().unwrap().join("");
    assert!(seen.starts_with("CONNECT api.invalid:6443 "), "{seen}");
    let ran = run(&config, "example.com,.invalid");
    assert_eq!(ran.code, 4);
    assert!(
        ran.stderr.contains("host `api.invalid` has no address"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_checked_is_a_warning() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    assert!(config.connect().await.cautions().is_empty());
    *config.cluster() = json!({"server": config.server(), "insecure-skip-tls-verify": true});
    let cluster = config.connect().await;
    let caution = &cluster.cautions()[0];
    assert!(
        caution.contains("is not checked (`insecure-skip-tls-verify`"),
        "{caution}"
    );
    let program = Program::new(["eval", "--kubeconfig", "config", "--journal", "none", "1"])
        .file("config", config.value.to_string());
    let ran = tokio::task::block_in_place(|| program.run());
    assert!(
        ran.stderr.contains("insecure-skip-tls-verify"),
        "{}",
        ran.stderr
    );
}

#[test]
fn inside_a_pod_without_an_account_it_is_said_what_is_missing() {
    if Path::new("/var/run/secrets/kubernetes.io/serviceaccount").exists() {
        return;
    }
    let ran = rootshift("eval --journal none cluster::version()")
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "1")
        .run();
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("/var/run/secrets/kubernetes.io/serviceaccount: no such file or directory"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("automountServiceAccountToken"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_are_merged_and_one_of_them_may_be_missing() {
    let place = Place::new().await;
    let mut config = Config::of(&place);
    let first = json!({"contexts": config.value["contexts"], "current-context": config.value["current-context"]});
    config.value.as_object_mut().unwrap().remove("contexts");
    let program = Program::new(["eval", "--journal", "none"])
        .arg("cluster::contexts().len()")
        .file("a", first.to_string())
        .file("c", config.value.to_string());
    let file = |name: &str| program.dir().join(name).display().to_string();
    let list = format!("{}:{}:{}", file("a"), file("b"), file("c"));
    let program = program.env("KUBECONFIG", list);
    let ran = tokio::task::block_in_place(|| program.run());
    assert_eq!((ran.code, ran.stdout.trim()), (0, "1"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_act_on_the_context_that_they_are_told() {
    let (one, two) = (Place::new().await, Place::new().await);
    let mut config = Config::of(&one);
    let other = Config::of(&two);
    for list in ["clusters", "users", "contexts"] {
        let mut entry = other.value[list][0].clone();
        entry["name"] = json!("two");
        if list == "contexts" {
            entry["context"] = json!({"cluster": "two", "user": "two"});
        }
        config.value[list].as_array_mut().unwrap().push(entry);
    }
    let first = config.value["current-context"].as_str().unwrap().to_owned();
    let there = namespace(&two.connect().await).await;
    let there = there.as_str();
    let code = format!(
        r#"
        let here = cluster::context();
        let has = |name| cluster::get("ns", "{there}") != ();
        let bound = bind(|| cluster::context());
        let inside = cluster::on("two", || {{
            let parallel = parallel_map([1, 2, 3], |n| cluster::context());
            let back = cluster::on(here, || cluster::context());
            [cluster::context(), parallel, back, has.call(""), bound.call(), each([1], |n| cluster::context())]
        }});
        let refused = ();
        try {{ cluster::on("three", || 1); }} catch (e) {{ refused = e.message; }}
        [here, inside, cluster::context(), has.call(""), cluster::contexts(), refused]
        "#
    );
    let program = Program::new([
        "eval",
        "--kubeconfig",
        "config",
        "--journal",
        "none",
        "-o",
        "json",
    ])
    .args(&format!("--context {first} --context two"))
    .arg(code)
    .file("config", config.value.to_string());
    let ran = tokio::task::block_in_place(|| program.run());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let inside = json!(["two", ["two", "two", "two"], first, true, "two", ["two"]]);
    let refused = format!("this run was not given context `three`, only `{first}`, `two`");
    assert_eq!(
        document["summary"],
        json!([first, inside, first, false, [first, "two"], refused]),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_plugin_beside_the_kubeconfig_is_found_by_its_path() {
    let twin = crate::support::ServedTwin::start("default");
    let text = std::fs::read_to_string(&twin.kubeconfig).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    let token = config["users"][0]["user"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "./plugin",
        "provideClusterInfo": true,
    }});
    let script = format!(
        "#!/bin/sh\ncase \"$KUBERNETES_EXEC_INFO\" in *https://127*) ;; *) exit 9;; esac\necho '{}'\n",
        credential(&token)
    );
    let program = Program::new(["eval", "--kubeconfig", "config", "--journal", "none"])
        .arg("cluster::count(\"namespaces\") > 0")
        .file("config", config.to_string())
        .file("plugin", script);
    let path = program.dir().join("plugin");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = program.run();
    assert_eq!((ran.code, ran.stdout.trim()), (0, "true"), "{}", ran.stderr);
}
