"""Runs the ONNX backend node tests on the importer, interpreter and compiler.

usage: conform.py CONFORM IMPORT_DEF [--match=REGEX] [--table] [--check=FILE]
                  [--stages=interpreter,O0,O1] [--keep=FOLDER]

Needs the packages `onnx` and `numpy`; without them the script says so and exits
with 77. CONFORM is the program built from tests/tools/conform.c.

A case is run as it stands. If an operand must be known at compile time but is
an input of the case's model, inputs become constants of the model, which is how
exporters write shapes, axes and pads: first each one alone, the last first,
then the last two, and so on. A model without any input left gets an unused one,
and so does one whose first input has no elements, for a first dimension of 0
means an open batch.

Results must have the declared type and shape; floats must be as close as the
case asks (mostly 1e-3 relative), everything else must be equal. Refused is what
the importer declines with a diagnostic that names the operator. All else
failed, and makes the exit status 1.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
import warnings

SKIPPED = 77
IR_TYPES = {"FLOAT": "f32", "FLOAT16": "f32", "BFLOAT16": "f32", "DOUBLE": "f32",
            "INT8": "i8", "INT16": "i16", "INT32": "i32", "INT64": "i64",
            "UINT8": "u8", "UINT16": "i32", "UINT32": "i64", "UINT64": "i64",
            "BOOL": "bool"}
NUMPY = {"f32": "<f4", "i8": "i1", "i16": "<i2", "i32": "<i4", "i64": "<i8",
         "u8": "u1", "bool": "?"}
# The cases round every step of these to the type, the compiler computes in f32.
ROUNDING = {"FLOAT16": 2 ** -9, "BFLOAT16": 2 ** -6}

warnings.filterwarnings("ignore")
try:
    import numpy as np
    # What older versions of onnx expect of NumPy.
    for old, new in (("float", float), ("int", int), ("bool", bool),
                     ("object", object)):
        if old not in vars(np):
            setattr(np, old, new)
    import onnx
    import onnx.backend.test.case.node as node_cases
except ImportError as error:
    onnx, missing = None, error


def elem_type(info):
    """The name of a tensor's element type, '' for other types."""
    if not info.type.HasField("tensor_type"):
        return ""
    return onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)


def storage(array, ir_type):
    """The array's elements as the IR stores them."""
    array = np.asarray(array)
    if ir_type != "f32" and array.dtype == np.uint64:
        return array.astype(np.int64)
    return np.ascontiguousarray(array.astype(NUMPY[ir_type]))


def plain(value):
    """A case's value as an array if it is one in any guise."""
    if isinstance(value, onnx.TensorProto) and value.data_type != 8:
        return onnx.numpy_helper.to_array(value)
    return value


