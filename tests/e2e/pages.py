"""Does what a page of the documentation says, in a copy of the tree.

Comments of the page stand in front of its code blocks and say what they are:

    <!-- file: PATH -->                 a new file
    <!-- insert: PATH before TEXT -->   lines to put in front of the line with TEXT
    <!-- insert: PATH after TEXT -->    ... or behind it
    <!-- build: TARGETS -->             built before the commands (no block)
    <!-- commands -->                   run by sh in the tree, programs in PATH

usage: pages.py PAGE SOURCE LLVM_BIN [CMAKE_ARGUMENT...]
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

STEP = re.compile(r"<!-- (file|insert|build|commands)(?:: (.*?))? -->\n(?:```\w*\n(.*?)^```$)?",
                  re.S | re.M)


def not_sources(folder, names):
    return [n for n in names if n == ".git" or
            os.path.exists(os.path.join(folder, n, "CMakeCache.txt"))]


def insert(tree, where, text):
    path, side, mark = re.fullmatch(r"(\S+) (before|after) (.*)", where).groups()
    path = os.path.join(tree, path)
    with open(path, encoding="utf-8") as f:
        lines = f.readlines()
    found = [i for i, line in enumerate(lines) if mark in line]
    if len(found) != 1:
        sys.exit(f"{path}: {len(found)} lines have '{mark}', expected one")
    at = found[0] + (side == "after")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(lines[:at] + [text] + lines[at:])


def build(tree, targets, arguments):
    folder = os.path.join(tree, "build")
    for command in (["cmake", "-S", tree, "-B", folder, "-G", "Ninja", *arguments],
                    ["ninja", "-C", folder, *targets.split()]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def run(tree, commands, llvm):
    folders = [os.path.join(tree, "build", f) for f in ("tests", "frontend/driver")]
    path = os.pathsep.join(folders + [llvm, os.environ["PATH"]])
    done = subprocess.run(["sh", "-eu", "-c", commands], cwd=tree, check=False,
                          env=dict(os.environ, PATH=path))
    if done.returncode:
        sys.exit(f"the commands of the page end with {done.returncode}")


def main(page, source, llvm, *arguments):
    with open(page, encoding="utf-8") as f:
        steps = STEP.findall(f.read())
    kinds = {kind for kind, _, _ in steps}
    if {"build", "commands"} - kinds or not {"file", "insert"} & kinds:
        sys.exit(f"{page}: steps are missing")
    with tempfile.TemporaryDirectory() as work:
        tree = os.path.join(work, "tree")
        shutil.copytree(source, tree, symlinks=True, ignore=not_sources)
        for kind, what, text in steps:
            print(f"{kind} {what}", flush=True)
            if kind == "file":
                path = os.path.join(tree, what)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "x", encoding="utf-8") as f:
                    f.write(text)
            elif kind == "insert":
                insert(tree, what, text)
            elif kind == "build":
                build(tree, what, arguments)
            else:
                run(tree, text, llvm)


if __name__ == "__main__":
    main(*sys.argv[1:])
