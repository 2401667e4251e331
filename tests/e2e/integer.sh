#!/bin/sh
# An integer model from the shipped float one: the same logits as the interpreter,
# bit for bit, in every variant and on several threads; accuracy; same bytes.
#
# usage: integer.sh VITQC SOURCE_DIR
set -eu
vitqc=$1
model=$2/tests/models/fashion
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

compile() { # OUT OPTION...
  out=$1
  shift
  "$vitqc" "$model/fashion_vit.onnx" -q -O2 --calib="$model/test1000.npy" \
    --calib-size=32 --preprocess='scale=1/255 mean=.2860 std=.3530' "$@" -o "$out"
}
number() { # FILE KEY
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$@"
}

compile float.so -O1
compile model.so
compile again.so --threads=1
cmp model.so again.so
compile model.vq --stop-after=lower-int --emit=ir

echo "== against the interpreter"
variants=$("$vitqc" --list-targets | awk '/^x86-64|^avx/ { print $1 }')
[ -n "$variants" ]
ran=0
for variant in $variants; do
  if ! "$vitqc" run model.so "$model"/picture-0-*.png --variant="$variant" >log 2>&1; then
    echo "skipped: this CPU cannot run variant $variant"
    continue
  fi
  for threads in 1 2 3; do
    "$vitqc" run model.so "$model"/picture-*.png -o "$variant.$threads.npy" \
      --variant="$variant" --threads="$threads"
    cmp "$variant.$threads.npy" "$(ls ./*.1.npy | head -n 1)"
    ran=$((ran + 1))
  done
done
[ "$ran" -ge 3 ]
mkdir pictures
cp "$model"/picture-[0-4]-*.png pictures
"$vitqc" eval model.so --images=pictures --against=model.vq \
  --reference=interpreter --json=exact.json
[ "$(number exact.json max_abs_diff)" = 0 ]

echo "== accuracy"
"$vitqc" eval model.so --images="$model/test1000.npy" --json=model.json \
  --labels="$model/test1000.labels.npy" --against=float.so
"$vitqc" eval float.so --images="$model/test1000.npy" --json=float.json \
  --labels="$model/test1000.labels.npy"
python3 - <<'END'
import json
model, full = json.load(open("model.json")), json.load(open("float.json"))
assert model["agreement"] >= 0.99 and model["cosine_mean"] >= 0.999, model
assert model["top1"] >= full["top1"] - 0.003, (model, full)
END

echo "== four-bit weights, noise"
compile small.so --bits=w4a8
compile small.vq --bits=w4a8 --stop-after=lower-int --emit=ir
grep -q '^quant .* = uniform<i4' small.vq
"$vitqc" eval small.so --images=pictures --against=small.vq \
  --reference=interpreter --json=exact.json
[ "$(number exact.json max_abs_diff)" = 0 ]
"$vitqc" eval small.so --images="$model/test1000.npy" --json=small.json \
  --labels="$model/test1000.labels.npy"
compile noise.so --calib=noise
compile weights.so --calib=none
"$vitqc" eval weights.so --images="$model/test1000.npy" --json=weights.json \
  --against=float.so
[ "$(($(wc -c <weights.so) * 3))" -lt "$(wc -c <float.so)" ]
compile mixed.so --bits=w8a8,attn.av=float,fc1=w4,fc2=a6,residual=float
"$vitqc" eval mixed.so --images="$model/test1000.npy" --json=mixed.json \
  --against=float.so
compile few.so --bits=w4a4,qkv=w8a8,head=float
"$vitqc" eval few.so --images="$model/test1000.npy" --json=few.json --against=float.so
"$vitqc" eval noise.so --images="$model/test1000.npy" --json=noise.json \
  --labels="$model/test1000.labels.npy"
python3 -c '
import json
assert json.load(open("small.json"))["top1"] > 0.85
assert json.load(open("noise.json"))["top1"] > 0.88
assert json.load(open("weights.json"))["agreement"] > 0.99
assert json.load(open("mixed.json"))["agreement"] > 0.95
assert json.load(open("few.json"))["agreement"] > 0.5'
