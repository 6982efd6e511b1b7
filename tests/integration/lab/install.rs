//! The lab's `asmcli` keeps the contract that the twin's keeps.

use super::rig::Lab;
use crate::asmcli::{Asmcli, Place, contract};

#[test]
fn the_labs_asmcli_installs_what_asmcli_installs() {
    let Some(lab) = Lab::mesh("--apps managed --ca plug-in") else {
        return;
    };
    contract(&Place {
        asmcli: Asmcli {
            whose: "the lab's",
            program: lab.inside("asmcli"),
            path: None,
        },
        rootshift: lab.inside(env!("CARGO_BIN_EXE_rootshift")),
        kubeconfig: lab.file("kubeconfig"),
        context: lab.context(),
        mesh_ca: lab.file("pki/meshroot.crt"),
        istioctl: true,
    });
}
