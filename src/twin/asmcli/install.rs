//! `asmcli install` and `asmcli validate`, step by step in the real tool's order.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use super::args::Args;
use super::certificates::{self, CustomCa};
use super::client::Client;
use super::kubeconfig::{self, Access};
use super::log::{Fatal, Log};
use super::package::{self, PackageParams, Request};
use crate::effect::files::{AppendFile, create_dir, read_text, write_private};
use crate::twin::mesh::manifests::{ISTIO_SYSTEM, RevisionSpec, shared_objects};

/// How long istiod may take to become available, in real time.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
const STARS: &str = "*****************************";
const NO_NAMESPACE: &str = "The istio-system namespace doesn't exist.
Please create the \"istio-system\" and retry, or run the script with the
'--enable_namespace_creation' flag to allow the script to enable it on your behalf.
Alternatively, use --enable_all|-e to allow this tool to handle all dependencies.";

/// Flags that passed the checks that need no cluster.
struct Checked {
    ca: String,
    revision: String,
    fleet: String,
    access: Access,
    custom_ca: Option<CustomCa>,
    overlays: Vec<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(
    args: &Args,
    directory: &Path,
    stdin: &mut (dyn BufRead + Send),
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    let checked = check(args, directory, log)?;
    let output = workspace(args, &checked, directory, log)?;
    let client = Client::new(checked.access.clone()).map_err(|e| log.fatal(&e))?;
    let request = request(args, &checked, &client, log).await?;
    let params = params(&client, log).await?;
    let operator = package::operator(&params, &request).map_err(|e| log.fatal(&e))?;
    let spec = package::revision(&checked.revision, &params, &operator);

    if !validate(args, &client, stdin, log).await? {
        return Ok(());
    }
    log.info("Configuring kpt package...");
    write_package(&output, &request, &spec, &operator, log)?;
    if let Some(custom_ca) = &checked.custom_ca {
        install_certificates(&client, custom_ca, log).await?;
    }
    let network = args.network_id.clone();
    let network = network.unwrap_or_else(|| format!("{}-default", request.project));
    label_namespace(&client, &network, log).await?;
    log.info("Installing ASM control plane...");
    apply(&client, &spec, log).await?;
    log.info("...done!");
    outro(&spec.revision, &output, log);
    Ok(())
}

/// `parse_args` is done; this is `validate_args`.
fn check(args: &Args, directory: &Path, log: &mut Log<'_>) -> Result<Checked, Fatal> {
    if let Some(flag) = args.not_modelled.first() {
        return Err(log.fatal(&format!("the twin's asmcli cannot act out {flag}")));
    }
    let ca = args.ca.clone().unwrap_or_else(|| "mesh_ca".to_owned());
    if let Some(name) = &args.revision {
        revision_label(name).map_err(|e| log.fatal(e))?;
    }
    if !matches!(args.platform.as_deref(), None | Some("gcp" | "multicloud")) {
        return Err(log.fatal("PLATFORM must be one of 'gcp', 'multicloud'"));
    }
    if !matches!(
        args.channel.as_deref(),
        None | Some("regular" | "stable" | "rapid")
    ) {
        return Err(log.fatal("CHANNEL must be one of 'regular', 'stable', 'rapid'"));
    }
    let access = cluster(args, directory, log)?;
    match ca.as_str() {
        "citadel" | "mesh_ca" => {}
        "gcp_cas" | "managed_cas" => {
            return Err(log.fatal(&format!("the twin's asmcli cannot act out --ca {ca}: there is no Certificate Authority Service")));
        }
        _ => {
            return Err(
                log.fatal("CA must be one of 'citadel', 'mesh_ca', 'gcp_cas', 'managed_cas'")
            );
        }
    }
    let custom_ca = certificates::check(args, &ca, directory, log)?;
    let Some(access) = access else {
        return Err(log.fatal_with_usage("Missing one or more required options."));
    };
    if args.only.contains("validate") && args.enables() {
        return Err(log.fatal("validation cannot be run with any --enable* flag"));
    }
    if args.only.contains("enable") && !args.enables() {
        return Err(log.fatal("You must specify at least one --enable* flag with --only_enable"));
    }
    if args.service_account.is_some() != args.key_file.is_some() {
        return Err(log.fatal("Service account and key file must be used together."));
    }
    if let Some(file) = args.key_file.iter().find(|f| !directory.join(f).is_file()) {
        return Err(log.fatal(&format!("Couldn't find key file {}.", file.display())));
    }
    let mut overlays = Vec::new();
    for file in &args.overlays {
        let path = directory.join(file);
        if !path.is_file() {
            return Err(log.fatal(&format!("Couldn't find yaml file {}.", file.display())));
        }
        overlays.push(path);
    }
    Ok(Checked {
        ca,
        revision: args
            .revision
            .clone()
            .unwrap_or_else(|| "asm-1233-2".to_owned()),
        fleet: args
            .fleet_id
            .clone()
            .unwrap_or_else(|| access.cluster.project.clone()),
        access,
        custom_ca,
        overlays,
    })
}

/// RFC 1123 as the real tool reads it: upper case and a leading digit pass, and so do names that are
/// too long for a Service `istiod-NAME`.
fn revision_label(name: &str) -> Result<(), &'static str> {
    if name.len() > 63 {
        return Err("Revision label cannot be longer than 63.");
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if name.chars().all(inner) && edge(name.chars().next()) && edge(name.chars().last()) {
        return Ok(());
    }
    Err("Revision label does not follow RFC 1123 formatting convention.")
}

/// Which cluster: only a kubeconfig can be acted on, since `gcloud` would be needed for the rest.
/// Nothing if something is missing, which is fatal only after the CA's flags were checked.
fn cluster(args: &Args, directory: &Path, log: &mut Log<'_>) -> Result<Option<Access>, Fatal> {
    let details = args.cluster.iter().flatten().count();
    if details > 0 && args.kubeconfig.is_some() {
        return Err(log.fatal_with_usage("Incompatible arguments. Kubeconfig cannot be used in conjunction with [--cluster_location|--cluster_name|--project_id]."));
    }
    let Some(file) = &args.kubeconfig else {
        match details {
            0 => log.warn("At least one of the following is required: 1) --kubeconfig or 2) --cluster_location, --cluster_name, --project_id"),
            1 | 2 => log.warn("Missing one or more required options for [CLUSTER_LOCATION|CLUSTER_NAME|PROJECT_ID]"),
            _ => return Err(log.fatal("the twin's asmcli finds its cluster by --kubeconfig only")),
        }
        return Ok(None);
    };
    let access = kubeconfig::read(&directory.join(file), args.context.as_deref())
        .map_err(|e| log.fatal(&e))?;
    log.info(&format!(
        "Reading cluster information for {}",
        access.context
    ));
    Ok(Some(access))
}

fn workspace(
    args: &Args,
    checked: &Checked,
    directory: &Path,
    log: &mut Log<'_>,
) -> Result<PathBuf, Fatal> {
    log.info("Setting up necessary files...");
    let Some(wanted) = &args.output_dir else {
        return Err(log.fatal(
            "the twin's asmcli makes no temporary directory: give one with --output_dir|-D",
        ));
    };
    let output = directory.join(wanted);
    if output.exists() && !output.is_dir() {
        return Err(log.fatal(&format!(
            "{} exists and is not a directory, please specify another directory.",
            output.display()
        )));
    }
    create_dir(&output)
        .map_err(|_| log.fatal(&format!("Failed to create directory {}", output.display())))?;
    let file = AppendFile::open(&output.join("logs.txt")).map_err(|e| log.fatal(&e.to_string()))?;
    log.also_to(file);
    if let Some(kubeconfig) = &args.kubeconfig {
        log.info(&format!(
            "Using {} as the kubeconfig...",
            directory.join(kubeconfig).display()
        ));
    }
    log.info(&format!("using context {}", checked.access.context));
    let cluster = &checked.access.cluster;
    if cluster.name.is_empty() {
        return Err(log.fatal(&format!(
            "Unable to find cluster {}/{}.
Please verify the spelling and try again. To see a list of your clusters, in
this project, run:
  gcloud container clusters list --format='value(name,zone)' --project=\"{}\"",
            cluster.location, cluster.name, cluster.project
        )));
    }
    let options = output.join("asm/istio/options");
    for option in &args.options {
        if !package::has_option(option) {
            write_options(&output).map_err(|e| log.fatal(&e))?;
            return Err(log.fatal(&format!(
                "Couldn't find yaml file {option}.\nSee directory {} for available options.",
                options.display()
            )));
        }
    }
    Ok(output)
}

/// The error points at the directory, so there must be one.
fn write_options(output: &Path) -> Result<(), String> {
    for (file, text) in package::files(&Request::default()) {
        write_file(&output.join("asm/istio").join(file), &text)?;
    }
    Ok(())
}

async fn request(
    args: &Args,
    checked: &Checked,
    client: &Client,
    log: &mut Log<'_>,
) -> Result<Request, Fatal> {
    let overlays = read_overlays(&checked.overlays, log)?;
    let root = client
        .get("/twin/meshca")
        .await
        .map_err(|e| log.fatal(&e))?;
    if root.status != StatusCode::OK {
        return Err(log.fatal(
            "this asmcli installs on a twin only, and the server of the kubeconfig is none",
        ));
    }
    let cluster = &checked.access.cluster;
    Ok(Request {
        revision: checked.revision.clone(),
        ca: checked.ca.clone(),
        options: args.options.clone(),
        overlays,
        project: cluster.project.clone(),
        location: cluster.location.clone(),
        cluster: cluster.name.clone(),
        fleet: checked.fleet.clone(),
        mesh_ca_root: String::from_utf8_lossy(&root.body).into_owned(),
    })
}

/// The documents of overlay files, in their order.
pub(super) fn read_overlays(paths: &[PathBuf], log: &mut Log<'_>) -> Result<Vec<Value>, Fatal> {
    let mut overlays = Vec::new();
    for path in paths {
        let text = read_text(path).map_err(|e| log.fatal(&e.to_string()))?;
        for document in text
            .split("\n---")
            .map(|d| d.trim_start_matches("---"))
            .filter(|d| !d.trim().is_empty())
        {
            let overlay: Value = serde_saphyr::from_str(document)
                .map_err(|e| log.fatal(&format!("{}: {e}", path.display())))?;
            overlays.push(overlay);
        }
    }
    Ok(overlays)
}

pub(super) async fn params(client: &Client, log: &mut Log<'_>) -> Result<PackageParams, Fatal> {
    let answer = client
        .get("/twin/package")
        .await
        .map_err(|e| log.fatal(&e))?;
    serde_json::from_slice(&answer.body).map_err(|e| log.fatal(&format!("/twin/package: {e}")))
}

/// What is asked of the cluster; false if that is all that was wanted.
async fn validate(
    args: &Args,
    client: &Client,
    stdin: &mut (dyn BufRead + Send),
    log: &mut Log<'_>,
) -> Result<bool, Fatal> {
    if !args.enable.is_empty() {
        log.info("Leaving out Google Cloud's APIs, IAM roles and fleet registration: there is no Google Cloud behind this cluster.");
    }
    let only = |what| args.only.contains(what);
    let path = format!("/api/v1/namespaces/{ISTIO_SYSTEM}");
    let mut valid = true;
    if args.creates_namespace() && !only("validate") {
        log.info("Creating istio-system namespace...");
        if !exists(client, &path, log).await? {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ISTIO_SYSTEM}});
            client.apply(&object).await.map_err(|e| log.fatal(&e))?;
        }
    } else if !only("enable") {
        log.info("Checking for istio-system namespace...");
        if !exists(client, &path, log).await? {
            log.error(NO_NAMESPACE);
            valid = false;
        }
    }
    if !valid && !only("validate") {
        return Err(Fatal);
    }
    if !only("enable") {
        ingress_gateway(args, client, stdin, log).await?;
    }
    if only("validate") {
        if !valid {
            log.warn("Please see the errors above.");
            return Err(Fatal);
        }
        log.info("Successfully validated all requirements to install ASM.");
    } else if only("enable") {
        log.info("Successfully performed specified --enable actions.");
    }
    Ok(args.only.is_empty())
}

