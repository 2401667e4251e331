#!/bin/sh
# Installs what is needed, builds vitqc, compiles the shipped Fashion-MNIST
# vision transformer, runs it on pictures, evaluates it on 1,000 test pictures
# and times it. Every command is printed before it runs.
set -eu
cd "$(dirname "$0")"

run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

run ./tools/install-deps.sh
run cmake --preset release -DVITQC_TESTS=OFF
run cmake --build --preset release

model=tests/models/fashion
out=build/quickstart
mkdir -p $out
vitqc=build/release/frontend/driver/vitqc

run $vitqc $model/fashion_vit.onnx -O2 -v \
  --preprocess="scale=1/255 mean=.2860 std=.3530" \
  --labels=$model/classes.txt -o $out/fashion.so
run $vitqc inspect $out/fashion.so
run $vitqc run $out/fashion.so --top=3 $model/picture-*.png
run $vitqc eval $out/fashion.so --images=$model/test1000.npy \
  --labels=$model/test1000.labels.npy
run $vitqc bench $out/fashion.so
