#!/usr/bin/env bash
# Runs all tests, with cargo-nextest where it is installed, and ends with one line that counts them.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # mke2fs and nginx, for ordinary users too
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
touch "$logs/nextest" "$logs/cargo"
failed=0
step() { # log, command
  "${@:2}" 2>&1 | tee "$logs/$1" || failed=1
}

if cargo nextest --version >/dev/null 2>&1; then
  step nextest cargo nextest run --workspace --no-fail-fast
  step cargo cargo test --workspace --doc --no-fail-fast # which nextest does not run
else
  step cargo cargo test --workspace --no-fail-fast
fi

# nextest ends with "N tests run: N passed (…), N failed, …"; cargo test says
# "test result: ok. N passed; N failed; …" for each of its suites.
{
  grep -h ' tests\? run: ' "$logs/nextest"
  grep -h '^test result: ' "$logs/cargo"
} | tr -d ';,' | awk -v failed="$failed" '
  {
    for (i = 2; i <= NF; i++) {
      if ($i == "passed") passed += $(i - 1)
      if ($i == "failed" || $i == "timed") bad += $(i - 1)
    }
  }
  END { printf "%d passed, %d failed\n", passed, bad; exit failed }'
