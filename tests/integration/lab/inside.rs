//! The program in a pod: it finds the cluster around it by its ServiceAccount, without a kubeconfig.

use std::time::{Duration, Instant};

use super::rig::Lab;

/// Who asks.
const ROBOT: &str = "system:serviceaccount:robots:robot";

/// Runs `COMMAND…` as in a pod whose kubelet mounted what is in DIR: `DIR COMMAND…`.
const AS_IN_A_POD: &str = r#"
    mount -t tmpfs tmpfs /run
    mkdir -p /run/secrets/kubernetes.io/serviceaccount
    cp "$1"/* /run/secrets/kubernetes.io/serviceaccount/
    shift
    unset KUBECONFIG
    export HOME=/nonexistent KUBERNETES_SERVICE_HOST=10.96.0.1 KUBERNETES_SERVICE_PORT=443
    exec "$@"
"#;

#[test]
fn inside_a_cluster_its_service_account_is_who_asks() {
    let Some(lab) = Lab::none() else { return };
    lab.script(&["up"]);
    lab.kubectl("create namespace robots");
    lab.kubectl("create serviceaccount robot -n robots");
    lab.kubectl(
        "create rolebinding sees -n robots --clusterrole=view --serviceaccount=robots:robot",
    );
    lab.kubectl("create configmap there -n robots");
    lab.kubectl("label configmap there -n robots of=test");
    // The API server learns of a RoleBinding by a watch of its own.
    let begun = Instant::now();
    while !lab
        .exec(&[
            "kubectl",
            "auth",
            "can-i",
            "list",
            "configmaps",
            "-n",
            "robots",
            "--as",
            ROBOT,
        ])
        .status
        .success()
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "no rights yet");
    }
    let mounted = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        std::fs::write(mounted.path().join(name), content).unwrap();
    };
    put("namespace", b"robots");
    put("ca.crt", &std::fs::read(lab.file("pki/ca.crt")).unwrap());
    put(
        "token",
        lab.kubectl("create token robot -n robots")
            .trim()
            .as_bytes(),
    );
    let eval = |code: &str| {
        let (dir, program) = (
            mounted.path().to_str().unwrap(),
            env!("CARGO_BIN_EXE_rootshift"),
        );
        let inside = [
            "unshare",
            "--mount",
            "bash",
            "-euc",
            AS_IN_A_POD,
            "pod",
            dir,
        ];
        let output =
            lab.exec(&[&inside[..], &[program, "eval", "--journal", "none", code]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };

    // kube-proxy leads to the API server's Service a moment after it has started: `up` does not wait for that.
    let begun = Instant::now();
    loop {
        let (code, _, why) = eval("cluster::version()");
        if code == Some(0) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{why}");
    }
    let (_, context, why) = eval("cluster::context()");
    assert_eq!(context, "in-cluster", "{why}");
    assert_eq!(eval("cluster::server()").1, "https://10.96.0.1");
    let seen =
        eval(r#"cluster::list("configmaps", #{ namespace: "robots", labels: "of=test" }).len()"#);
    assert_eq!((seen.0, seen.1.as_str()), (Some(0), "1"), "{}", seen.2);
    assert_eq!(
        eval(r#"cluster::can("delete", "configmaps", "robots")"#).1,
        "false"
    );
    let (code, _, why) = eval(r#"cluster::list("secrets", #{ namespace: "robots" })"#);
    assert!(
        code == Some(4)
            && why.contains("user `system:serviceaccount:robots:robot` may not list `secrets`"),
        "{why}"
    );

    // Negative controls: another CA's server, a token that nobody issued.
    put("token", b"eyJhbGciOiJSUzI1NiJ9.e30.bm8");
    let (code, _, why) = eval(r#"cluster::list("configmaps", #{ namespace: "robots" })"#);
    assert!(
        code == Some(4) && why.contains("does not accept the credentials"),
        "{why}"
    );
    put("ca.crt", &std::fs::read(lab.file("pki/web.crt")).unwrap());
    let (code, _, why) = eval("cluster::version()");
    assert!(code == Some(4) && why.contains("certificate"), "{why}");
}
