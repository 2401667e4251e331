"""Compiles recorded models and checks what the compiled code computes.

usage: fixtures.py VITQC CHECK_SO [--match=REGEX] [--batch=N] [--samples=N]
                   [--level=-O1]

Looks in VITQC_DATA/fixtures for NAME.onnx with NAME.in.npy and NAME.out.npy.
Each is compiled and run on every ISA variant of this machine, with several
numbers of threads, and must come within 1e-4 of the recorded output, relative
to its largest magnitude. Nothing of the stack traces that exporters leave in
models may be in it.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile

TOLERANCE = "1e-4"
SKIPPED = 77
TRACES = (b"site-packages", b'File "', b"class_hierarchy")


def leaks(path):
    with open(path, "rb") as file:
        content = file.read()
    found = [t.decode() for t in TRACES if t in content]
    if found:
        print("the model's metadata reached the output:", *found)
    return bool(found)


def one(arguments, model, folder):
    out = os.path.join(folder, "model.so")
    stem = model[:-len(".onnx")]
    built = subprocess.run(
        [arguments.vitqc, model, arguments.level, "-q",
         f"--batch={arguments.batch}", "-o", out])
    if built.returncode or leaks(out):
        return False
    return subprocess.run(
        [arguments.check, out, stem + ".in.npy", stem + ".out.npy", TOLERANCE,
         str(arguments.samples)]).returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitqc")
    parser.add_argument("check")
    parser.add_argument("--match", default="")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--level", default="-O1")
    arguments = parser.parse_args()
    data = os.environ.get("VITQC_DATA", "")
    models = sorted(glob.glob(os.path.join(data, "fixtures", "*.onnx")))
    models = [m for m in models if re.search(arguments.match, os.path.basename(m))]
    if not models:
        print("skipped: VITQC_DATA names no folder with fixtures/")
        return SKIPPED
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            name = os.path.basename(model)
            print(name, flush=True)
            if not one(arguments, model, folder):
                failed.append(name)
    print(f"{len(models) - len(failed)} of {len(models)} good,"
          f" {arguments.level} --batch={arguments.batch},"
          f" {arguments.samples} samples")
    print("\n".join("FAILED " + name for name in failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