class Case:
    def __init__(self, test, folder, accepted):
        self.name, self.model = test.name, test.model
        self.inputs, self.outputs = ([plain(a) for a in side]
                                     for side in test.data_sets[0])
        self.rtol, self.atol = test.rtol, test.atol
        self.folder = os.path.join(folder, test.name)
        nodes = self.model.graph.node
        self.operators = [f"{n.domain or 'ai.onnx'} {n.op_type}" for n in nodes]
        self.accepted = all(o in accepted for o in self.operators)
        self.constants = ()
        self.verdict = self.why = None

    def variants(self):
        """Sets of inputs to turn into constants, in the order of trying."""
        n = len(self.model.graph.input)
        yield ()
        for i in reversed(range(n)):
            yield (i,)
        for i in reversed(range(n - 1)):
            yield tuple(range(i, n))

    def write(self, constants):
        """Writes model and inputs for the tool, with `constants` built in."""
        os.makedirs(self.folder, exist_ok=True)
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        self.constants = constants
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        kept, arrays = [], []
        for i, info in enumerate(self.model.graph.input):
            if i in constants:
                tensor = self.tensor(i)
                if tensor is None:
                    return False
                model.graph.initializer.append(tensor)
            else:
                kept.append(info)
                arrays.append((elem_type(info), self.inputs[i]))
        first = arrays[0][1] if arrays else None
        if first is None or (isinstance(first, np.ndarray) and
                             first.shape[:1] == (0,)):
            kept.insert(0, onnx.helper.make_tensor_value_info(
                "unused__", onnx.TensorProto.FLOAT, [1]))
            arrays.insert(0, ("FLOAT", np.zeros(1, np.float32)))
        del model.graph.input[:]
        model.graph.input.extend(kept)
        with open(os.path.join(self.folder, "model.onnx"), "wb") as f:
            f.write(model.SerializeToString())
        for k, (kind, array) in enumerate(arrays):
            if kind in IR_TYPES and isinstance(array, (np.ndarray, np.generic)):
                with open(os.path.join(self.folder, f"in{k}"), "wb") as f:
                    f.write(storage(array, IR_TYPES[kind]).tobytes())
        return True

    def tensor(self, i):
        info, array = self.model.graph.input[i], self.inputs[i]
        kind = elem_type(info)
        if kind not in IR_TYPES or not isinstance(array, (np.ndarray, np.generic)):
            return None
        if kind in ("FLOAT16", "BFLOAT16"):
            return onnx.helper.make_tensor(
                info.name, onnx.TensorProto.DataType.Value(kind), np.shape(array),
                np.asarray(array).astype(np.float32).flatten().tolist())
        return onnx.numpy_helper.from_array(
            np.array(array, copy=True, order="C"), info.name)

    # ---- verdicts ----------------------------------------------------------

    def settle(self, lines, stages):
        """Takes what the tool printed; true when another variant may help."""
        self.verdict, self.why = "failed", "the program crashed"
        words = [line.split(" ", 2) for line in lines]
        if not words or words[-1][0] != "end":
            return False
        for w in words:
            if w[0] == "refused":
                self.verdict, self.why = "refused", w[2]
                return w[1] == "not-constant"
            if w[0] == "failed":
                self.why = f"{w[1]}: {w[2]}"
                return False
        types = [w[2].split(" ") for w in words if w[0] == "result"]
        done = [w[1] for w in words if w[0] == "done"]
        if done != stages:
            self.why = f"only {done} are done"
            return False
        for stage in stages:
            for k, (ir_type, shape) in enumerate(types):
                self.why = self.compare(stage, k, ir_type, shape)
                if self.why:
                    return False
        self.verdict = "passed"
        return False

    def compare(self, stage, k, ir_type, shape):
        kind = elem_type(self.model.graph.output[k])
        want = np.asarray(self.outputs[k])
        dims = tuple(int(d) for d in shape.split(",") if d)
        place = f"{stage}: output {k}"
        if ir_type != IR_TYPES.get(kind) or dims != want.shape:
            return f"{place} is {ir_type}{list(dims)}, expected {kind}{want.shape}"
        found = np.fromfile(os.path.join(self.folder, f"{stage}{k}"),
                            NUMPY[ir_type]).reshape(dims)
        want = storage(want, ir_type)
        try:
            if ir_type == "f32":
                np.testing.assert_allclose(
                    found, want, rtol=max(self.rtol, ROUNDING.get(kind, 0)),
                    atol=self.atol)
            else:
                np.testing.assert_array_equal(found, want)
        except AssertionError as error:
            return f"{place}: " + " ".join(str(error).split())
        return None


# ---- running ---------------------------------------------------------------

def run_tool(tool, stages, cases):
    """Runs the tool on written cases; the lines of each. Goes on after a crash
    with the case behind the one that crashed."""
    lines = {c.folder: [] for c in cases}
    left = [c.folder for c in cases]
    while left:
        text = "".join(f + "\n" for f in left)
        done = subprocess.run([tool, *stages], input=text, stdout=subprocess.PIPE,
                              text=True, check=False)
        at = None
        for line in done.stdout.splitlines():
            if line.startswith("case "):
                at = line[5:]
            elif at:
                lines[at].append(line)
        n = left.index(at) + 1 if at else len(left)
        left = left[n:]
    return lines


def run_all(tool, stages, cases):
    again = [(c, c.variants()) for c in cases]
    while again:
        written = []
        for case, variants in again:
            for v in variants:
                if case.write(v):
                    written.append((case, variants))
                    break
        lines = run_tool(tool, stages, [c for c, _ in written])
        again = [(c, v) for c, v in written if c.settle(lines[c.folder], stages)]


def load_accepted(path):
    """'domain operator' of every row of import.def that is not a refusal."""
    accepted = set()
    with open(path, encoding="utf-8") as f:
        for row in re.findall(r'^ONNX\("(.*?)", "(.*?)", \d+, (\w+),', f.read(),
                              re.M):
            if row[2] != "refuse":
                accepted.add(f"{row[0] or 'ai.onnx'} {row[1]}")
    return accepted


def collect():
    make = node_cases.collect_testcases
    takes = make.__code__.co_argcount
    return [t for t in (make(None) if takes else make())
            if t.model is not None and t.data_sets]


# ---- the table -------------------------------------------------------------

