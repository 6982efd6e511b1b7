//! `asmcli`'s command line: its flags, with `_` or `-`, in any case.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Help,
    Install,
    Validate,
    Version,
}

/// The flags that decide something here; those that only matter to Google Cloud are read and dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Args {
    pub(super) cluster: [Option<String>; 3],
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) context: Option<String>,
    pub(super) fleet_id: Option<String>,
    pub(super) network_id: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) options: Vec<String>,
    pub(super) overlays: Vec<PathBuf>,
    pub(super) ca_cert: Option<PathBuf>,
    pub(super) ca_key: Option<PathBuf>,
    pub(super) root_cert: Option<PathBuf>,
    pub(super) cert_chain: Option<PathBuf>,
    pub(super) revision: Option<String>,
    pub(super) output_dir: Option<PathBuf>,
    pub(super) platform: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) key_file: Option<PathBuf>,
    /// `--enable_*`, without the prefix.
    pub(super) enable: BTreeSet<&'static str>,
    /// `--only_validate` and `--only_enable`, without the prefix.
    pub(super) only: BTreeSet<&'static str>,
    /// Flags that the real tool has and the stand-in does not act out.
    pub(super) not_modelled: Vec<String>,
    /// Lines that the real tool logs while it reads its flags.
    pub(super) said: Vec<String>,
    /// An option that says that a gateway in `istio-system` is meant to be there.
    pub(super) legacy_ingress: bool,
}

/// Why the command line is refused.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Usage {
    /// `fatal`.
    Fatal(String),
    /// `fatal_with_usage`.
    WithUsage(String),
}

impl Args {
    /// Whether the namespace may be created.
    pub(super) fn creates_namespace(&self) -> bool {
        self.enable.contains("all") || self.enable.contains("namespace_creation")
    }

    fn warn(&mut self, text: &str) {
        self.said.push(format!("[WARNING]: {text}"));
    }

    /// Whether a flag asks for changes that validation alone may not make; initialising meshconfig
    /// does not count in the real tool.
    pub(super) fn enables(&self) -> bool {
        self.enable.iter().any(|what| *what != "meshconfig_init")
    }

    /// Whether certificate files were given: any one of the four is enough.
    pub(super) fn custom_ca(&self) -> bool {
        [
            &self.ca_cert,
            &self.ca_key,
            &self.root_cert,
            &self.cert_chain,
        ]
        .iter()
        .any(|f| f.is_some())
    }
}

/// Reads a command line without the program's name.
pub(super) fn parse(words: &[String]) -> Result<(Command, Args), Usage> {
    let Some((subcommand, mut rest)) = words.split_first() else {
        return Err(Usage::WithUsage(String::new()));
    };
    let mut command = match subcommand.to_lowercase().as_str() {
        "install" | "apply" => Some(Command::Install),
        "validate" => Some(Command::Validate),
        "create-mesh" | "build-offline-package" | "experimental" | "x" => {
            return Err(Usage::Fatal(format!(
                "the twin's asmcli has no subcommand {subcommand}"
            )));
        }
        _ if subcommand.starts_with('-') => {
            rest = words;
            None
        }
        _ => return Err(Usage::WithUsage(format!("Unknown subcommand {subcommand}"))),
    };
    let mut args = Args::default();
    while let Some((flag, after)) = rest.split_first() {
        rest = after;
        let name = flag.to_lowercase().replace('-', "_");
        let name = name.trim_start_matches('_');
        let short = !flag.starts_with("--");
        match switch(&mut args, flag, name, short) {
            Switch::Noted => continue,
            Switch::Command(asked) => {
                command = Some(asked);
                continue;
            }
            Switch::None => {}
        }
        let Some(slot) = slot(name, short) else {
            return Err(Usage::WithUsage(format!("Unknown option {flag}")));
        };
        let Some((value, after)) = rest
            .split_first()
            .filter(|(v, _)| !v.is_empty() && !v.starts_with('-'))
        else {
            return Err(Usage::Fatal(format!("Option {flag} requires an argument.")));
        };
        rest = after;
        slot(&mut args, value.clone());
    }
    match command {
        Some(command) => Ok((command, args)),
        None => Err(Usage::WithUsage(format!("Unknown subcommand {subcommand}"))),
    }
}

