#!/usr/bin/env python3
"""Normalise one case's output: what differs between two servers that behave the same.
usage: normalize.py NS SERVER NODESFILE < raw > out"""
import re, sys
ns, server, nodes = sys.argv[1], sys.argv[2], open(sys.argv[3]).read().split()
s = sys.stdin.buffer.read().decode("utf-8", "replace")
V = "bcdfghjklmnpqrstvwxz2456789"          # the alphabet of generated names: no vowels
s = s.replace(ns, "NS")
s = re.sub(r"/[^\s'\"]*/\.work/[^/\s'\"]+/", "T/", s)
s = s.replace(server, "SERVER").replace(server.split("://")[-1], "SERVER")
for n in nodes: s = re.sub(r"\b%s\b" % re.escape(n), "NODE", s)
s = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID", s)
s = re.sub(r"eyJ[\w-]{10,}\.[\w-]+\.[\w-]+", "TOKEN", s)
s = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[ +-][\d:]+)?( [A-Z]{3})?", "TIME", s)
s = re.sub(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME", s)
s = re.sub(r"[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\]", "KLOG]", s)
s = re.sub(r'("?(?:resourceVersion|resourceVersionMatch)"?: ?)"\d*"', r'\1"RV"', s)
s = re.sub(r'(\\"resourceVersion\\":\\")\d+', r"\1RV", s)
s = re.sub(r"(resourceVersion=)\d{1,}", r"\1RV", s)
s = re.sub(r'(current: |requested: |too old resource version: |too large resource version: )\d+( \(\d+\))?', r"\1RV", s)
s = re.sub(r"((?:UID|ResourceVersion) in precondition: )\d+|(UID in object meta: |ResourceVersion in object meta: )\d+", lambda m: (m.group(1) or m.group(2)) + "RV", s)
s = re.sub(r"(the ResourceVersion in the precondition \()\d+(\) does not match the ResourceVersion in record \()\d+", r"\1RV\2RV", s)
s = re.sub(r'("?continue"?: ?)"[A-Za-z0-9_=-]{8,}"', r'\1"CONTINUE"', s)
s = re.sub(r"continue=[A-Za-z0-9_=%-]{8,}", "continue=CONTINUE", s)
s = re.sub(r'in scheme \\*"[^"]*"', "in scheme SCHEME", s)
# pod and replica set hashes: HASH1, HASH2 … in order of appearance; pod suffixes: RAND
seen = {}
h = lambda x: seen.setdefault(x, "HASH%d" % (len(seen) + 1))
s = re.sub(r"(?<=-)([%s]{6,10})-([%s]{5})(?![\w-])" % (V, V), lambda m: h(m.group(1)) + "-RAND", s)
s = re.sub(r"(?<=-)([%s]{8,10})(?![\w-])" % V, lambda m: h(m.group(1)), s)
s = re.sub(r"((?:pod-template-hash|controller-revision-hash)[\"']?(?:[=:,]|\\\":\\?) ?[\"']?(?:[a-z0-9-]*-)?)([%s]{6,10})\b" % V, lambda m: m.group(1) + h(m.group(2)), s)
s = re.sub(r"(?<=[a-z0-9]-)(?=[a-z2-9]*[2-9])[%s]{5}(?![\w-])" % V, "RAND", s)
s = re.sub(r"(?<=[a-z0-9]-)[bcdfghjklmnpqrstvwxz]{5}(?![\w-])", "RAND", s)
s = re.sub(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d+)?\b", "IP", s)
s = re.sub(r"\b\d+/\d+ nodes are available: \d+ node", "N nodes are available: N node", s)
s = re.sub(r"(?<=preemption: )\d+/\d+", "N", s); s = re.sub(r"preemption: N nodes are available: \d+ ", "preemption: N nodes are available: N ", s)
out = []
wait = re.compile(r"^(2> )?(Waiting for |waiting for |Waiting until |KLOG\] .*very short watch)")
for l in s.split("\n"):
    if wait.match(l): continue                       # progress lines depend on speed
    l = re.sub(r"(?:^|(?<=[\s(]))(<invalid>|\d+(?:\.\d+)?(ms|s|m|h|d|y)(\d+[smhd])?)( ago)?(?=[\s,)]|$)(?! to finish)", "AGE", l) if not l.startswith(("$", ">")) else l
    m = re.match(r"^(\s*)(.*?)\s*$", l)
    l = m.group(1) + (m.group(2) if l.startswith(("$", ">")) else re.sub(r" {2,}", "  ", m.group(2)))
    out.append(l)
sys.stdout.write("\n".join(out).strip("\n") + "\n")
