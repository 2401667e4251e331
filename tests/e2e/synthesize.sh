#!/bin/sh
# An integer model from nothing but the shipped float one: accuracy without a
# picture; the same bytes by one thread and two, by shards that are merged, from a
# profile, and for a set that is as large as it takes; others by another seed; other
# pictures by another objective.
#
# usage: synthesize.sh VITQC SOURCE_DIR
set -eu
vitqc=$1
model=$2/tests/models/fashion
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

compile() { # OUT OPTION...
  out=$1
  shift
  "$vitqc" "$model/fashion_vit.onnx" -q --cpu=native \
    --preprocess='scale=1/255 mean=.2860 std=.3530' "$@" -o "$out"
}

echo "== the same bytes"
few="--calib-size=3 --calib-steps=4"
compile one.so $few --threads=1
compile two.so $few --threads=2
compile seed.so $few --seed=2
cmp one.so two.so
! cmp -s one.so seed.so
for i in 0 1 2; do
  "$vitqc" "$model/fashion_vit.onnx" -q --preprocess='scale=1/255 mean=.2860 std=.3530' \
    $few --calib-shard=$i/3 --calib-out=part$i
done
"$vitqc" merge-profile part* -o all
compile merged.so --profile=all
cmp one.so merged.so
compile heads.so $few --calib=psaq+mimiq --calib-out=heads
! cmp -s all/00000.png heads/00000.png
compile scenes.so $few --calib=scenes --calib-out=scenes  # as every second one is anyway
cmp all/00001.png scenes/00001.png
! cmp -s all/00000.png scenes/00000.png

echo "== the same set when ranges have settled"
until="--calib-steps=2 --calib-settled=20"
compile first.so $until --threads=1 --calib-out=first
compile second.so $until --threads=2 --resume=second
compile third.so --profile=second
cmp first.so second.so
cmp first.so third.so
diff -r first second
[ "$(ls second/*.png | wc -l)" -lt 72 ]

echo "== accuracy"
compile float.so -O1
compile w8a8.so --calib-out=made
compile w4a8.so --profile=made --bits=w4a8
for name in float w8a8 w4a8; do
  "$vitqc" eval $name.so --images="$model/test1000.npy" --json=$name.json \
    --labels="$model/test1000.labels.npy" --against=float.so
done
python3 - <<'END'
import json
full, w8, w4 = (json.load(open(f"{n}.json")) for n in ("float", "w8a8", "w4a8"))
assert w8["top1"] >= full["top1"] - 0.003 and w8["agreement"] >= 0.985, w8
assert w4["top1"] >= full["top1"] - 0.01, w4
END
