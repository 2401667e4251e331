"""Compiles models at -O2 and compares what they compute, bit for bit.

usage: integer_models.py VITQC [MODEL...] [--match=REGEX] [--bits=w8a8]
                         [--samples=N] [--cosine=X] [--may-float=REGEX]
                         [--images=FOLDER --preprocess=TEXT --calib=FOLDER]

MODEL is a file, perhaps below VITQC_DATA; without any the models are those of
VITQC_DATA/fixtures. Each is calibrated (with noise, by default) and lowered to
integers. Then

- all MACs must be integer, and no float op left but those of --may-float;
- outputs for random inputs, or for pictures of FOLDER at even distances, must be the
  interpreter's, to the last bit, on every ISA variant of this machine and with 1, 2
  and 3 threads;
- their mean cosine with those of the float model (-O1) must reach --cosine.

Prints a line for each model, with the kernels the generic emitter took.
"""
import argparse
import array
import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

SKIPPED = 77


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(" ".join(command) + "\n" + done.stderr)
    return done.stderr


def write_npy(path, shape, values):
    """A float32 array in numpy's format 1.0."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": shape})
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)))
        file.write(header.encode() + array.array("f", values).tobytes())


def input_shape(text):
    dims = re.search(r"func @main\(%[^:]*: tensor<([\dx]+), f32>", text).group(1)
    return [int(d) for d in dims.split("x")]


def counts(stats, stage):
    """The lines `N  stage: name` of --stats as a dictionary."""
    found = re.findall(rf"^ *(\d+)  {stage}: (.*)$", stats, re.M)
    return {name: int(n) for n, name in found}


def find(path):
    """`path`, or what lies there in VITQC_DATA, if anything does."""
    inside = os.path.join(os.environ.get("VITQC_DATA", ""), path)
    return inside if not os.path.exists(path) and os.path.exists(inside) else path


def runnable_variants(vitqc, so, x):
    listed = subprocess.run([vitqc, "--list-targets"], capture_output=True, text=True,
                            check=True).stdout
    names = re.findall(r"^(x86-64\S*|avx\S*)", listed, re.M)
    return [v for v in names if subprocess.run(
        [vitqc, "run", so, x, f"--variant={v}"], capture_output=True).returncode == 0]


class Model:
    def __init__(self, vitqc, path, folder, options):
        self.vitqc, self.path, self.folder, self.options = vitqc, path, folder, options
        self.problems = []
        self.facts = [f"--preprocess={options.preprocess}"] if options.preprocess else []

    def at(self, name):
        return os.path.join(self.folder, name)

    def expect(self, good, problem):
        if not good:
            self.problems.append(problem)

    def compile(self):
        level = ["-q", "-O2", *self.facts, f"--calib={find(self.options.calib)}",
                 f"--calib-size={self.options.calib_size}", f"--bits={self.options.bits}",
                 "--stats"]
        stats = run(self.vitqc, self.path, *level, "--stop-after=lower-int",
                    "--emit=ir", "-o", self.at("m.vq"))
        self.lowered = counts(stats, "lower-int")
        stats = run(self.vitqc, self.at("m.vq"), *level, "--start-after=lower-int",
                    "-o", self.at("m.so"))
        self.slow = sorted(re.findall(r"emit: loop_nest of (.*)", stats))
        run(self.vitqc, self.path, "-q", "-O1", *self.facts, "-o", self.at("float.so"))

    def take_pictures(self):
        folder, n = find(self.options.images), self.options.samples
        names = sorted(f for f in os.listdir(folder) if f.endswith((".JPEG", ".png")))
        self.images = self.at("pictures")
        os.makedirs(self.images, exist_ok=True)
        for name in names[::max(1, len(names) // n)][:n]:
            os.symlink(os.path.abspath(os.path.join(folder, name)),
                       os.path.join(self.images, name))
        self.files = sorted(os.path.join(self.images, f) for f in os.listdir(self.images))

    def draw_inputs(self):
        with open(self.at("m.vq"), encoding="utf-8") as file:
            shape = input_shape(file.read())
        shape[0] = self.options.samples
        size, draw = 1, random.Random(1)
        for d in shape:
            size *= d
        self.images, self.files = self.at("x.npy"), [self.at("x.npy")]
        write_npy(self.images, tuple(shape),
                  [draw.gauss(0, 1) for _ in range(size)])

    def check_ops(self):
        whole = self.lowered.pop("integer MACs", 0)
        part = self.lowered.pop("float MACs", 0)
        self.expect(whole and not part, f"{part} of {whole + part} MACs are float")
        left = [op for op in self.lowered if not re.fullmatch(self.options.may_float, op)]
        self.expect(not left, "float ops left: " + ", ".join(left))

    def check_variants(self):
        variants = runnable_variants(self.vitqc, self.at("m.so"), self.files[0])
        self.expect(variants, "no variant runs here")
        results = set()
        for variant in variants:
            for threads in 1, 2, 3:
                run(self.vitqc, "run", self.at("m.so"), *self.files, "-o",
                    self.at("y.npy"), f"--variant={variant}", f"--threads={threads}")
                with open(self.at("y.npy"), "rb") as file:
                    results.add(file.read())
        self.expect(len(results) == 1, "variants or threads differ")

    def evaluate(self, *options):
        run(self.vitqc, "eval", self.at("m.so"), f"--images={self.images}",
            f"--json={self.at('e.json')}", "-q", *options)
        with open(self.at("e.json"), encoding="utf-8") as file:
            return json.load(file)

    def check_values(self):
        exact = self.evaluate(f"--against={self.at('m.vq')}", "--reference=interpreter")
        self.expect(exact["max_abs_diff"] == 0,
                    f"differs from the interpreter by {exact['max_abs_diff']}")
        self.near = self.evaluate(f"--against={self.at('float.so')}")
        self.expect(self.near["cosine_mean"] >= self.options.cosine,
                    f"cosine {self.near['cosine_mean']:.5f} with the float model")

    def check(self):
        try:
            self.compile()
            self.take_pictures() if self.options.images else self.draw_inputs()
            self.check_ops()
            self.check_variants()
            self.check_values()
        except RuntimeError as error:
            self.problems.append(str(error))
            return
        print(f"  agreement {self.near['agreement']:.2f}, cosine "
              f"{self.near['cosine_mean']:.5f}; float:"
              f" {', '.join(self.lowered) or 'none'};"
              f" generic: {', '.join(self.slow) or 'none'}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitqc")
    parser.add_argument("model", nargs="*")
    parser.add_argument("--match", default="")
    parser.add_argument("--bits", default="w8a8")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--cosine", type=float, default=0.99)
    parser.add_argument("--may-float", default="")
    parser.add_argument("--calib", default="noise")
    parser.add_argument("--calib-size", type=int, default=8)
    parser.add_argument("--images", default="")
    parser.add_argument("--preprocess", default="")
    options = parser.parse_args()
    data = os.environ.get("VITQC_DATA", "")
    recorded = sorted(glob.glob(os.path.join(data, "fixtures", "*.onnx")))
    models = [find(m) for m in options.model] or recorded
    models = [m for m in models if re.search(options.match, os.path.basename(m))]
    if not models or not all(map(os.path.exists, models)):
        print("skipped: VITQC_DATA names no folder with these models")
        return SKIPPED
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in models:
            print(os.path.basename(path), flush=True)
            model = Model(options.vitqc, path, folder, options)
            model.check()
            for problem in model.problems:
                print("  FAILED:", problem, flush=True)
            n_bad += bool(model.problems)
    print(f"{len(models) - n_bad} of {len(models)} good, --bits={options.bits}")
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main())