/// Whatever the gateway's revision, and under `apply` as well: a line of standard input decides.
async fn ingress_gateway(
    args: &Args,
    client: &Client,
    stdin: &mut (dyn BufRead + Send),
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    let service = format!("/api/v1/namespaces/{ISTIO_SYSTEM}/services/istio-ingressgateway");
    let deployment =
        format!("/apis/apps/v1/namespaces/{ISTIO_SYSTEM}/deployments/istio-ingressgateway");
    if args.legacy_ingress
        || !(exists(client, &service, log).await? || exists(client, &deployment, log).await?)
    {
        return Ok(());
    }
    log.warn("We detected an ASM ingress gateway currently running in the cluster that");
    log.warn("may be disabled if installation continues. If this is not intended, please enter");
    log.warn("N and re-run the tool with the '--option legacy-default-ingressgateway'.");
    let mut answer = String::new();
    // No answer is a no.
    stdin.read_line(&mut answer).ok();
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(log.fatal("Stopping installation at user request."))
}

async fn exists(client: &Client, path: &str, log: &mut Log<'_>) -> Result<bool, Fatal> {
    let answer = client.get(path).await.map_err(|e| log.fatal(&e))?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        status => Err(log.fatal(&format!(
            "{path}: {status}: {}",
            answer.json()["message"].as_str().unwrap_or_default()
        ))),
    }
}

