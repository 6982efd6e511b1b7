#!/usr/bin/env python3
"""A node without containers: registers itself, and says of each of its pods that it runs and is ready.

usage: kubelet.py NODE SERVER CA CERT KEY

It is what a recording needs of a kubelet and no more. A pod is Running and Ready at once, whatever its
images are; a pod of a Job has soon run to its end; a pod with readiness gates waits for them; a pod that is
being deleted is soon gone. Nothing runs, so there are no logs, no exec and no port-forward.
"""

import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

NODE, SERVER, CA, CERT, KEY = sys.argv[1:]
# How long a Job's pod runs, and how long containers take to stop.
RUN, STOP = 0.5, 0.3

tls = ssl.create_default_context(cafile=CA)
tls.load_cert_chain(CERT, KEY)
host = urllib.parse.urlsplit(SERVER)
# The machine that the API server is on is the node.
ADDRESS = host.hostname
local = threading.local()
pool = ThreadPoolExecutor(16)
addresses = {}


def connect():
    return http.client.HTTPSConnection(host.hostname, host.port, context=tls, timeout=30)


def call(method, path, body=None, kind="application/json"):
    """One request on the thread's own connection, once more on a new one: (code, answer)."""
    for last in (False, True):
        try:
            if getattr(local, "connection", None) is None:
                local.connection = connect()
            data = None if body is None else json.dumps(body)
            local.connection.request(method, path, data, {"Content-Type": kind})
            answer = local.connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException):
            local.connection = None
            if last:
                raise


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def register():
    labels = {
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux",
    }
    call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}})
    room = {"cpu": "64", "memory": "256Gi", "pods": "10000"}
    states = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    status = {
        "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": NODE}],
        "capacity": room, "allocatable": room,
        "conditions": [
            {"type": kind, "status": is_so, "reason": reason, "message": message,
             "lastHeartbeatTime": now(), "lastTransitionTime": now()}
            for kind, is_so, reason, message in states
        ],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "none://1", "kernelVersion": "none",
            "kubeProxyVersion": "", "kubeletVersion": "v1.34.4", "machineID": "", "operatingSystem": "linux",
            "osImage": "none", "systemUUID": "",
        },
    }
    patch("/api/v1/nodes/" + NODE, {"status": status})


def patch(path, body):
    return call("PATCH", path + "/status", body, "application/strategic-merge-patch+json")


def path_of(pod):
    return "/api/v1/namespaces/{namespace}/pods/{name}".format(**pod["metadata"])


def containers(pod, ended):
    """The status of the main containers, with the images that the pod has now."""
    old = {c["name"]: c for c in pod["status"].get("containerStatuses", [])}
    started = pod["status"].get("startTime") or now()
    statuses = []
    for spec in pod["spec"]["containers"]:
        before = old.get(spec["name"])
        another = before is not None and before["image"] != spec["image"]
        state = {"running": {"startedAt": started}}
        if ended:
            state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now()}}
        statuses.append({
            "name": spec["name"], "image": spec["image"], "imageID": "sha256:" + spec["image"],
            "containerID": "none://" + pod["metadata"]["uid"] + spec["name"],
            "ready": not ended, "started": not ended, "state": state,
            "restartCount": (before or {}).get("restartCount", 0) + another,
        })
    return statuses


def inits(pod):
    """The status of the init containers: done, or running beside the others."""
    statuses = []
    for spec in pod["spec"].get("initContainers", []):
        state = {"running": {"startedAt": now()}}
        if spec.get("restartPolicy") != "Always":
            state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}}
        statuses.append({
            "name": spec["name"], "image": spec["image"], "imageID": "sha256:" + spec["image"],
            "containerID": "none://" + pod["metadata"]["uid"] + spec["name"],
            "ready": True, "started": "running" in state, "state": state, "restartCount": 0,
        })
    return statuses


