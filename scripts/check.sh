#!/usr/bin/env bash
# What a machine can judge about the code without running it. Ends at the first step that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings"

step() {
  echo "==> $*"
  "$@" || {
    echo "check: this step failed: $*" >&2
    exit 1
  }
}

step cargo fmt --all --check
step cargo clippy --quiet --workspace --all-targets -- -D warnings
step cargo xtask check
step cargo doc --quiet --workspace --no-deps
echo "check: all is well"
