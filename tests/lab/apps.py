#!/usr/bin/env python3
"""Prints the applications of the lab as one List of Kubernetes objects.

apps.py --all             all of them, with the ingress gateway
apps.py --managed         those that a rollout restarts
apps.py --few             two of these
apps.py --make N          the others, as their Nth making: Job `batch-N`, Pod `lone-N`

With `--revision NAME` namespaces and gateway ask for that revision by name, not for the unlabelled one.

Every workload asks every other one (node/app.go), over a Service of its own: port 8000 keeps
connections, port 8001 makes a new one for each request. Retries are off and each answer says what the
caller's Envoy thought of its connection, so that one refused handshake is one counted failure; what the
server's Envoy thought is in that one's log, since with TLS 1.3 a caller only sees its connection end.
A rollout never takes away the last endpoint: what fails then has another cause.
"""

import argparse
import json

# namespace, name, kind, replicas
MANAGED = [
    ("shop", "web", "Deployment", 2),
    ("shop", "cart", "StatefulSet", 2),
    ("shop", "agent", "DaemonSet", 1),
    ("pay", "api", "Deployment", 2),
    ("pay", "ledger", "StatefulSet", 2),
    ("pay", "audit", "DaemonSet", 1),
]
FEW = [("shop", "web", "Deployment", 1), ("pay", "api", "Deployment", 1)]
# What no rollout restarts.
UNMANAGED = [("shop", "batch", "Job", 1), ("pay", "lone", "Pod", 1)]
GATEWAY = "istio-ingressgateway"
# Requests a second of each pod to each workload over each kind of connection.
RATE = "1"
# Response headers by which the application learns what its Envoy says (Envoy's substitution strings).
SAID_BY_ENVOY = {
    "x-lab-flags": "%RESPONSE_FLAGS%",
    "x-lab-transport-failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "x-lab-address": "%UPSTREAM_LOCAL_ADDRESS%",
}
# A line for each connection that a sidecar's inbound listener had (read by counts.py).
INBOUND = "INBOUND %START_TIME(%s.%3f)% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"


def meta(name, namespace=None, **more):
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def fqdn(namespace, name):
    return f"{name}.{namespace}.svc.cluster.local"


def namespaces(revision):
    labels = {"istio.io/rev": revision} if revision else {"istio-injection": "enabled"}
    for name in ("shop", "pay"):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, labels=labels)}
    # Not in the mesh: whoever is here comes in by the gateway.
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("legacy")}


def strict_mtls():
    yield {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": meta("strict", "istio-system"),
        "spec": {"mtls": {"mode": "STRICT"}},
    }


def inbound_log():
    log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": {"text_format_source": {"inline_string": INBOUND}},
        },
    }
    yield {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": meta("inbound-log", "istio-system"),
        "spec": {
            "configPatches": [
                {
                    "applyTo": "LISTENER",
                    "match": {"context": "SIDECAR_INBOUND", "listener": {"name": "virtualInbound"}},
                    "patch": {"operation": "MERGE", "value": {"access_log": [log]}},
                }
            ]
        },
    }


def service(namespace, name):
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(name, namespace),
        "spec": {
            "selector": {"app": name},
            "ports": [
                {"name": "http-kept", "port": 8000, "targetPort": 8080},
                {"name": "http-fresh", "port": 8001, "targetPort": 8080},
            ],
        },
    }
    one_request = {"connectionPool": {"http": {"maxRequestsPerConnection": 1}}}
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": meta(name, namespace),
        "spec": {
            "host": fqdn(namespace, name),
            "trafficPolicy": {"portLevelSettings": [{"port": {"number": 8001}, **one_request}]},
        },
    }
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": meta(name, namespace),
        "spec": {
            "hosts": [fqdn(namespace, name)],
            "http": [
                {"match": [{"port": port}], **route(namespace, name, port)} for port in (8000, 8001)
            ],
        },
    }


def route(namespace, name, port):
    return {
        "retries": {"attempts": 0},
        "headers": {"response": {"set": SAID_BY_ENVOY}},
        "route": [{"destination": {"host": fqdn(namespace, name), "port": {"number": port}}}],
    }


def pod(namespace, name, targets, **env):
    variables = {"WORKLOAD": f"{namespace}/{name}", "TARGETS": " ".join(targets), "RATE": RATE, **env}
    return {
        "serviceAccountName": name,
        "containers": [
            {
                "name": "app",
                "image": "lab/http",
                "env": [{"name": k, "value": v} for k, v in variables.items()],
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2},
            }
        ],
    }


