"""Checks that every header compiles alone, as C11 and (runtime's) as C++.

usage: headers.py ROOT C_COMPILER [INCLUDE_DIR...]
"""
import os
import subprocess
import sys

PUBLIC = ("/vitq.h", "/vitq_abi.h", "/vitqc.h")
FOLDERS = ("runtime", "ir", "passes", "backend", "frontend")


def compiles(command, paths):
    done = subprocess.run(command + paths, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip() or f"{command[0]} failed")
    return done.returncode == 0


def main(root, cc, *include):
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
             "-D_GNU_SOURCE", "-fsyntax-only"]
    flags += [f"-I{folder}" for folder in include]
    n, good = 0, True
    for top in FOLDERS:
        headers = sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(os.path.join(root, top))
            for name in names if name.endswith(".h"))
        n += len(headers)
        # Each file is a translation unit of its own in one compiler run.
        own = {f"-I{os.path.dirname(path)}" for path in headers}
        own = [f"-I{os.path.join(root, top)}", *sorted(own)]
        good &= compiles([cc, "-std=gnu11", "-xc", *flags, *own], headers)
        public = [h for h in headers if h.endswith(PUBLIC)]
        if public:
            good &= compiles([cc, "-std=c99", "-Wpedantic", "-xc", *flags],
                             public)
    print(f"headers: {n} compiled alone", "" if good else ", some failed")
    return not good


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
