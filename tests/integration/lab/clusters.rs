//! One mesh of two API servers: two control planes on one network, with one root, whose istiods read both, so that every
//! Service has endpoints in both.

use super::judge::settle;
use super::rig::Lab;
use crate::clusters::refused_by;
use crate::support::{Program, say};

const FIRST: &str = "asm-1233-2-distribute-root";
const SECOND: &str = "asm-1233-2-meshca-ca-migration";

/// A script on these clusters, from the second one, whose kubeconfig has both.
fn on(contexts: &[&Lab], from: &Lab, script: &str) -> Program {
    let contexts: Vec<String> = contexts
        .iter()
        .map(|lab| format!("--context {}", lab.context()))
        .collect();
    from.rootshift(&format!(
        "run {script} -o jsonl --yes {}",
        contexts.join(" ")
    ))
}

fn has(lab: &Lab, revision: &str) -> bool {
    let deployments = lab.kubectl("get deployments -n istio-system -o name");
    deployments.contains(&format!("istiod-{revision}"))
}

/// Where an Envoy of one cluster finds a Service: addresses of both networks.
fn endpoints(lab: &Lab) -> String {
    let pod = lab.kubectl("get pods -n shop -l app=web -o name");
    let name = pod.trim().trim_start_matches("pod/");
    let cluster = "outbound|8000||api.pay.svc.cluster.local";
    let args = [
        "istioctl",
        "proxy-config",
        "endpoints",
        "-n",
        "shop",
        name,
        "--cluster",
        cluster,
    ];
    let output = lab.exec(&args);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_cluster_enters_phase_2_before_all_have_proved_phase_1() {
    const MESH: &[&str] = &["mesh", "--ca", "plug-in", "--apps", "few"];
    let Some(east) = Lab::none() else { return };
    east.script(&["up"]);
    east.script(MESH);
    let west = east.beside();
    west.script(&["up", "--beside", east.name()]);
    west.script(MESH);
    settle(&east);
    settle(&west);
    let counted = [east.counts(), west.counts()];
    for lab in [&east, &west] {
        let found = endpoints(lab);
        assert!(
            found.contains("10.77.1.") && found.contains("10.78.1."),
            "{found}"
        );
    }

    // The other one is known by its remote secret.
    let ran = on(&[&east], &west, "citadel-to-meshca").run().code(3);
    let evidence = refused_by(&ran, "RS104");
    assert!(evidence.contains(&west.context()), "{evidence}");
    assert!(!has(&east, FIRST));

    // What keeps the old root is in the second cluster only, and neither gets the next signer.
    west.kubectl("create deployment late -n shop --image=lab/http");
    west.kubectl("rollout status deployment/late -n shop --timeout=60s");
    let migrate = "citadel-to-meshca --set watch=1";
    let both = [&east, &west];
    let held = format!("{migrate} --set hold=shop/late");
    let ran = on(&both, &west, &held).run().code(3);
    let evidence = refused_by(&ran, "RS301");
    assert!(
        evidence.contains(&format!("(shop/late@{}) lacks MESHCA", west.context())),
        "{evidence}"
    );
    assert_eq!(both.map(|lab| has(lab, FIRST)), [true, true]);
    assert_eq!(both.map(|lab| has(lab, SECOND)), [false, false]);

    // With it, both.
    on(&both, &west, migrate).run().code(0);
    assert_eq!(both.map(|lab| has(lab, FIRST)), [false, false]);
    assert_eq!(both.map(|lab| has(lab, SECOND)), [true, true]);
    settle(&east);
    settle(&west);
    let count = |what: &str| -> u64 {
        let labs = both.iter().zip(&counted);
        let of = |(lab, before): (&&Lab, &super::rig::Counts)| {
            lab.counts().0[what].as_u64().unwrap() - before.0[what].as_u64().unwrap()
        };
        labs.map(of).sum()
    };
    say(&format!(
        "two clusters: requests {} ok, {} failed for trust, {} failed otherwise",
        count("ok"),
        count("trust"),
        count("other")
    ));
    assert_eq!(count("trust"), 0, "{}{}", east.counts().0, west.counts().0);
    assert!(count("ok") > 1000);

    // One that does not answer is not left out.
    east.script(&["down"]);
    let ran = on(&both, &west, "check").run().code(4);
    let failure = ran.finished()["failure"]["message"].to_string();
    let unreachable = format!("`{}` cannot be reached", east.context());
    assert!(failure.contains(&unreachable), "{failure}");
}
