//! What each gate is for, in words for the person whom it stopped.
//!
//! The codes and their titles are [`super::gate`]'s; here is what there is no room for in a refusal.

/// What is said of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateText {
    /// Its code.
    pub code: &'static str,
    /// When it is asked, and what it looks at.
    pub looks_at: &'static str,
    /// Which outage it keeps away.
    pub why: &'static str,
    /// What to do when it refuses.
    pub what_to_do: &'static str,
    /// What it means to let it pass all the same.
    pub waiver: &'static str,
}

/// The text of the gate with this code, in whatever case it is written.
pub fn of(code: &str) -> Option<&'static GateText> {
    ALL.iter().find(|text| text.code.eq_ignore_ascii_case(code))
}

/// The texts, in the order of [`super::gate::ALL`].
pub const ALL: &[GateText] = &[
    GateText {
        code: "RS101",
        looks_at: "Before a namespace is relabelled, before pods are made anew in any way, and before a mesh configuration, an injector, a tag or istiod's environment changes: every ordered pair of workloads, with the certificates, roots and accepted names of the proxies of today and of those that the step makes.",
        why: "Two proxies talk only if each trusts the root that signed for the other and accepts its name. A namespace that goes to Mesh CA while another trusts the old root alone fails 100 % of the requests between the two; so does a new trust domain that nobody lists as an alias, with every root in place.",
        what_to_do: "Read which side refuses, and why. A root is missing: finish phase 1 first, in every namespace (rootshift run citadel-to-meshca --set through=distribute). A name is not accepted: have the revisions list each other's trust domain in meshConfig.trustDomainAliases. `rootshift why A B` tells more of one pair.",
        waiver: "The named pairs will fail from the first new pod on, until the other side is moved as well. Right only where nothing calls anything between them.",
    },
    GateText {
        code: "RS102",
        looks_at: "Before pods are made anew: which webhook would inject them under the labels that they will have, whether its istiod is ready, and whether it answers a dry run of a pod with a proxy in it; of a workload that is restarted, a dry run of its own template, held against what was foreseen.",
        why: "With a label that no webhook matches, pods start without a proxy and without an error, and send plain text that strict peers refuse. With a webhook that fails, no pod of the namespace starts at all: the rollout hangs, and a node that goes takes its pods with it.",
        what_to_do: "Install the revision that the label asks for, or put the namespace's labels back to one that is installed. If the webhook fails, look at istiod: without its CA server it may be Ready and have no serving certificate.",
        waiver: "New pods of these workloads run without a proxy, or do not start.",
    },
    GateText {
        code: "RS103",
        looks_at: "Before each step: that every pod of the mesh could be read and judged, and that none is starting, going away, or without the sidecar that it should have.",
        why: "A proxy that cannot be read may be the one that trusts the old root alone. What is not known is never taken for safe.",
        what_to_do: "`rootshift check` names them. Wait for pods that start; make those that hang or lack their sidecar anew; open the admin port (15000) to port-forward where it is closed, or give its dump with --dump DIR; move ambient and proxyless workloads out of the mesh, or by hand.",
        waiver: "These pods are left out of every verdict, also of those that follow.",
    },
    GateText {
        code: "RS104",
        looks_at: "Before each step that changes who trusts whom, and between the phases: the clusters that istiod reads (secrets with the label istio/multiCluster=true) and the workloads without a pod (WorkloadEntry), and whether this run looked at them; at the latter by their dumps (--dump DIR).",
        why: "A mesh over several clusters has one trust: a cluster whose proxies lack the new root refuses whoever has moved in another one. Virtual machines keep what they were given.",
        what_to_do: "Give every cluster of the mesh, each with --context, the one to change first. Where an API server goes by another address here than in the secret, or a machine whose dump cannot be given was looked at by other means, waive it by its name: --waive RS104:NAME=REASON.",
        waiver: "What was not looked at may refuse, or be refused, from this step on.",
    },
    GateText {
        code: "RS105",
        looks_at: "Before pods are moved to a revision that gives them another trust domain: AuthorizationPolicies (principals, trust domains, conditions on source.principal and on headers), subjectAltNames of DestinationRules, ServiceEntries and Gateways, and every text in EnvoyFilters, VirtualServices and WasmPlugins; as the istiod of each revision reads them. Servers outside of the mesh are left out.",
        why: "Mesh CA gives every workload another name. istiod reads a principal of five parts (DOMAIN/ns/NS/sa/SA) for every trust domain and alias, but `cluster.local/ns/shop/*` literally, the names in a ServiceEntry for aliases only, and those in a DestinationRule not at all. A policy that allows then refuses; one that denies lets pass, without an error anywhere.",
        what_to_do: "Each line ends with what keeps it: an alias (meshConfig.trustDomainAliases), or the command that adds the same value for the new trust domain beside the old one; filters are mended by hand. Remove the old values after the migration. If a kind may not be listed, allow `list` on it.",
        waiver: "The named policies and rules do not match whoever has moved: requests fail, or are let in. --waive RS105:NAMESPACE/NAME=REASON is for one that nobody needs.",
    },
    GateText {
        code: "RS201",
        looks_at: "Before a CA secret (cacerts, istio-ca-secret) is written or deleted: who holds a certificate of istiod's own CA, which namespaces would get one, and what istiod would load next.",
        why: "istiod finds its CA in these secrets when it starts. Without them, or with another key in them, it signs with a root that no proxy trusts, and every new certificate is refused.",
        what_to_do: "Finish phase 2 first, so that every certificate comes from the new CA. To change roots, distribute the new one first. If secrets may not be read, allow `get` on secrets in istio-system.",
        waiver: "The next istiod that starts has another CA: workloads that renew or restart after that are refused by all others.",
    },
    GateText {
        code: "RS202",
        looks_at: "Before the CA secrets are deleted: whether an istiod with a CA server is left that would make a root of its own.",
        why: "An istiod without a CA secret makes a self-signed CA within seconds, under the name of the old one and with another key, and gives its root to every proxy: a third root, whose key is in the cluster, that can sign for anybody.",
        what_to_do: "Install the revision with ENABLE_CA_SERVER=false and a serving certificate of its own, or accept the new root: --set new_root=accept.",
        waiver: "Every proxy trusts one root more than it needs, from the next start of istiod on. Nothing fails.",
    },
    GateText {
        code: "RS203",
        looks_at: "Before istiod is restarted: whether what the CA secrets hold signs under the root that the running istiod has.",
        why: "A running istiod has its CA in memory. If the secret was changed or deleted since, a restart brings another CA, which the proxies do not trust.",
        what_to_do: "Put the secret back as it was, or finish phase 2 first, after which nobody depends on this CA.",
        waiver: "The restarted istiod signs with another root; workloads that renew or restart after that are refused by all others.",
    },
    GateText {
        code: "RS204",
        looks_at: "Before an istiod, its Service or its webhook is removed: which proxies are of its revision, and which namespaces are labelled for it.",
        why: "Proxies of a revision without istiod get no certificate when theirs ends, after at most a day, and no configuration. Namespaces that still ask for it get pods without a proxy, or none at all.",
        what_to_do: "Move these workloads and namespaces to another revision first; bare pods and Jobs have to be made anew by hand. `rootshift run inventory` says how each is moved.",
        waiver: "The named proxies work until their certificates end, and no longer.",
    },
    GateText {
        code: "RS205",
        looks_at: "Before the CA secrets are deleted: applications that mount ConfigMap istio-ca-root-cert or the certificates that their proxy writes (OUTPUT_CERTS); webhooks, APIServices and conversions of kinds whose caBundle is of the old CA, but for istiod's own; ConfigMaps and Secrets that hold the old root; and roots of other meshes in the mesh configuration.",
        why: "Proxies get the new root from istiod; nobody else does. An application that verifies by the old root, or shows a certificate of the new CA to somebody who has the old root only, fails when the old CA goes, and a webhook that the API server cannot verify any more blocks what it guards.",
        what_to_do: "Each line ends with what to do. What has been seen to is said with --waive RS205:NAMESPACE/NAME=REASON, which is recorded. If Secrets or another kind may not be listed, allow `list` on it. Who keeps the root outside of the cluster cannot be found here: ask.",
        waiver: "The named users are left with a root that nothing is signed by any more.",
    },
    GateText {
        code: "RS301",
        looks_at: "Between the phases: that the bundle of every proxy holds a usable root of each CA that is asked for, compared by fingerprint; of a CA with several keys, of each of them.",
        why: "One proxy that lacks the new root refuses every workload that has moved to the new CA. Text tools print all green in that state.",
        what_to_do: "Move the named workloads to a revision that distributes both roots, and restart them. Restarted already: caCertificates, ISTIO_MULTIROOT_MESH=true and PROXY_CONFIG_XDS_AGENT=true are all three needed.",
        waiver: "The next phase begins although these workloads will refuse what it moves.",
    },
    GateText {
        code: "RS302",
        looks_at: "After phase 2 and before phase 3: who signed the certificate that each proxy shows, by signature.",
        why: "A workload that still has a certificate of the old CA is refused by everybody once the old root is gone.",
        what_to_do: "Move the named workloads to the revision that signs with the new CA, and restart them.",
        waiver: "The old CA is retired although these workloads depend on it.",
    },
    GateText {
        code: "RS303",
        looks_at: "At the end of phase 3: that nothing of the old root is in any bundle, be it issued again, or as an intermediate.",
        why: "As long as a proxy trusts the old root, whoever has its key can be anybody in the mesh.",
        what_to_do: "Wait until the named proxies have the new bundle (a mounted ConfigMap is up to two minutes behind), or restart them.",
        waiver: "The migration ends with the old root still trusted by these proxies.",
    },
    GateText {
        code: "RS304",
        looks_at: "After a revision is installed, before anything is moved to it: that its istiod is ready and injects, who will sign for its proxies, and which roots they will get.",
        why: "A revision can have the right name, run, and give one root only: without an error anywhere, and seen only when requests fail.",
        what_to_do: "Read what is missing; install the revision with asmcli as the procedure has it (phase 1: --ca citadel --option ca-migration-citadel; phase 2: --ca mesh_ca --option ca-migration-meshca), and see the installer's log.",
        waiver: "Namespaces are moved to a revision that is not set up for it; RS101 still looks at each step.",
    },
    GateText {
        code: "RS305",
        looks_at: "Before anything is begun: every proxy judged, its certificate valid and its own, every pair able to talk, one root in all istiods that sign, no namespace with both injection labels.",
        why: "A migration makes nothing better that is broken before it; and an outage that was there already cannot be told from one that a step makes.",
        what_to_do: "Mend what `rootshift check` names, then begin.",
        waiver: "The migration begins with these faults, and its own gates will name them again.",
    },
    GateText {
        code: "RS306",
        looks_at: "After an old control plane is removed: that the API server refuses an invalid VirtualService, tried by a dry run, for objects without a revision and for those of each revision that a webhook selects.",
        why: "The validating webhook calls a Service of the control plane. When that leads nowhere, either every wrong configuration is taken, or none can be changed any more; neither shows until somebody deploys.",
        what_to_do: "Apply asm/istio/istiod-service.yaml of the revision in use, and see that the Service has endpoints; delete validating webhooks of revisions that are gone.",
        waiver: "The named objects are not validated, or cannot be changed, until the Service leads to an istiod.",
    },
    GateText {
        code: "RS307",
        looks_at: "After a revision is installed, before anything is moved to it: the NetworkPolicies of the namespaces in the mesh, for a way from each workload that runs to the istiod of the revision (TCP 15012) and, where it signs with Mesh CA, out of the cluster (TCP 443).",
        why: "Proxies ask istiod for certificates today, inside of the cluster, and Mesh CA lies outside: a policy that hindered nobody until now keeps every new pod from starting.",
        what_to_do: "Allow the named ways. Whether addresses that a policy names are those of the goal is yours to know; so is what policies of other kinds than NetworkPolicy allow, and whether the network enforces any.",
        waiver: "The first pod that is moved shows whether there is a way: if not, its rollout stops there, with the old pods in place.",
    },
    GateText {
        code: "RS308",
        looks_at: "When check-trustdomain or a script asks: whether every proxy accepts every workload of the mesh under each trust domain that is in use or that an installed revision gives, of its clients by its listeners and of its servers by its clusters.",
        why: "Mesh CA issues names of another trust domain. A proxy that does not list it refuses the peer with every root in place.",
        what_to_do: "List the trust domain in meshConfig.trustDomainAliases of the revision that the named proxies are of, or move them to one that does. `rootshift why A B` tells more of one pair.",
        waiver: "The named proxies will refuse whoever comes under that trust domain; RS101 still looks at each step.",
    },
];

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;

    #[test]
    fn every_gate_has_its_text_and_every_text_its_gate() {
        let gates: Vec<&str> = gate::ALL.iter().map(|g| g.code).collect();
        let texts: Vec<&str> = ALL.iter().map(|t| t.code).collect();
        assert_eq!(texts, gates);
    }

    #[test]
    fn each_text_is_whole_sentences() {
        for text in ALL {
            for part in [text.looks_at, text.why, text.what_to_do, text.waiver] {
                assert!(
                    part.len() > 30 && part.ends_with('.') || part.ends_with(')'),
                    "{}: {part}",
                    text.code
                );
                assert!(
                    part.starts_with(|c: char| c.is_uppercase()
                        || c == '`'
                        || part.starts_with("istiod")),
                    "{}: {part}",
                    text.code
                );
            }
        }
    }
}