async fn label_namespace(client: &Client, network: &str, log: &mut Log<'_>) -> Result<(), Fatal> {
    const LABEL: &str = "topology.istio.io/network";
    let path = format!("/api/v1/namespaces/{ISTIO_SYSTEM}");
    let namespace = client.get(&path).await.map_err(|e| log.fatal(&e))?.json();
    if let Some(network) = namespace["metadata"]["labels"][LABEL].as_str() {
        log.info(&format!(
            "{LABEL} is already set to {network} and will NOT be overridden."
        ));
        return Ok(());
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": ISTIO_SYSTEM, "labels": {LABEL: network}}});
    client.apply(&object).await.map_err(|e| log.fatal(&e))
}

/// What the real tool leaves: package, manifests, the Service for validation.
fn write_package(
    output: &Path,
    request: &Request,
    spec: &RevisionSpec,
    operator: &Value,
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    let package = output.join("asm/istio");
    let mut files: Vec<(PathBuf, String)> = package::files(request)
        .into_iter()
        .map(|(file, text)| (package.join(file), text))
        .collect();
    files.push((
        package.join("istiod-service.yaml"),
        yaml(&spec.validation_service()),
    ));
    files.push((
        output.join(format!("{}-manifest-raw.yaml", spec.revision)),
        yaml(operator),
    ));
    let expanded: Vec<String> = spec.objects().iter().map(yaml).collect();
    files.push((
        output.join(format!("{}-manifest-expanded.yaml", spec.revision)),
        expanded.join("---\n"),
    ));
    files.push((
        output.join(".asm_version"),
        format!("{}\n", super::version()),
    ));
    for (path, text) in &files {
        write_file(path, text).map_err(|e| log.fatal(&e))?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        create_dir(parent).map_err(|e| e.to_string())?;
    }
    write_private(path, text).map_err(|e| e.to_string())
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

async fn install_certificates(
    client: &Client,
    custom_ca: &CustomCa,
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    let existing = client
        .get("/api/v1/namespaces/istio-system/secrets/cacerts")
        .await
        .map_err(|e| log.fatal(&e))?;
    if existing.status == StatusCode::OK {
        log.error("Custom certificates already exist in the cluster. Please remove the");
        log.error("'cacerts' secret from the 'istio-system' namespace and try again.");
        log.error("If you want to keep the same custom certificates, re-run the script");
        return Err(log.fatal("without any of the custom certificate flags."));
    }
    log.info("Installing certificates into the cluster...");
    client
        .apply(&custom_ca.secret())
        .await
        .map_err(|e| log.fatal(&e))
}

/// Makes a revision's objects, and waits until its istiod is available.
pub(super) async fn apply(
    client: &Client,
    spec: &RevisionSpec,
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    for object in shared_objects(&spec.revision).iter().chain(&spec.objects()) {
        client.apply(object).await.map_err(|e| log.fatal(&e))?;
    }
    wait_for_istiod(client, spec, log).await
}

async fn wait_for_istiod(
    client: &Client,
    spec: &RevisionSpec,
    log: &mut Log<'_>,
) -> Result<(), Fatal> {
    let name = spec.istiod();
    let path = format!("/apis/apps/v1/namespaces/{ISTIO_SYSTEM}/deployments/{name}");
    let start = Instant::now();
    loop {
        let deployment = client.get(&path).await.map_err(|e| log.fatal(&e))?.json();
        let status = &deployment["status"];
        let count = |field: &str| status[field].as_u64().unwrap_or(0);
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
        let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        if seen && count("updatedReplicas") == wanted && count("availableReplicas") == wanted {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(log.fatal(&format!(
                "deployment {name} is not available after {} s",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn outro(revision: &str, output: &Path, log: &mut Log<'_>) {
    log.info("");
    log.info(STARS);
    log.info("The ASM control plane installation is now complete.");
    log.info(
        "To enable automatic sidecar injection on a namespace, you can use the following command:",
    );
    log.info(&format!(
        "kubectl label namespace <NAMESPACE> istio-injection- istio.io/rev={revision} --overwrite"
    ));
    log.info(
        "To finish the installation, enable Istio sidecar injection and restart your workloads.",
    );
    log.info("The ASM package used for installation can be found at:");
    log.info(&output.join("asm").display().to_string());
    log.info("The combined configuration generated for installation can be found at:");
    log.info(
        &output
            .join(format!("{revision}-manifest-raw.yaml"))
            .display()
            .to_string(),
    );
    log.info("The full, expanded set of kubernetes resources can be found at:");
    log.info(
        &output
            .join(format!("{revision}-manifest-expanded.yaml"))
            .display()
            .to_string(),
    );
    log.info(STARS);
    log.info("Successfully installed ASM.");
}
