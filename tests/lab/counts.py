#!/usr/bin/env python3
"""lab counts [--json]: the requests of every workload to every other one since the lab was started.

Read from the logs, which outlive their pods. `trust` counts the requests that failed because one side
did not accept the other's certificate, in the words of Envoy and BoringSSL: those of the caller's Envoy, or,
where that one only saw its connection end, those of the server's about the same connection. `other`
counts every other failure.
"""

import collections
import glob
import json
import os
import sys
import time

# What is said when a certificate is not accepted, by this side or (the alerts) by the other.
TRUST = (
    "CERTIFICATE_VERIFY_FAILED",
    "ALERT_UNKNOWN_CA",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REQUIRED",
)
# Seconds between a server's and a caller's record of one connection; ports are used again later.
SAME_CONNECTION = 10
# How many failures are listed one by one, the last ones.
LISTED = 100
# Seconds after which Envoy has written what it logs (its flush interval is one).
FLUSHED = 1.5


def lines(run, container):
    for path in glob.glob(os.path.join(run, "logs", f"*_{container}.log")):
        with open(path, errors="replace") as log:
            # What is being written has no end yet.
            yield from ((path, line) for line in log if line.endswith("\n"))


def is_trust(text):
    return any(word in text for word in TRUST)


def read(run):
    """The last counts of every process that ever ran, and every failure."""
    last, failures = {}, []
    for path, line in lines(run, "app"):
        word, _, rest = line.partition(" ")
        if word == "COUNTS":
            counts = json.loads(rest)
            last[path, counts["process"]] = counts
        elif word == "FAILED":
            failures.append(json.loads(rest))
    return list(last.values()), failures


def refused(run):
    """What servers' Envoys said of connections whose certificate was not accepted, by the caller's address."""
    found = collections.defaultdict(list)
    for _, line in lines(run, "istio-proxy"):
        if line.startswith("INBOUND ") and is_trust(line):
            _, at, address, why = line.split(maxsplit=3)
            found[address].append((float(at), why.strip()))
    return found


def judge(failure, by_servers):
    """Whether a failure is one of trust, and in whose words."""
    if is_trust(failure["why"]):
        return "trust", failure["why"]
    for at, why in by_servers[failure.get("address", "")]:
        if abs(at - failure["at"]) < SAME_CONNECTION:
            return "trust", f"{failure['why']}; the server: {why}"
    return "other", failure["why"]


def summed(run):
    pairs = collections.defaultdict(lambda: {"ok": 0, "trust": 0, "other": 0})
    domains, reasons, listed = collections.Counter(), collections.Counter(), []
    processes, failures = read(run)
    for counts in processes:
        for flow in counts["flows"]:
            pairs[counts["from"], flow["to"], flow["connections"]]["ok"] += flow["ok"]
            domains.update(flow.get("domains", {}))
    if any(time.time() - failure["at"] < FLUSHED for failure in failures):
        time.sleep(FLUSHED)
    by_servers = refused(run)
    for failure in failures:
        kind, why = judge(failure, by_servers)
        pairs[failure["from"], failure["to"], failure["connections"]][kind] += 1
        reasons[kind, why] += 1
        listed.append({"kind": kind, "why": why, **{key: failure[key] for key in ("at", "age", "from", "to")}})
    listed.sort(key=lambda failure: failure["at"])
    total = {outcome: sum(pair[outcome] for pair in pairs.values()) for outcome in ("ok", "trust", "other")}
    return {
        "requests": sum(total.values()),
        **total,
        "pairs": [
            {"from": source, "to": to, "connections": connections, **pair}
            for (source, to, connections), pair in sorted(pairs.items())
        ],
        "known_as": domains,
        "reasons": [{"kind": kind, "why": why, "count": n} for (kind, why), n in reasons.most_common()],
        "failures": listed[-LISTED:],
    }


def main():
    total = summed(os.environ["LAB_RUN"])
    if sys.argv[1:] == ["--json"]:
        print(json.dumps(total))
        return
    print("{requests} requests: {ok} ok, {trust} failed for trust, {other} failed otherwise".format(**total))
    for pair in total["pairs"]:
        if pair["trust"] or pair["other"]:
            print("  {from} -> {to}, {connections}: {ok} ok, {trust} trust, {other} other".format(**pair))
    for reason in total["reasons"]:
        print("  {count} x {kind}: {why}".format(**reason))
    for failure in total["failures"]:
        when = time.strftime("%H:%M:%S", time.localtime(failure["at"]))
        print("  {when} {kind}, {from} (running for {age:.1f} s) -> {to}: {why}".format(when=when, **failure))


if __name__ == "__main__":
    main()
