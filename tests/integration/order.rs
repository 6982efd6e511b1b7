//! The order of the stock script is not a matter of taste: every step left out and every two
//! neighbours swapped ends in a refusal or in counted failures, or leaves a mesh that is safe all
//! the same. It never ends in `done` with an unsafe mesh.

use std::fmt::Write as _;
use std::sync::Mutex;

use crate::support::rootshift;

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: enabled
    workloads: [{name: ledger, kind: StatefulSet, replicas: 1}]
gateways:
  - {name: istio-ingressgateway}
params: {through: retire, new_root: accept, fleet_id: twin-project}
";

/// A `step NAME {` … `}` that stands on lines of its own, or a `cluster::each` of several; with an `if … {` … `}` or a
/// `cluster::each` around nothing else. Or a line that calls for a phase.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    first: usize,
    last: usize,
    indent: usize,
}

/// What is done in each cluster.
const EACH: &str = "cluster::each(|| {";

fn steps(lines: &[&str]) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("phases::") || line.contains("{ phases::") {
            out.push(Step {
                name: line.trim().to_owned(),
                first,
                last: first,
                indent,
            });
            continue;
        }
        let (name, close) = match line.trim_start().strip_prefix("step ") {
            Some(rest) => (rest.trim_end_matches(" {").to_owned(), "}"),
            None if line.trim_start() == EACH => {
                (format!("all of each cluster, line {first}"), "});")
            }
            None => continue,
        };
        let close = format!("{}{close}", " ".repeat(indent));
        let end = |from: usize, close: &str| {
            (from + 1..lines.len())
                .find(|i| lines[*i] == close)
                .expect("a closing brace")
        };
        let mut step = Step {
            name,
            first,
            last: end(first, &close),
            indent,
        };
        // What is around nothing but this step belongs to it.
        let is_around = |step: &Step, open: &str, close: &str| {
            step.first > 0
                && step.indent >= 4
                && lines[step.first - 1].trim_start().starts_with(open)
                && lines[step.first - 1].ends_with('{')
                && lines[step.last + 1] == format!("{}{close}", " ".repeat(step.indent - 4))
        };
        while is_around(&step, "if ", "}") || is_around(&step, EACH, "});") {
            step = Step {
                first: step.first - 1,
                last: step.last + 1,
                indent: step.indent - 4,
                ..step
            };
        }
        // One around a single step is that step.
        if !out
            .iter()
            .any(|s| (s.first, s.last) == (step.first, step.last))
        {
            out.push(step);
        }
    }
    out
}

/// Neighbours: the next step at the same depth, with nothing between them.
fn is_next(a: &Step, b: &Step, lines: &[&str]) -> bool {
    a.indent == b.indent
        && a.last < b.first
        && lines[a.last + 1..b.first].iter().all(|l| l.is_empty())
}

/// Every step left out, and every two neighbours swapped.
fn variants(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let all = steps(&lines);
    let mut out = Vec::new();
    for step in &all {
        let kept = lines
            .iter()
            .enumerate()
            .filter(|(i, _)| !(step.first..=step.last).contains(i))
            .map(|(_, line)| *line);
        out.push((
            format!("without {}", step.name),
            kept.collect::<Vec<_>>().join("\n"),
        ));
    }
    for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        if !is_next(a, b, &lines) {
            continue;
        }
        let mut swapped: Vec<&str> = lines[..a.first].to_vec();
        swapped.extend(&lines[b.first..=b.last]);
        swapped.extend(&lines[a.first..=a.last]);
        swapped.extend(&lines[b.last + 1..]);
        out.push((format!("{} before {}", b.name, a.name), swapped.join("\n")));
    }
    out
}

/// A variant: its name, the stock script, and the library's phases 1 and 2 and phase 3 that go beside it.
struct Variant {
    name: String,
    script: String,
    phases: String,
    retire: String,
}

/// The variants of the stock script, and those of the library's phases under it.
fn all_variants() -> Vec<Variant> {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let (phases, retire) = (
        read("stdlib/mesh/phases.rhai"),
        read("stdlib/mesh/retire.rhai"),
    );
    // Imports are looked for in the library first, so the variants have names of their own.
    let script = read("scripts/citadel-to-meshca.rhai")
        .replace("import \"mesh/phases\"", "import \"phases-variant\"")
        .replace("import \"mesh/retire\"", "import \"retire-variant\"");
    let stock = |name: String| Variant {
        name,
        script: script.clone(),
        phases: phases.clone(),
        retire: retire.clone(),
    };
    let of_script = variants(&script).into_iter().map(|(name, script)| Variant {
        script,
        ..stock(name)
    });
    let of_phases = variants(&phases).into_iter().map(|(name, phases)| Variant {
        phases,
        ..stock(name)
    });
    let of_retire = variants(&retire).into_iter().map(|(name, retire)| Variant {
        retire,
        ..stock(format!("phase 3: {name}"))
    });
    of_script.chain(of_phases).chain(of_retire).collect()
}

/// After the variant: is every pair able to talk, and nothing unknown? Asked of the twin itself.
const AFTERWARDS: &str = r"
    let end = mesh::connect();
    let unsafe_pairs = end.matrix().failing;
    let unjudged = end.unjudged();
    print(`afterwards ${unsafe_pairs.len()} failing pairs, ${unjudged.len()} unjudged pods`);
";

#[test]
fn no_step_can_be_left_out_or_swapped_into_an_unsafe_mesh() {
    let all = all_variants();
    assert!(all.len() >= 36, "{} variants", all.len());
    let (table, unsafe_ends, stopped) = (
        Mutex::new(Vec::new()),
        Mutex::new(Vec::new()),
        Mutex::new(0),
    );
    let queue = Mutex::new(all.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(variant) = { queue.lock().unwrap().next() } {
                    let name = variant.name;
                    let asked = variant.script.replace(
                        "    summary::end(before)",
                        &format!("{AFTERWARDS}    summary::end(before)"),
                    );
                    assert!(asked.contains("afterwards"));
                    let ran =
                        rootshift("run variant.rhai --twin=mesh.yaml -o jsonl --set timeout=25")
                            .file("variant.rhai", asked)
                            .file("phases-variant.rhai", variant.phases)
                            .file("retire-variant.rhai", variant.retire)
                            .file("mesh.yaml", MESH)
                            .run();
                    let finished = ran.finished();
                    let outcome = finished["outcome"].as_str().unwrap().to_owned();
                    let failed = finished["handshakes"]["failed"].as_u64().unwrap();
                    let code = finished["failure"]["code"]
                        .as_str()
                        .unwrap_or("")
                        .to_owned();
                    let safe = ran
                        .stdout
                        .contains("afterwards 0 failing pairs, 0 unjudged pods");
                    if outcome == "done" {
                        if failed > 0 || !safe || ran.code != 0 {
                            unsafe_ends.lock().unwrap().push(name.clone());
                        }
                    } else {
                        *stopped.lock().unwrap() += 1;
                    }
                    table.lock().unwrap().push(format!(
                        "{name:<100} {outcome:<8} {code:<6} {failed:>6} failed handshakes"
                    ));
                }
            });
        }
    });
    let mut table = table.into_inner().unwrap();
    table.sort();
    let mut shown = String::new();
    for row in &table {
        writeln!(shown, "{row}").unwrap();
    }
    println!("{shown}");
    assert!(
        unsafe_ends.lock().unwrap().is_empty(),
        "{:?}\n{shown}",
        unsafe_ends.lock().unwrap()
    );
    assert!(
        *stopped.lock().unwrap() >= 5,
        "steps that matter stop the run when they are missing\n{shown}"
    );
}
