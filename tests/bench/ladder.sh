#!/bin/bash
# Accuracy by what a model was calibrated with, at all widths: the table of docs/calibration.md.
#
#   tests/bench/ladder.sh MODEL.onnx PREPROCESS IMAGES TRAIN OUT [RUNG...]
#
# IMAGES has labels.txt and is what models are judged by; of TRAIN every n-th picture
# calibrates, 64 in all. OUT receives models, pictures and OUT/table.md. VITQC names the
# compiler, SEED its seed, CPU what is compiled for. A ViT-Ti takes about 4 minutes a rung.
set -euo pipefail
model=$1 preprocess=$2 images=$3 train=$4 out=$5
shift 5
vitqc=${VITQC:-$(dirname "$0")/../../build/release/frontend/driver/vitqc}
seed=${SEED:-1} cpu=${CPU:-x86-64-v3}
[ $# -gt 0 ] || set -- noise class+variation psaq psaq+mimiq scenes mixed mixed+mimiq photographs
mkdir -p "$out"
common=(--preprocess="$preprocess" --cpu="$cpu" -q)

# Descent from noise, as PSAQ-ViT has it, is no value of --calib: the pictures are made by
# the pass, and calibrate with the ranges that were best for such pictures.
before="fold,recompose,cse,dce"
behind="reparam-layernorm,compensate-weights{damping=0.2 max-bits=8},round-weights,refine-rows,\
drop-rows,freeze-quant,lower-int,cse,dce,rows,pack,fuse,outline,dce,plan-memory"
margins() {
  case $1 in
    w8a8 | w4a8 | w3a8) echo "margin=1.2 norm-margin=1.7" ;;
    w6a6) echo "margin=1.1 norm-margin=1.35" ;;
    w4a4) echo "margin=1 norm-margin=1.15" ;;
  esac
}
split() {
  case $1 in
    w8a8) echo "balance=0.4" ;;
    w6a6) echo "balance=0.4 clip=true margin=1.1" ;;
    w4a8 | w3a8) echo "balance=0 limit=3" ;;
    w4a4) echo "balance=0 limit=3 clip=true margin=1" ;;
  esac
}
from_noise() {  # BITS LOSSES
  local pictures=$out/$rung-pictures
  if [ ! -d "$pictures" ]; then
    "$vitqc" "$model" "${common[@]}" --calib-out="$pictures" --emit=ir -o "$out/pictures.vq" \
      --passes="$before,synthesize{count=36 steps=50 seed=$seed styles=one $2}"
    rm -rf "$pictures/sheet" "$out"/pictures.vq*
  fi
  "$vitqc" "$model" "${common[@]}" --calib="$pictures" --calib-size=36 -o "$so" \
    --passes="$before,rows,fold-pixels,insert-quantizers{bits='$1'},observe{$(margins "$1")},\
split-outliers{$(split "$1")},$behind"
}
made() {  # BITS CALIB
  local pictures=$out/$rung-pictures
  if [ ! -d "$pictures" ]; then
    "$vitqc" "$model" "${common[@]}" -O2 --calib="$2" --seed="$seed" --calib-out="$pictures" \
      --calib-shard=0/1
  fi
  "$vitqc" "$model" "${common[@]}" -O2 --bits="$1" --profile="$pictures" -o "$so"
}

float=$out/float.so
[ -f "$float" ] || "$vitqc" "$model" "${common[@]}" -O1 -o "$float"
echo "top-1 / agreement with float / cosine of logits, seed $seed, $cpu" | tee "$out/table.md"
for rung; do
  line="| $rung |"
  for bits in w8a8 w6a6 w4a8 w4a4 w3a8; do
    so=$out/$rung-$bits.so
    case $rung in
      noise)
        "$vitqc" "$model" "${common[@]}" -O2 --bits=$bits --calib=noise --seed="$seed" \
          -o "$so" ;;
      class+variation) from_noise $bits entropy=0 ;;
      psaq) from_noise $bits "" ;;
      psaq+mimiq) from_noise $bits heads=1 ;;
      scenes) made $bits scenes ;;
      mixed) made $bits psaq ;;
      mixed+mimiq) made $bits psaq+mimiq ;;
      photographs)
        "$vitqc" "$model" "${common[@]}" -O2 --bits=$bits --calib="$train" --calib-size=64 \
          -o "$so" ;;
      *) echo "no rung is called '$rung'" >&2; exit 1 ;;
    esac
    "$vitqc" eval "$so" --images="$images" --labels="$images/labels.txt" --against="$float" \
      >"$out/eval.txt"
    line+=$(awk '/^top-1/{t=$2} /agreement/{a=$2} /cosine/{c=$3}
                 END{printf " %.2f / %.2f / %.3f |", t, a, c}' "$out/eval.txt")
  done
  echo "$line" | tee -a "$out/table.md"
done
