"""Checks that every header compiles alone, as C11 and (runtime's) as C++.

usage: headers.py ROOT C_COMPILER [INCLUDE_DIR...]
"""
import os
import subprocess
import sys

FOLDERS = ("runtime", "ir", "passes", "backend", "frontend")


def compiles(command, path):
    done = subprocess.run(command + [path], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip() or f"{path}: {command[0]} failed")
    return done.returncode == 0


def main(root, cc, *include):
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
             "-D_GNU_SOURCE", "-fsyntax-only"]
    flags += [f"-I{folder}" for folder in include]
    failed = n = 0
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if not name.endswith(".h"):
                    continue
                path = os.path.join(folder, name)
                own = [f"-I{os.path.join(root, top)}", f"-I{folder}"]
                n += 1
                failed += not compiles(
                    [cc, "-std=gnu11", "-xc", *flags, *own], path)
                if path.endswith(("vitq.h", "vitq_abi.h")):
                    failed += not compiles(
                        [cc, "-std=c99", "-Wpedantic", "-xc", *flags], path)
    print(f"headers: {n} compiled alone, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
