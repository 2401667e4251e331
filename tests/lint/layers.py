"""Checks that #include lines point down the layers and that names stay apart.

usage: layers.py ROOT
"""
import os
import re
import sys

# layer -> layers it may include from. Headers are found by their file name, so
# names of headers must be unique in the tree.
ALLOWED = {
    "runtime": {"runtime"},
    "ir": {"ir"},
    "passes": {"passes", "ir"},
    "backend": {"backend", "ir", "runtime"},
    "frontend/onnx": {"frontend/onnx", "ir"},
    "frontend/image": {"frontend/image", "ir"},
    "frontend/api": set(),
    "frontend/driver": {"frontend/driver", "frontend/api", "frontend/onnx",
                        "frontend/image", "passes", "backend", "ir", "runtime"},
    "frontend/command": {"frontend/command", "frontend/api"},
}
GENERATED = {"onnx.pb-c.h"}


def files(root):
    for layer in ALLOWED:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def")):
                    yield layer, os.path.join(folder, name)


def main(root):
    owner, errors = {}, []
    for layer, path in files(root):
        name = os.path.basename(path)
        if name in owner and name.endswith(".h"):
            errors.append(f"{path}: file name also used in {owner[name]}")
        owner.setdefault(name, layer)
    for layer, path in files(root):
        with open(path, encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                found = re.match(r'\s*#include\s+"([^"]+)"', line)
                if not found:
                    continue
                name = os.path.basename(found.group(1))
                if name in GENERATED:
                    continue
                if name not in owner:
                    errors.append(f"{path}:{number}: includes unknown {name}")
                elif owner[name] not in ALLOWED[layer]:
                    errors.append(f"{path}:{number}: {layer} may not include "
                                  f"{name} of {owner[name]}")
    print("\n".join(errors) or f"layers: {len(owner)} files, all arrows point down")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
