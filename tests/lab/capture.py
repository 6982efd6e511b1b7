#!/usr/bin/env python3
"""lab exec capture.py STAGE DIR NAMESPACE/APP…: a masked config dump of one proxy each, with OpenSSL's verdict.

Writes DIR/STAGE-NAMESPACE-WORKLOAD.json, as Envoy gives it (it redacts private keys), and a line for each
in DIR/verdicts.json: who signed the leaf, which roots are trusted (by the SHA-256 of each certificate),
the trust domain. Named roots: DIR/NAME.pem; those that are not there yet are put there at stage `start`.
"""

import base64
import datetime
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

MASK = "config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets"
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.S)


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def pod_of(namespace, app):
    pods = json.loads(run("kubectl", "get", "pods", "-n", namespace, "-l", f"app={app}", "-o", "json"))["items"]
    return next(p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"])


def dump(namespace, pod):
    command = ["pilot-agent", "request", "GET", MASK]
    return json.loads(run("kubectl", "exec", "-n", namespace, pod, "-c", "istio-proxy", "--", *command))


def secret(config, name, *path):
    for section in config["configs"]:
        for entry in section.get("dynamic_active_secrets", []):
            if entry["name"] == name:
                value = entry["secret"]
                for key in path:
                    value = value[key]
                return BLOCK.findall(base64.b64decode(value["inline_bytes"]).decode())
    raise SystemExit(f"no secret {name}")


def fingerprint(pem):
    said = run("openssl", "x509", "-noout", "-fingerprint", "-sha256", input=pem)
    return said.split("=")[1].strip().replace(":", "").lower()


def verdict(config, roots):
    leaf, *others = secret(config, "default", "tls_certificate", "certificate_chain")
    trusted = secret(config, "ROOTCA", "validation_context", "trusted_ca")
    with tempfile.NamedTemporaryFile("w") as chain:
        chain.write("".join(others))
        chain.flush()
        verify = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-untrusted", chain.name, "-CAfile"]
        said = {n: subprocess.run([*verify, f], input=leaf, capture_output=True, text=True) for n, f in roots.items()}
    signers = [name for name, verified in sorted(said.items()) if verified.returncode == 0]
    names = run("openssl", "x509", "-noout", "-ext", "subjectAltName", input=leaf)
    return {
        "signer": " and ".join(signers),
        "trusts": sorted(fingerprint(pem) for pem in trusted),
        "trust_domain": re.search(r"URI:spiffe://([^/]+)/", names)[1],
    }


def keep_roots(directory):
    secrets = json.loads(run("kubectl", "get", "secrets", "-n", "istio-system", "-o", "json"))["items"]
    held = {s["metadata"]["name"]: s["data"] for s in secrets}
    root = held["cacerts"]["root-cert.pem"] if "cacerts" in held else held["istio-ca-secret"]["ca-cert.pem"]
    with open(os.path.join(directory, "CITADEL.pem"), "wb") as file:
        file.write(base64.b64decode(root))
    with open(os.path.join(os.environ["LAB_RUN"], "pki/meshroot.crt")) as source:
        with open(os.path.join(directory, "MESHCA.pem"), "w") as file:
            file.write(source.read())


def main():
    stage, directory, *workloads = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    if stage == "start":
        keep_roots(directory)
    roots = {os.path.basename(f)[: -len(".pem")]: f for f in glob.glob(os.path.join(directory, "*.pem"))}
    file = os.path.join(directory, "verdicts.json")
    verdicts = json.load(open(file)) if os.path.exists(file) else {"taken_at": "", "dumps": {}}
    verdicts["taken_at"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for workload in workloads:
        namespace, app = workload.split("/")
        name = f"{stage}-{namespace}-{app}.json"
        config = dump(namespace, pod_of(namespace, app))
        with open(os.path.join(directory, name), "w") as out:
            json.dump(config, out, indent=1)
            out.write("\n")
        verdicts["dumps"][name] = verdict(config, roots)
        print(name, verdicts["dumps"][name]["signer"], len(verdicts["dumps"][name]["trusts"]))
    with open(file, "w") as out:
        json.dump(verdicts, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
