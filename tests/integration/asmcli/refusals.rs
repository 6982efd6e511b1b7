//! What is refused before any cluster is asked, in Google's words.

/// A command line that needs no cluster, and the lines that it logs, in this order, to the last one.
pub(super) struct Case {
    pub(super) line: &'static str,
    pub(super) log: &'static [&'static str],
}

const fn case(line: &'static str, log: &'static [&'static str]) -> Case {
    Case { line, log }
}

/// In a directory with a kubeconfig `k` (`K` stands for it and its context), the empty files `a`, `b`,
/// `c`, `d`, an RSA CA in four files, an EC certificate with its key, and a root of somebody else.
pub(super) const REFUSALS: &[Case] = &[
    // The command line itself.
    case("", &["usage: asmcli [SUBCOMMAND] [OPTION]..."]),
    case(
        "frob",
        &[
            "asmcli: [ERROR]: Unknown subcommand frob",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install --frob",
        &[
            "asmcli: [ERROR]: Unknown option --frob",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install --enable_frob",
        &[
            "asmcli: [ERROR]: Unknown option --enable_frob",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install --ca --enable_all",
        &["asmcli: [ERROR]: Option --ca requires an argument."],
    ),
    case(
        "install -r",
        &["asmcli: [ERROR]: Option -r requires an argument."],
    ),
    case(
        "create-mesh",
        &["asmcli: [ERROR]: WHOSE asmcli has no subcommand create-mesh"],
    ),
    case(
        "install K --managed",
        &["asmcli: [ERROR]: WHOSE asmcli cannot act out --managed"],
    ),
    // Its revision, platform, channel; old flags are only warned about.
    case(
        "install K -r a_b",
        &["asmcli: [ERROR]: Revision label does not follow RFC 1123 formatting convention."],
    ),
    case(
        "install K -r rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr",
        &["asmcli: [ERROR]: Revision label cannot be longer than 63."],
    ),
    case(
        "INSTALL K --Revision-Name 9ASM-UPPER -C None",
        &[
            "asmcli: Reading cluster information for gke_lab-project_us-central1-a_lab",
            "asmcli: [ERROR]: CA must be one of 'citadel', 'mesh_ca', 'gcp_cas', 'managed_cas'",
        ],
    ),
    case(
        "install K --platform aws",
        &["asmcli: [ERROR]: PLATFORM must be one of 'gcp', 'multicloud'"],
    ),
    case(
        "install K --mode install --legacy --channel odd",
        &[
            "asmcli: [WARNING]: As of version 1.10 the --mode flag is deprecated and will be ignored.",
            "asmcli: [WARNING]: The legacy option is no longer supported--continuing with normal installation.",
            "asmcli: [WARNING]: Channel selection will no longer affect version, but revision names and tags will be respected.",
            "asmcli: [ERROR]: CHANNEL must be one of 'regular', 'stable', 'rapid'",
        ],
    ),
    // Which cluster: what is missing counts only after the CA.
    case(
        "install K -p p",
        &[
            "asmcli: [ERROR]: Incompatible arguments. Kubeconfig cannot be used in conjunction with [--cluster_location|--cluster_name|--project_id].",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install -p p",
        &[
            "asmcli: [WARNING]: Missing one or more required options for [CLUSTER_LOCATION|CLUSTER_NAME|PROJECT_ID]",
            "asmcli: [ERROR]: Missing one or more required options.",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install --ca citadel",
        &[
            "asmcli: [WARNING]: At least one of the following is required: 1) --kubeconfig or 2) --cluster_location, --cluster_name, --project_id",
            "asmcli: [ERROR]: Missing one or more required options.",
            "usage: asmcli [SUBCOMMAND] [OPTION]...",
        ],
    ),
    case(
        "install --ca none",
        &["asmcli: [ERROR]: CA must be one of 'citadel', 'mesh_ca', 'gcp_cas', 'managed_cas'"],
    ),
    case(
        "install --project_id p --cluster_location l --cluster_name n",
        &["asmcli: [ERROR]: WHOSE asmcli finds its cluster by --kubeconfig only"],
    ),
    case(
        "install --kubeconfig k --context kind-kind -D out",
        &[
            "asmcli: Setting up necessary files...",
            "asmcli: Using [DIR]/k as the kubeconfig...",
            "asmcli: using context kind-kind",
            "asmcli: [ERROR]: Unable to find cluster /.",
            "Please verify the spelling and try again. To see a list of your clusters, in",
        ],
    ),
    // The CA and its files: as the procedure prints it, the command of phase 2 cannot run.
    case(
        "install K --ca gcp_cas",
        &[
            "asmcli: [ERROR]: WHOSE asmcli cannot act out --ca gcp_cas: there is no Certificate Authority Service",
        ],
    ),
    case(
        "install K --ca mesh_ca --root_cert c --cert_chain d",
        &[
            "asmcli: [ERROR]: You must select Citadel as the CA in order to use custom certificates.",
        ],
    ),
    case(
        "install K --root_cert c",
        &[
            "asmcli: [ERROR]: You must select Citadel as the CA in order to use custom certificates.",
        ],
    ),
    case(
        "install K --ca citadel --root_cert c",
        &["asmcli: [ERROR]: All four certificate options must be present to use a custom cert."],
    ),
    case(
        "install K --ca citadel --ca_cert a --ca_key nowhere --root_cert c --cert_chain d",
        &["asmcli: [ERROR]: Couldn't find file nowhere."],
    ),
    case(
        "install K --ca citadel --ca_cert a --ca_key b --root_cert c --cert_chain d",
        &[
            "asmcli: Checking certificate files for consistency...",
            "asmcli: [ERROR]: [DIR]/b failed an openssl consistency check.",
        ],
    ),
    case(
        "install K --ca citadel --ca_cert ec.crt --ca_key ec.key --root_cert root-cert.pem --cert_chain cert-chain.pem",
        &["asmcli: [ERROR]: [DIR]/ec.key failed an openssl consistency check."],
    ),
    case(
        "install K --ca citadel --ca_cert a --ca_key ca-key.pem --root_cert c --cert_chain d",
        &["asmcli: [ERROR]: [DIR]/a failed an openssl consistency check."],
    ),
    case(
        "install K --ca citadel --ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert c --cert_chain d",
        &["asmcli: [ERROR]: [DIR]/d failed an openssl consistency check."],
    ),
    case(
        "install K --ca citadel --ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert c --cert_chain cert-chain.pem",
        &["asmcli: [ERROR]: [DIR]/c failed an openssl consistency check."],
    ),
    case(
        "install K --ca citadel --ca_cert root-cert.pem --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem",
        &[
            "asmcli: Checking key matches certificate...",
            "asmcli: [ERROR]: Keyfile does not match the given certificate.",
        ],
    ),
    case(
        "install K --ca citadel --ca_cert ec.crt --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem",
        &["asmcli: [ERROR]: Keyfile does not match the given certificate."],
    ),
    case(
        "install K --ca citadel --ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert other.crt --cert_chain cert-chain.pem",
        &[
            "asmcli: Checking certificate files for consistency...",
            "asmcli: Checking key matches certificate...",
            "asmcli: Verifying certificate chain of trust...",
            "asmcli: [ERROR]: Unable to verify chain of trust.",
        ],
    ),
    // What may not go together, and other files.
    case(
        "validate K -e",
        &["asmcli: [ERROR]: validation cannot be run with any --enable* flag"],
    ),
    case(
        "install K --only_validate --enable_gcp_apis",
        &[
            "asmcli: [WARNING]: Please use \"asmcli valdiate\" instead.",
            "asmcli: [ERROR]: validation cannot be run with any --enable* flag",
        ],
    ),
    case(
        "install K --only-enable",
        &["asmcli: [ERROR]: You must specify at least one --enable* flag with --only_enable"],
    ),
    case(
        "install K --only_enable --enable_meshconfig_init",
        &["asmcli: [ERROR]: You must specify at least one --enable* flag with --only_enable"],
    ),
    case(
        "install K -s somebody",
        &["asmcli: [ERROR]: Service account and key file must be used together."],
    ),
    case(
        "install K -s somebody -k nowhere",
        &["asmcli: [ERROR]: Couldn't find key file nowhere."],
    ),
    case(
        "install K --custom_overlay x.yaml",
        &["asmcli: [ERROR]: Couldn't find yaml file x.yaml."],
    ),
    case(
        "install K -D a",
        &[
            "asmcli: [ERROR]: [DIR]/a exists and is not a directory, please specify another directory.",
        ],
    ),
    // The option of the procedure's text, which is in no package.
    case(
        "install K --ca mesh_ca --option ca-migration-migration -D out",
        &[
            "asmcli: using context gke_lab-project_us-central1-a_lab",
            "asmcli: [ERROR]: Couldn't find yaml file ca-migration-migration.",
            "See directory [DIR]/out/asm/istio/options for available options.",
        ],
    ),
];
