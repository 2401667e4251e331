#!/bin/sh
# Installs the Debian 12 packages that building (and, with "tests", testing)
# needs. Packages that are present are left alone; root is needed only when
# something is missing.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config llvm-19-dev libprotobuf-c-dev
protobuf-c-compiler libjpeg62-turbo-dev libpng-dev libxml2-dev"
tests="check llvm-19-tools clang-19 libclang-rt-19-dev python3
python3-numpy binutils mandoc git"

want=$build
[ "${1:-}" = tests ] && want="$want $tests"

missing=
for p in $want; do
  dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed ||
    missing="$missing $p"
done
[ -z "$missing" ] && exit 0

echo "installing:$missing"
if [ "$(id -u)" != 0 ]; then
  echo "run as root: apt-get install$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
