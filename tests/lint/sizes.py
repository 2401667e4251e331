"""Checks the house rules that a machine can: file length, line length, no
paths of one machine, no words that mark unfinished work.

usage: sizes.py ROOT
"""
import os
import re
import sys

FOLDERS = ("runtime", "ir", "passes", "backend", "frontend", "tests", "tools",
           "docs", "cmake")
CODE = (".c", ".h", ".py", ".sh", ".cmake")
MAX_LINES, MAX_COLUMNS = 600, 100
# Spelled in pieces so that this file passes its own check.
UNFINISHED = re.compile(r"\b(TO" "DO|FIX" "ME|XX" r"X)\b")
LOCAL_PATH = re.compile(r"/(work|root|home)/[a-z]")


def check(path, errors):
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    if path.endswith(CODE) and len(lines) > MAX_LINES + 1:
        errors.append(f"{path}: {len(lines)} lines, at most {MAX_LINES}")
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}"
        if path.endswith(CODE) and len(line) > MAX_COLUMNS:
            errors.append(f"{place}: {len(line)} columns, at most {MAX_COLUMNS}")
        if UNFINISHED.search(line):
            errors.append(f"{place}: marks unfinished work")
        if LOCAL_PATH.search(line):
            errors.append(f"{place}: names a path of one machine")


def main(root):
    errors, n = [], 0
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            if os.sep + "models" in folder or os.sep + "corpus" in folder:
                continue
            for name in sorted(names):
                if name.endswith(CODE + (".def", ".md", ".txt", ".vq", ".test")):
                    n += 1
                    check(os.path.join(folder, name), errors)
    print("\n".join(errors) or f"sizes: {n} files follow the house rules")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
