"""Checks that compiling is deterministic and that any dump is an input.

usage: dumps.py VITQC MODEL.onnx

Compiles MODEL at -O1 twice (the two .so files must be the same bytes). Then,
for every pass of -O1, stops after it, writes the IR, and compiles the dump with
the rest of the pipeline: the .so must be the same bytes again.
"""
import os
import subprocess
import sys
import tempfile


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def vitqc(tool, *arguments):
    subprocess.run([tool, *arguments, "-q"], check=True)


def pass_names(tool):
    text = subprocess.run([tool, "-O1", "--print-pipeline"], check=True,
                          capture_output=True, text=True).stdout.strip()
    names, depth, word = [], 0, ""
    for c in text + ",":
        depth += (c == "{") - (c == "}")
        if c == "," and depth == 0:
            names.append(word.split("{")[0].strip())
            word = ""
        else:
            word += c
    return names


def main(tool, model):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)
        vitqc(tool, model, "-O1", "-o", path("m.so"))
        whole = bytes_of(path("m.so"))
        os.rename(path("m.so"), path("first.so"))
        vitqc(tool, model, "-O1", "-o", path("m.so"))
        if bytes_of(path("m.so")) != whole:
            print("FAILED: two builds differ")
            failed += 1
        names = pass_names(tool)
        for i, name in enumerate(names):
            # A name that occurs twice stands for its first occurrence.
            if names.index(name) != i:
                continue
            dump = path("m.vq")
            vitqc(tool, model, "-O1", f"--stop-after={name}", "--emit=ir",
                  "-o", dump)
            vitqc(tool, dump, "-O1", f"--start-after={name}", "-o", path("m.so"))
            good = bytes_of(path("m.so")) == whole
            failed += not good
            print(f"  after {name}: {'same bytes' if good else 'FAILED: differs'}")
        print(f"{len(names)} passes, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
