#!/usr/bin/env bash
# Makes sure that the tools of tests and demo are there. Where it is root, it installs what is missing;
# otherwise it names it. Changes nothing where nothing is missing.
set -euo pipefail
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # where some of the tools are, for ordinary users too

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install Rust 1.95 or later from https://rustup.rs" >&2
  exit 1
fi

# tool, and the Debian package that has it
missing=()
while read -r tool package; do
  command -v "$tool" >/dev/null || missing+=("$package")
done <<'TOOLS'
cc gcc
kubectl kubernetes-client
mke2fs e2fsprogs
nginx nginx-light
qemu-img qemu-utils
qemu-io qemu-utils
TOOLS
((${#missing[@]})) || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
  echo "setup: missing: ${missing[*]} (names of Debian packages); install them and try again" >&2
  exit 1
fi
if ((EUID != 0)); then
  echo "setup: missing packages: run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

# Only nginx's program is wanted. Its package would start a server on port 80; Debian asks this
# file first, and it is there for the time of the installation only.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "setup: apt-get could not install ${missing[*]}; the whole log is in $log" >&2
  exit 1
fi
rm -f "$log"