const ENABLE: &[&str] = &[
    "all",
    "cluster_labels",
    "cluster_roles",
    "gcp_apis",
    "gcp_components",
    "gcp_iam_roles",
    "meshconfig_init",
    "namespace_creation",
    "registration",
];

/// What a flag without an argument turned out to be.
enum Switch {
    /// It was noted.
    Noted,
    /// It asks for a command of its own.
    Command(Command),
    /// It is none.
    None,
}

/// Flags without an argument.
fn switch(args: &mut Args, flag: &str, name: &str, short: bool) -> Switch {
    let enable = name
        .strip_prefix("enable_")
        .and_then(|n| ENABLE.iter().find(|known| **known == n));
    match (short, name) {
        (true, "e") => drop(args.enable.insert("all")),
        (false, "only_validate") => {
            args.only.insert("validate");
            args.warn("In version 1.11 the --only_validate flag will be deprecated and ignored.");
            args.warn("Please use \"asmcli valdiate\" instead.");
        }
        (false, "only_enable") => drop(args.only.insert("enable")),
        (true, "v") | (false, "verbose" | "use_fleet_api" | "disable_ui" | "use_vpcsc") => {}
        (false, "legacy") => {
            args.warn(
                "The legacy option is no longer supported--continuing with normal installation.",
            );
        }
        (false, "use_managed_cni") => {
            args.warn(
                "The managed CNI now defaults to be on--continuing with normal installation.",
            );
        }
        (false, "disable_canonical_service") => args.warn("The disable_canonical_service option is no longer supported. The managed Canonical Service Controller is always provisioned."),
        (false, "managed" | "managed_certificates" | "offline" | "dry_run") => {
            args.not_modelled.push(flag.to_owned());
        }
        (true, "h") | (false, "help") => return Switch::Command(Command::Help),
        (false, "version") => return Switch::Command(Command::Version),
        _ => match enable.filter(|_| !short) {
            Some(enable) => drop(args.enable.insert(enable)),
            None => return Switch::None,
        },
    }
    Switch::Noted
}

type Slot = fn(&mut Args, String);

