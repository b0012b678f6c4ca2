#!/usr/bin/env bash
# Makes sure that the tools of the tests are there, or with the argument `demo` those of the demo, or
# with the argument `bench` also those of the measurements.
# Where it is root, it installs what is missing; otherwise it names it. Changes nothing where
# nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # where some of the tools are, for ordinary users too

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install Rust 1.95 or later from https://rustup.rs" >&2
  exit 1
fi

# Tools, and the Debian packages that have them.
tools=(cc=gcc mke2fs=e2fsprogs nginx=nginx-light qemu-img=qemu-utils)
[[ ${1:-} == demo ]] || tools+=(kubectl=kubernetes-client qemu-io=qemu-utils)
[[ ${1:-} != bench ]] || tools+=(wrk=wrk)

missing=()
for tool in "${tools[@]}"; do
  command -v "${tool%=*}" >/dev/null || missing+=("${tool#*=}")
done

# The Python client is a module, not a program, and its package is for the system's Python.
if [[ ${1:-} != demo ]] && ! "${LONGSHORE_TEST_PYTHON:-/usr/bin/python3}" -c 'import kubernetes' 2>/dev/null; then
  missing+=(python3-kubernetes)
fi

install() {
  if ! command -v apt-get >/dev/null; then
    echo "setup: missing: $* (names of Debian packages); install them and try again" >&2
    exit 1
  fi
  if ((EUID != 0)); then
    echo "setup: missing packages: run: sudo apt-get install --no-install-recommends $*" >&2
    exit 1
  fi

  # Only nginx's program is wanted. Its package would start a server on port 80; Debian asks this
  # file first, and it is there for the time of the installation only.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi

  echo "setup: installing $*"
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  if ! { apt-get update && apt-get install --yes --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "setup: apt-get could not install $*; the whole log is in $log" >&2
    exit 1
  fi
  rm -f "$log"
}

if ((${#missing[@]})); then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  install "${missing[@]}"
fi

# Older ones cannot wait for a value.
if [[ ${1:-} != demo ]]; then
  version=$(kubectl version --client -o json 2>/dev/null | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p')
  if ((${version:-0} < 26)); then
    echo "setup: kubectl is too old for the tests, which need 1.26 or later:" \
      "see https://kubernetes.io/docs/tasks/tools" >&2
    exit 1
  fi
fi

# The second, older kubectl stays out of the way of the first.
if [[ ${1:-} != demo && -z ${LONGSHORE_TEST_KUBECTL_OLD:-} ]]; then
  tools="${CARGO_TARGET_DIR:-target}/tools"
  if [[ ! -x $tools/kubectl-old ]]; then
    echo "setup: fetching an old kubectl into $tools"
    mkdir -p "$tools"
    unpacked=$(mktemp -d)
    if ! (
      cd "$unpacked" && apt-get update && apt-get download kubernetes-client &&
        dpkg -x kubernetes-client_*.deb .
    ) >"$unpacked/log" 2>&1; then
      tail -n 5 "$unpacked/log" >&2
      echo "setup: could not fetch it; name one of 1.20 or later in LONGSHORE_TEST_KUBECTL_OLD" >&2
      exit 1
    fi
    command install -m 755 "$unpacked/usr/bin/kubectl" "$tools/kubectl-old"
    rm -rf "$unpacked"
  fi
fi
