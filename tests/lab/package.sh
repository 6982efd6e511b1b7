# Sourced by asmcli and istio-default: the package that they install from, and the lab's settings.
# shellcheck shell=bash disable=SC2034
PACKAGE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/package

# What `mesh` wrote down about this lab, or the defaults. Where no lab is, refusals need none of it.
settings() {
  SIDECARS=native CA_SERVER=on ALIASES=on REVISION='' TRUST_DOMAIN=lab-project.svc.id.goog
  # shellcheck source=/dev/null
  if [ -n "${LAB_RUN:-}" ] && [ -f "$LAB_RUN/settings" ]; then . "$LAB_RUN/settings"; fi
}

# A file as one quoted YAML string, for the PEM of a root.
quoted() { # FILE
  awk '{ printf "%s%s", (NR == 1 ? "\"" : ""), $0 "\\n" } END { print "\"" }' "$1"
}

# An overlay with its upper-case words filled in: FILE [WORD TEXT]…
fill() {
  local text
  text=$(<"$1")
  shift
  while [ $# -gt 0 ]; do
    text=${text//"$1"/"$2"}
    shift 2
  done
  if [ "$SIDECARS" = classic ]; then text=${text//SIDECARS_ARE_NATIVE/false}; fi
  text=${text//SIDECARS_ARE_NATIVE/true}
  text=${text//DRAIN_DURATION/$([ "$SIDECARS" = classic ] && echo 3s || echo 1s)}
  if [ "$ALIASES" = off ]; then text=$(grep -v trustDomainAliases: <<<"$text"); fi
  # With `served` istiod has no CA server either: see options/istiod-tls.yaml.
  if [ "$CA_SERVER" = on ]; then text=$(grep -v ENABLE_CA_SERVER: <<<"$text"); fi
  printf '%s\n' "$text"
}