/// Where a flag's argument goes.
fn slot(name: &str, short: bool) -> Option<Slot> {
    let slot: Slot = match (short, name) {
        (true, "l") | (false, "cluster_location") => |a, v| a.cluster[0] = Some(v),
        (true, "n") | (false, "cluster_name") => |a, v| a.cluster[1] = Some(v),
        (true, "p") | (false, "project_id") => |a, v| a.cluster[2] = Some(v),
        (false, "kc" | "kubeconfig") => |a, v| a.kubeconfig = Some(v.into()),
        (false, "ctx" | "context") => |a, v| a.context = Some(v),
        (false, "fleet_id") => |a, v| a.fleet_id = Some(v),
        (false, "network_id") => |a, v| a.network_id = Some(v),
        (false, "ca_pool") => |_, _| {},
        (true, "c") | (false, "ca") => |a, v| a.ca = Some(v.to_lowercase()),
        // Mesh CA uses the fleet's pool anyway; the real tool drops this one too.
        (true, "o") | (false, "option") => |a, v| {
            if v == "hub-meshca" {
                a.said.push("Fleet workload identity pool is used as default for Mesh CA. No need to specify hub-meshca option.".to_owned());
                return;
            }
            a.legacy_ingress |=
                ["legacy-default-ingressgateway", "iap-operator"].contains(&v.as_str());
            a.options.push(v);
        },
        (false, "co" | "custom_overlay") => |a, v| a.overlays.push(v.into()),
        (false, "ca_cert") => |a, v| a.ca_cert = Some(v.into()),
        (false, "ca_key") => |a, v| a.ca_key = Some(v.into()),
        (false, "root_cert") => |a, v| a.root_cert = Some(v.into()),
        (false, "cert_chain") => |a, v| a.cert_chain = Some(v.into()),
        // `-D` is the directory; flags are read in any case, and no other short flag is a `d`.
        (true, "d") | (false, "output_dir" | "working_dir") => |a, v| a.output_dir = Some(v.into()),
        (true, "r") | (false, "revision_name") => |a, v| a.revision = Some(v),
        (false, "platform") => |a, v| a.platform = Some(v.to_lowercase()),
        (false, "channel") => |a, v| {
            a.channel = Some(v);
            a.warn("Channel selection will no longer affect version, but revision names and tags will be respected.");
        },
        (true, "s") | (false, "service_account") => |a, v| a.service_account = Some(v),
        (true, "k") | (false, "key_file") => |a, v| a.key_file = Some(v.into()),
        (true, "m") | (false, "mode") => |a, _| {
            a.warn("As of version 1.10 the --mode flag is deprecated and will be ignored.");
        },
        _ => return None,
    };
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Command, Args), Usage> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn the_commands_of_the_procedure_are_read() {
        let (command, args) = read("install --fleet_id f --kubeconfig k --enable_all --ca citadel --option ca-migration-citadel --revision_name r --output_dir d").unwrap();
        assert_eq!(command, Command::Install);
        assert_eq!(args.ca.as_deref(), Some("citadel"));
        assert_eq!(args.options, ["ca-migration-citadel"]);
        assert!(args.creates_namespace() && !args.custom_ca());
    }

    #[test]
    fn every_documented_flag_is_read() {
        let (_, args) = read(
            "install --kc k --ctx x --fleet_id f --network_id n -c mesh_ca --ca_pool p -o a --option b \
             --co c -r r --platform multicloud --channel rapid -s s -k k -D d -m install -e -v \
             --enable_cluster_roles --enable_cluster_labels --enable_gcp_apis --enable_gcp_iam_roles \
             --enable_gcp_components --enable_meshconfig_init --enable_registration \
             --enable_namespace_creation --use_fleet_api --use_vpcsc --disable_ui --legacy \
             --use_managed_cni --disable_canonical_service --only_validate --only_enable --managed \
             --managed_certificates --offline --dry_run --ca_cert 1 --ca_key 2 --root_cert 3 --cert_chain 4",
        )
        .unwrap();
        assert_eq!(args.network_id.as_deref(), Some("n"));
        assert_eq!(args.options, ["a", "b"]);
        assert_eq!(args.enable.len(), 9);
    }

    #[test]
    fn flags_take_underscores_dashes_and_any_case() {
        let (_, args) = read("INSTALL --Revision-Name r -D d -C MESH_CA").unwrap();
        assert_eq!(
            (args.revision.as_deref(), args.ca.as_deref()),
            (Some("r"), Some("mesh_ca"))
        );
        assert_eq!(args.output_dir, Some("d".into()));
    }

    #[test]
    fn a_flag_without_its_argument_is_fatal() {
        assert_eq!(
            read("install --ca --enable_all").unwrap_err(),
            Usage::Fatal("Option --ca requires an argument.".to_owned())
        );
    }

    #[test]
    fn unknown_flags_and_subcommands_show_the_usage() {
        assert_eq!(
            read("install --frob").unwrap_err(),
            Usage::WithUsage("Unknown option --frob".to_owned())
        );
        assert_eq!(
            read("frob").unwrap_err(),
            Usage::WithUsage("Unknown subcommand frob".to_owned())
        );
    }

    #[test]
    fn version_and_help_are_commands_wherever_they_stand() {
        assert_eq!(read("--version").unwrap().0, Command::Version);
        assert_eq!(read("install --help").unwrap().0, Command::Help);
        assert_eq!(read("-h").unwrap().0, Command::Help);
    }
}