def conditions(pod, ended):
    old = {c["type"]: c for c in pod["status"].get("conditions", [])}
    closed = [
        gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])
        if old.get(gate["conditionType"], {}).get("status") != "True"
    ]
    lacks = {"Ready": None, "ContainersReady": None}
    if ended:
        lacks = dict.fromkeys(lacks, ("PodCompleted", None))
    elif closed:
        names = ", ".join('corresponding condition of pod readiness gate "%s" does not exist.' % c for c in closed)
        lacks["Ready"] = ("ReadinessGatesNotReady", names)
    made = []
    for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"):
        lack = lacks.get(kind)
        is_so = "False" if lack or (ended and kind == "PodReadyToStartContainers") else "True"
        before = old.get(kind, {})
        since = before["lastTransitionTime"] if before.get("status") == is_so else now()
        condition = {"type": kind, "status": is_so, "lastProbeTime": None, "lastTransitionTime": since}
        if lack:
            condition.update({key: text for key, text in zip(("reason", "message"), lack) if text})
        else:
            condition.update(reason=None, message=None)
        made.append(condition)
    return made


def status(pod, ended):
    uid = pod["metadata"]["uid"]
    number = addresses.setdefault(uid, len(addresses) + 2)
    address = "10.88.%d.%d" % (1 + number // 250, number % 250 + 2)
    made = {
        "phase": "Succeeded" if ended else "Running",
        "observedGeneration": pod["metadata"].get("generation"),
        "conditions": conditions(pod, ended),
        "hostIP": ADDRESS, "hostIPs": [{"ip": ADDRESS}],
        "podIP": address, "podIPs": [{"ip": address}],
        "startTime": pod["status"].get("startTime") or now(),
        "containerStatuses": containers(pod, ended),
    }
    if pod["spec"].get("initContainers"):
        made["initContainerStatuses"] = inits(pod)
    return made


def same(pod, wanted):
    """Whether a pod has what matters of a status."""
    def gist(s):
        return (
            s.get("phase"),
            [(c["name"], c["image"]) for c in s.get("containerStatuses", [])],
            {(c["type"], c["status"]) for c in s.get("conditions", []) if c["type"] in ("Ready", "ContainersReady")},
        )
    return gist(pod["status"]) == gist(wanted)


def live(pod):
    """What a pod's status makes necessary now."""
    meta = pod["metadata"]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
    if meta.get("deletionTimestamp"):
        time.sleep(min(STOP, meta.get("deletionGracePeriodSeconds", 0)))
        call("DELETE", path_of(pod), options)
        return
    if pod["status"]["phase"] in ("Succeeded", "Failed"):
        return
    job = any(owner["kind"] == "Job" for owner in meta.get("ownerReferences", []))
    ended = job and pod["status"]["phase"] == "Running"
    if ended:
        time.sleep(RUN)
    wanted = status(pod, ended)
    if not same(pod, wanted):
        patch(path_of(pod), {"metadata": {"uid": meta["uid"]}, "status": wanted})


def see(pod):
    def run():
        try:
            live(pod)
        except Exception as e:  # noqa: BLE001: the next event tries again
            print("%s: %s" % (path_of(pod), e), file=sys.stderr, flush=True)

    pool.submit(run)


def main():
    register()
    selector = "fieldSelector=spec.nodeName%3D" + NODE
    print("node is ready", flush=True)
    while True:
        try:
            _, pods = call("GET", "/api/v1/pods?" + selector)
            for pod in pods["items"]:
                see(pod)
            stream = connect()
            version = pods["metadata"]["resourceVersion"]
            stream.request("GET", "/api/v1/pods?watch=1&timeoutSeconds=25&%s&resourceVersion=%s" % (selector, version))
            for line in stream.getresponse():
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    see(event["object"])
        except (OSError, http.client.HTTPException, KeyError) as e:
            print("again: %s" % e, file=sys.stderr, flush=True)
            time.sleep(0.2)


main()
