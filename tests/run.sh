#!/bin/sh
# Installs what the tests need, builds everything and runs every test: with gcc,
# again under AddressSanitizer and UBSan, and compiles with clang as well.
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

echo "== all warnings of clang"
CC=clang-19 cmake -S . -B build/clang -G Ninja -DVITQC_FUZZ=ON >/dev/null
cmake --build build/clang

echo "== AddressSanitizer and UBSan build"
cmake --preset asan >/dev/null
cmake --build --preset asan

echo "== tests under AddressSanitizer and UBSan"
ctest --preset asan -j2 -LE "slow|data"

echo "== tests"
ctest --preset release -j2