def workload(namespace, name, kind, replicas, everyone, make=1):
    targets = [f"{ns}/{n}" for ns, n, _, _ in everyone if (ns, n) != (namespace, name)]
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(namespace, name, targets)}
    selector = {"matchLabels": labels}
    one_more = {"maxUnavailable": 0, "maxSurge": 1}
    if kind == "Pod":
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta(f"{name}-{make}", namespace, labels=labels),
            "spec": template["spec"],
        }
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
        spec = {"template": template, "backoffLimit": 0}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(f"{name}-{make}", namespace), "spec": spec}
    spec = {"selector": selector, "template": template}
    if kind == "Deployment":
        spec |= {"replicas": replicas, "strategy": {"rollingUpdate": one_more}}
    elif kind == "StatefulSet":
        spec |= {"replicas": replicas, "serviceName": name}
    else:
        spec |= {"updateStrategy": {"rollingUpdate": one_more}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta(name, namespace), "spec": spec}


def account(namespace, name):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name, namespace)}


def visitor(workloads):
    """Who is not in the mesh, and comes in through the gateway."""
    yield account("legacy", "visitor")
    targets = [f"{ns}/{n}" for ns, n, _, _ in workloads]
    labels = {"app": "visitor"}
    template = {
        "metadata": {"labels": labels},
        "spec": pod("legacy", "visitor", targets, GATEWAY=f"https://{GATEWAY}.istio-system.svc"),
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta("visitor", "legacy"),
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def gateway(workloads, revision):
    of_revision = {"istio.io/rev": revision or "default"}
    labels = {"istio": "ingressgateway", "app": GATEWAY}
    yield account("istio-system", GATEWAY)
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(GATEWAY, "istio-system"),
        "spec": {"selector": labels, "ports": [{"name": "https", "port": 443, "targetPort": 8443}]},
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(GATEWAY, "istio-system", labels={**labels, **of_revision}),
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "annotations": {"inject.istio.io/templates": "gateway"},
                    "labels": {**labels, "sidecar.istio.io/inject": "true", **of_revision},
                },
                "spec": {
                    "serviceAccountName": GATEWAY,
                    "containers": [
                        {
                            "name": "istio-proxy",
                            "image": "auto",
                            "ports": [{"containerPort": 8443}],
                            # kube-proxy learns late that it ends: until then connections still come.
                            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                        }
                    ],
                },
            },
        },
    }
    # Its certificate is secret `gateway-tls` (mesh.sh), which Envoy knows as kubernetes://gateway-tls; istiod
    # gives it to those who may read secrets of the namespace.
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": GATEWAY}
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": meta(GATEWAY, "istio-system"),
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": meta(GATEWAY, "istio-system"),
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": GATEWAY, "namespace": "istio-system"}],
    }
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": meta("visitors", "istio-system"),
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [
                {
                    "port": {"number": 8443, "name": "https", "protocol": "HTTPS"},
                    "hosts": ["*"],
                    "tls": {"mode": "SIMPLE", "credentialName": "gateway-tls"},
                }
            ],
        },
    }
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": meta("visitors", "istio-system"),
        "spec": {
            "hosts": ["*"],
            "gateways": ["istio-system/visitors"],
            "http": [
                {"match": [{"uri": {"prefix": f"/{kind}/{ns}/{name}"}}], **route(ns, name, port)}
                for ns, name, _, _ in workloads
                for kind, port in (("kept", 8000), ("fresh", 8001))
            ],
        },
    }


def everything(workloads, revision):
    yield from namespaces(revision)
    yield from strict_mtls()
    yield from inbound_log()
    yield from gateway(workloads, revision)
    for namespace, name, kind, replicas in workloads:
        yield account(namespace, name)
        yield from service(namespace, name)
        yield workload(namespace, name, kind, replicas, workloads)
    yield from visitor(workloads)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = arguments.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true")
    which.add_argument("--managed", action="store_true")
    which.add_argument("--few", action="store_true")
    which.add_argument("--make", type=int, metavar="N")
    arguments.add_argument("--revision", metavar="NAME")
    given = arguments.parse_args()
    if given.make:
        items = [workload(*one, everyone=MANAGED + UNMANAGED, make=given.make) for one in UNMANAGED]
    else:
        workloads = FEW if given.few else MANAGED if given.managed else MANAGED + UNMANAGED
        items = list(everything(workloads, given.revision))
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1))


if __name__ == "__main__":
    main()
