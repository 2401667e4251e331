#!/bin/sh
# Installs what the tests need, builds everything and runs every test: built with
# gcc, and again with clang under AddressSanitizer and UBSan; fuzzes for a while.
#
#   tests/run.sh           all of it
#   tests/run.sh quick     the release build's quick tests only
#
# VITQC_DATA may name a folder with fixtures/, models/ and pictures (see
# docs/testing.md); tests that need it say "skipped" when it is absent.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${VITQC_DATA:-}" ] && [ -d ../shared/data ]; then
  VITQC_DATA=$(cd ../shared/data && pwd)
  export VITQC_DATA
fi
[ -n "${VITQC_DATA:-}" ] || echo "VITQC_DATA is not set: tests on outside data will be skipped"

./tools/install-deps.sh tests

echo "== release build (gcc)"
cmake --preset release >/dev/null
cmake --build --preset release
if [ "${1:-}" = quick ]; then
  ctest --preset release -L quick -j2
  exit
fi

echo "== AddressSanitizer and UBSan build (clang), with the fuzzers"
cmake --preset asan >/dev/null
cmake --build --preset asan

# A smoke test: inputs it finds go to a scratch corpus that is thrown away.
fuzz() {
  echo "== fuzzing $1 for $2 s"
  scratch=$(mktemp -d)
  mkdir "$scratch/corpus"
  if ! build/asan/tests/fuzz_"$1" -max_total_time="$2" -timeout="$3" \
    -rss_limit_mb="$4" -print_final_stats=1 -artifact_prefix="$scratch/" \
    "$scratch/corpus" tests/fuzz/corpus/"$1" >"$scratch/log" 2>&1; then
    tail -n 40 "$scratch/log"
    echo "fuzz_$1 failed; the input is in $scratch"
    exit 1
  fi
  grep 'stat::number_of_executed_units' "$scratch/log"
  rm -rf "$scratch"
}
# Two at a time. The evaluator's cases must also be quick and small.
fuzz onnx 60 20 1024 &
onnx=$!
fuzz text 15 20 1024
fuzz eval 30 10 1024
wait $onnx

echo "== tests under AddressSanitizer and UBSan"
ctest --preset asan -j2 -LE "data|once|full"

echo "== tests"
ctest --preset release -j2 -LE full
