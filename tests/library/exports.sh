#!/bin/sh
# A library exports what its header declares, and nothing else.
#
# usage: exports.sh LIBRARY PREFIX HEADER...
set -eu
library=$1 prefix=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Declarations, not the function pointer types or what comments name.
cat "$@" | sed -e 's|/\*.*\*/||' -e '/^ *\/\*/,/\*\//d' -e '/typedef.*(\*/d' |
  grep -o "\b$prefix[a-z_]*(" | tr -d '(' | sort -u >"$work/declared"
nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sed 's/@.*//' |
  sort -u >"$work/exported"
[ -s "$work/declared" ]
diff "$work/declared" "$work/exported"