HEAD = """\
# Operator conformance

Result of the ONNX project's own node tests. The harness is
`tests/conformance/conform.py`; it writes this file:

    {command}

onnx {version}: {n} cases, {passed} passed, {refused} refused, {failed} failed.
Stages run for this table (`--stages`): {stages}.
A case passes if it does in each of them. Floats are compared as the cases ask,
mostly to a relative 1e-3, float16 to 2^-9 and bfloat16 to 2^-6 because they are
computed as f32; everything else must be equal. Operands that must be known at
compile time are constants of the model, not inputs of it; column "fixed" counts
cases that needed that.

## Accepted operators

| operator | passed | fixed | refused | because |
|---|---|---|---|---|
"""

REST = """
An operator's "expanded" cases are its definition in terms of others; they count
as its own, or as "spelled out" where the operator itself is not accepted.

## Other operators

Refused as unknown or as not accepted yet, {n} cases:
{names}.
"""


def shown(operator):
    domain, op = operator.split(" ", 1)
    return op if domain == "ai.onnx" else f"{domain} {op}"


def owner(case, by_name):
    """The operator a case is about."""
    base = by_name.get(re.sub(r"_expanded.*$", "", case.name), case)
    return base.operators[-1 if len(base.operators) > 1 else 0] \
        if base.operators else "ai.onnx Identity"


def table(cases, accepted, command, stages):
    by_name = {c.name: c for c in cases}
    rows = collections.defaultdict(list)
    other = collections.Counter()
    for c in cases:
        op = owner(c, by_name)
        if c.accepted:
            rows[op if op in accepted else op + " spelled out"].append(c)
        else:
            other[op] += 1
    count = collections.Counter(c.verdict for c in cases)
    text = HEAD.format(command=command, version=onnx.__version__, n=len(cases),
                       passed=count["passed"], refused=count["refused"],
                       failed=count["failed"], stages=stages)
    for op in sorted(rows, key=lambda o: shown(o).lower()):
        mine = rows[op]
        n = collections.Counter(c.verdict for c in mine)
        fixed = sum(c.verdict == "passed" and bool(c.constants) for c in mine)
        whys = collections.Counter(c.why for c in mine if c.verdict == "refused")
        why = "; ".join(w.replace("|", "\\|") for w in sorted(whys))
        text += (f"| {shown(op)} | {n['passed']} | {fixed or ''} |"
                 f" {n['refused'] or ''} | {why} |\n")
    names = ", ".join(f"{shown(o)} {n}" for o, n in sorted(
        other.items(), key=lambda item: shown(item[0]).lower()))
    return text + REST.format(n=sum(other.values()), names=names)


def results(text):
    """A table without how it was made: other stages must give the same one."""
    return [line for line in text.splitlines()
            if not line.startswith(("Stages run", "    tests/conformance"))]


def check_table(path, text):
    """Compares with the committed table if that is of the same version."""
    with open(path, encoding="utf-8") as f:
        committed = f.read()
    version = re.search(r"^onnx (\S+):", committed, re.M).group(1)
    if version != onnx.__version__:
        print(f"skipped: {path} is of onnx {version}, this is {onnx.__version__}")
        return True
    same = results(committed) == results(text)
    if not same:
        print(f"FAILED: {path} is not what conform.py --table prints now")
    return same


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("import_def")
    parser.add_argument("--match", default="")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--check", default="")
    parser.add_argument("--stages", default="interpreter,O0,O1")
    parser.add_argument("--keep", default="")
    arguments = parser.parse_args()
    if not onnx:
        print(f"skipped: the packages onnx and numpy are needed ({missing})")
        return SKIPPED
    accepted = load_accepted(arguments.import_def)
    with tempfile.TemporaryDirectory() as folder:
        cases = [Case(t, arguments.keep or folder, accepted) for t in collect()
                 if re.search(arguments.match, t.name)]
        run_all(arguments.tool, arguments.stages.split(","), cases)
    command = ("tests/conformance/conform.py build/release/tests/conform "
               "frontend/onnx/import.def --table > docs/conformance.md")
    text = table(cases, accepted, command, arguments.stages)
    bad = [c for c in cases if c.verdict == "failed"]
    if arguments.table:
        print(text, end="")
    else:
        for c in cases:
            if c.verdict == "refused" and c.accepted:
                print(f"refused {c.name} {c.constants or ''}: {c.why}")
    for c in bad:
        print(f"FAILED {c.name} {c.constants or ''}: {c.why}", file=sys.stderr)
    good = not arguments.check or check_table(arguments.check, text)
    print("{} passed, {} refused, {} failed".format(*(
        sum(c.verdict == v for c in cases)
        for v in ("passed", "refused", "failed"))), file=sys.stderr)
    return bool(bad) or not good


if __name__ == "__main__":
    sys.exit(main())
