//! `rootshift twin serve`: a twin in a process of its own, for kubectl and for other runs.

use tokio::runtime::Runtime;

use super::{args::ServeArgs, installers, interrupt, show};
use crate::{
    effect::files,
    engine::Failure,
    twin::{Scenario, Twin, TwinOptions},
};

/// Serves until Ctrl-C; gives the exit code.
pub(super) fn serve(args: &ServeArgs, runtime: &Runtime) -> u8 {
    match runtime.block_on(serving(args)) {
        Ok(()) => 0,
        Err(failure) => show::failure(&failure),
    }
}

/// Starts the twin of a scenario.
pub(super) async fn start(scenario: &str, options: TwinOptions) -> Result<(Twin, String), Failure> {
    let found = Scenario::find(scenario).map_err(|e| Failure::usage(e.to_string()))?;
    let title = found.title.clone();
    let twin = Twin::start(found, options)
        .await
        .map_err(|e| Failure::environment(e.to_string()))?;
    Ok((twin, title))
}

async fn serving(args: &ServeArgs) -> Result<(), Failure> {
    let options = TwinOptions {
        seed: args.seed,
        kubeconfig_out: args.kubeconfig_out.clone(),
        ..TwinOptions::default()
    };
    let (twin, title) = start(&args.scenario, options).await?;
    let programs = installers::directory().map_err(environment)?;
    if let Some(file) = &args.ca_out {
        let roots: String = twin.named_cas().into_iter().map(|(_, pem)| pem).collect();
        files::write_private(file, &roots).map_err(environment)?;
    }
    let kubeconfig = twin.kubeconfig_path().display().to_string();
    show::result(&format!("twin        {}: {title}", args.scenario));
    show::result(&format!("seed        {}", twin.seed()));
    for context in twin.contexts() {
        show::result(&format!("context     {context}"));
    }
    show::result(&format!("kubeconfig  {kubeconfig}"));
    show::result(&format!("asmcli      {}", programs.path().display()));
    if let Some(file) = &args.ca_out {
        show::result(&format!("mesh CA     {}", file.display()));
    }
    if let Some(ca) = &args.ca_out {
        let contexts: Vec<String> = twin
            .contexts()
            .map(|context| format!(" --context {context}"))
            .collect();
        let contexts = contexts.concat();
        show::result(&format!(
            "run         PATH={}:$PATH rootshift run citadel-to-meshca --kubeconfig {kubeconfig}{} --ca MESHCA={}",
            programs.path().display(),
            contexts,
            ca.display()
        ));
    }
    show::result(&format!(
        "ready: `kubectl --kubeconfig {kubeconfig} get pods -A`; Ctrl-C ends it"
    ));
    interrupt::wait().await;
    let traffic = twin.traffic().total();
    show::result(&format!(
        "handshakes  {} made, {} failed for trust, {} unreachable",
        traffic.made, traffic.failed, traffic.unreachable
    ));
    for pair in traffic.pairs.iter().filter(|p| p.count.failed > 0) {
        show::result(&format!(
            "no trust    {} -> {}, {} failed",
            pair.client, pair.server, pair.count.failed
        ));
    }
    twin.stop().await;
    Ok(())
}

fn environment(error: files::FileError) -> Failure {
    Failure::environment(error.to_string())
}
