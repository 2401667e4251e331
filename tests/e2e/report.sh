#!/bin/sh
# A report's numbers of the compiled model are those that eval prints for the same
# samples: made pictures, ones that were held back, pictures of a folder.
#
# usage: report.sh VITQC SOURCE_DIR
set -eu
vitqc=$1
model=$2/tests/models/fashion
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

compile() { # NAME OPTION...
  name=$1
  shift
  "$vitqc" "$model/fashion_vit.onnx" -q --cpu=native --bits=w4a4 \
    --preprocess='scale=1/255 mean=.2860 std=.3530' --report="$name.json" \
    --report="$name.html" -o "$name.so" "$@"
}
evaluate() { # NAME FOLDER
  "$vitqc" eval "$1.so" --images="$2" --against="$model/fashion_vit.onnx" \
    --json="$2.json" >/dev/null
}

compile made --calib-size=9 --calib-steps=3 --calib-out=pictures
mkdir calibrated held
mv pictures/0000[0-8].png calibrated
mv pictures/00009.png pictures/00010.png held
evaluate made calibrated
evaluate made held
mkdir ten
cp "$model"/picture-*.png ten
compile given --calib=ten --calib-size=10
evaluate given ten

python3 - <<'END'
import base64, json, re, struct
def load(name):
    with open(name + ".json") as f:
        return json.load(f)
def same(compiled, name):
    want = load(name)
    assert len(want) == 5, want
    for key, value in want.items():
        assert compiled[key] == value, (name, key, compiled, want)
made, given = load("made"), load("given")
same(made["compiled"], "calibrated")
same(made["compiled"]["held_back"], "held")
same(given["compiled"], "ten")
assert "held_back" not in given["compiled"] and "pictures" not in given
assert (made["pictures"], made["pictures_held_back"]) == (11, 2)
# Every step has a time, and they are all of it.
for r in (made, given):
    kernels = r["kernels"]
    assert all(k["us"] > 0 and k["role"] for k in kernels)
    assert abs(sum(k["us"] for k in kernels) - r["compiled"]["us"]) < 1e-6 * r["compiled"]["us"]
    assert abs(sum(k["share"] for k in kernels) - 1) < 1e-6
    assert all(k["macs"] > 0 and k["gops"] > 0 for k in kernels if k["kernel"].startswith("gemm"))
    assert sum(k["bytes"] for k in kernels) > r["weight_bytes"]
# What the page says of it, and its pictures: four columns and three rows of 28 pixels.
page = open("made.html").read()
for name, at in (("compiled", made["compiled"]),
                 ("compiled, held back", made["compiled"]["held_back"])):
    row = re.search(f"<td>{name}</td>(.*?)</tr>", page, re.S).group(1)
    row = re.findall("<td>(.*?)</td>", row)
    want = [str(at["n"]), f"{100 * at['agreement']:.1f} %", f"{at['cosine_mean']:.6f}",
            f"{at['cosine_min']:.6f}"]
    assert row[:4] == want, (row, want)
png = re.search('src="data:image/png;base64,([^"]*)"', page).group(1)
png = base64.b64decode(png, validate=True)
assert png[:4] == b"\x89PNG" and struct.unpack(">II", png[16:24]) == (4 * 30 - 2, 3 * 30 - 2)
assert "<img" not in open("given.html").read()
print("equal:", made["compiled"], given["compiled"])
END
