#!/bin/sh
# Compiled code against the scalar definition of every op, on a real model and
# real pictures. Ends with 77, "skipped", without VITQC_DATA.
#
# usage: reference.sh VITQC
set -eu
vitqc=$1
model=${VITQC_DATA:-}/models/vit_tiny_imagenet.onnx
pictures=${VITQC_DATA:-}/imagenet-val300
if [ -z "${VITQC_DATA:-}" ] || [ ! -f "$model" ] || [ ! -d "$pictures" ]; then
  echo "skipped: VITQC_DATA names no folder with models/ and imagenet-val300/"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/pictures"
head -n 2 "$pictures/labels.txt" >"$work/labels.txt"
while read -r name _; do
  ln -s "$(realpath "$pictures/$name")" "$work/pictures/"
done <"$work/labels.txt"

for level in -O0 -O1; do
  "$vitqc" "$model" $level -q -o "$work/model.so" \
    --preprocess='scale=1/255 mean=.5 std=.5 resize=0 crop=224 interp=bicubic'
  echo "== $level"
  "$vitqc" eval "$work/model.so" --images="$work/pictures" \
    --labels="$work/labels.txt" --against="$model" --reference=interpreter \
    --json="$work/result.json"
  python3 -c '
import json, sys
result = json.load(open(sys.argv[1]))
sys.exit(not (result["n"] == 2 and result["max_abs_diff"] <= 2e-3))
' "$work/result.json"
done
