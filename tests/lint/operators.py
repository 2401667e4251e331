"""Checks that docs/onnx.md lists the operators as the importer's table has them.

usage: operators.py ROOT [--write]

The tables between the two marks of the document are made from
frontend/onnx/import.def; --write puts them there.
"""
import os
import re
import sys

BEGIN, END = "<!-- import.def -->\n", "<!-- end -->\n"
# domain, operator, opset, handler, its argument, inputs, attributes, meaning
ROW = re.compile(r'ONNX\("(.*?)", "(\w+)", (\d+), \w+, \w+, (\d+), (\w+), "(.*?)",'
                 r' "(.*?)"\)')
GROUP = re.compile(r"// -+ (.*?)(; arg: .*)? -+")
HEAD = ("| operator | from opset | inputs | attributes | becomes |\n"
        "|---|---|---|---|---|\n")
REFUSED = "refused"


def count(low, high):
    if high == "VQ_OX_ANY":
        return f"{low} or more"
    return low if low == high else f"{low} to {high}"


def line(row):
    domain, name, since, low, high, attributes, becomes = row
    name = f"{domain} {name}" if domain else name
    attributes = ", ".join(f"`{a}`" for a in attributes.split())
    return f"| {name} | {since} | {count(low, high)} | {attributes} | {becomes} |\n"


def tables(text):
    """Markdown for every group of rows; those that are refused in one sentence."""
    out, refused = "", []
    for entry in text.split("\n"):
        group, row = GROUP.match(entry), ROW.match(entry)
        if entry.startswith("ONNX(") and not row:
            sys.exit(f"import.def: a row that {__file__} cannot read: {entry}")
        if group and not group[2]:
            title = group[1][0].upper() + group[1][1:]
            out += f"\n### {title}\n\n{HEAD}"
        elif row and row[7] == REFUSED:
            refused.append(f"{row[1]} {row[2]}".strip())
        elif row:
            out += line(row.groups())
    return out + "\nUnderstood and refused: " + ", ".join(refused) + ".\n\n"


def main(root, write):
    with open(os.path.join(root, "frontend/onnx/import.def"), encoding="utf-8") as f:
        want = tables(f.read())
    path = os.path.join(root, "docs/onnx.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    before, rest = text.split(BEGIN)
    have, after = rest.split(END)
    if have == want:
        return print("operators: docs/onnx.md agrees with import.def")
    if not write:
        sys.exit("docs/onnx.md differs from frontend/onnx/import.def; "
                 "tests/lint/operators.py . --write brings it up to date")
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + want + END + after)


if __name__ == "__main__":
    main(sys.argv[1], "--write" in sys.argv)
