"""Models made to hurt, by hand. Each row is a name, the bytes, what must come
of it, and words its diagnostic must hold."""
from collections import namedtuple

from wire import *  # noqa: F403

REFUSE, ACCEPT, EITHER = "refuse", "accept", "either"
Case = namedtuple("Case", "name data expect why")
HUGE = [1 << 28, 1 << 32, 1 << 40, 1 << 62]


def refuse(name, data, why=""):
    return Case(name, data, REFUSE, why)


def accept(name, data):
    return Case(name, data, ACCEPT, "")


def either(name, data):
    return Case(name, data, EITHER, "")


def one(op, ins="x", inits=(), opset=18, **attrs):
    """y = op(x, ...), and nothing else."""
    return model(graph([node(op, ins, "y", **attrs)], inits), opset)


def fold(op, ins, inits, *more, opset=18, **attrs):
    """c = op(constants); y = x + the first element of c."""
    nodes = [node(op, ins, "c", **attrs), *more, node("Size", "c", "n"),
             node("Cast", "n", "f", to=1), node("Add", "x f", "y")]
    return model(graph(nodes, [scalar("zero", 0), *inits]), opset)


# ---- tensors -----------------------------------------------------------------

def tensors():
    sizes = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8,
             12: 4, 13: 8, 16: 2}
    for dtype, size in sizes.items():
        for off in sorted({-6 * size, -size, -1, 1, size, 1 << 16}):
            t = tensor("w", [2, 3], bytes(6 * size + off), dtype)
            yield refuse("raw-%d-%+d" % (dtype, off),
                         one("Add", "x w", [t]), "raw bytes")
    for field in (4, 5, 7, 10, 11):
        for n in (0, 1, 5, 7, 24):
            body = bytes(n * {4: 4, 10: 8}.get(field, 1))
            if (field, n) != (4, 6):
                yield refuse("typed-%d-%d" % (field, n), one("Add", "x w", [
                    tensor("w", [2, 3], None, FLOAT, blob(field, body))]),
                    "holds")
        yield refuse("both-%d" % field, one("Add", "x w", [
            tensor("w", [1], floats(1), FLOAT, blob(field, bytes(8)))]),
            "both raw and typed")
    for dtype in (0, 8, 14, 15, 17, 20, 21, 22, 23, 28, 99, -1, 1 << 31, -1 << 31):
        yield refuse("dtype-%d" % dtype, one("Add", "x w", [
            tensor("w", [1], bytes(4), dtype)]), "element type|wire|number")
    yield refuse("strings", one("Add", "x w", [
        tensor("w", [1], None, STRING, blob(6, "s"))]), "string")
    shapes = [[-1], [-1, -6], [1 << 63], [(1 << 63) - 1], [1 << 32, 1 << 32],
              [1 << 62, 4], [1 << 21, 1 << 21, 1 << 21, 2], [3, 1 << 61],
              [0, 1 << 62], [1 << 31, 1 << 31, 0], [1] * 9, [1] * 5000, [1 << 40],
              [1 << 20, 1 << 20], [(1 << 61) + 1], [1 << 30]]
    for i, dims in enumerate(shapes):
        t = tensor("w", dims, bytes(4))
        yield refuse("dims-init-%d" % i, one("Add", "x w", [t]), "tensor 'w'")
        yield refuse("dims-const-%d" % i, model(graph([
            node("Constant", "", "w", value=t), node("Add", "x w", "y")])),
            "tensor 'w'")
        yield refuse("dims-typed-%d" % i, one("Add", "x w", [
            tensor("w", dims, None, FLOAT, blob(4, bytes(4)))]), "tensor 'w'")
        yield either("dims-input-%d" % i, model(graph(
            [node("Neg", "x", "y")], (), [value("x", [d % (1 << 64) for d in dims])])))
    yield refuse("location", one("Add", "x w", [
        tensor("w", [1], floats(1), FLOAT, num(14, 2))]), "location is 2")
    yield refuse("location-negative", one("Add", "x w", [
        tensor("w", [1], floats(1), FLOAT, num(14, -1))]), "location is -1")
    yield refuse("segment", one("Add", "x w", [
        tensor("w", [1], floats(1), FLOAT, blob(3, num(1, 0)))]), "segment")
    yield refuse("sparse-initializer", model(graph(
        [node("Neg", "x", "y")], extra=blob(15, b""))), "sparse")
    yield refuse("uint64-too-large", fold("Neg", "w", [
        tensor("w", [1], b"\xff" * 8, 13)]), "too large for i64")


# Values that look alarming and are right.
def valid():
    nan, inf = float("nan"), float("inf")
    for name, v in {"zero": 0.0, "nan": nan, "inf": inf, "minus-inf": -inf,
                    "denormal": 1e-42, "largest": 3.4e38}.items():
        w = tensor("w", [3], floats(v, v, v))
        yield accept("weight-" + name, one("Mul", "x w", [w]))
        yield accept("fold-" + name, fold("Exp", "w", [w]))
        g = graph([node("LayerNormalization", "x w w", "y")], [w])
        yield accept("norm-" + name, model(g))
        yield accept("matmul-" + name, one("MatMul", "x m", [
            tensor("m", [3, 3], floats(*[v] * 9))]))
    yield accept("no-elements", model(graph(
        [node("Concat", "x w", "y", axis=0)], [tensor("w", [0, 3])])))
    yield accept("long-chain", model(graph(
        [node("Identity", "x", "t0")] +
        [node("Identity", "t%d" % i, "t%d" % (i + 1)) for i in range(10000)] +
        [node("Neg", "t10000", "y")])))
    yield accept("long-chain-of-ops", model(graph(
        [node("Neg", "x", "t0")] +
        [node("Sin", "t%d" % i, "t%d" % (i + 1)) for i in range(3000)] +
        [node("Neg", "t3000", "y")])))
    yield accept("metadata-1-mib", model(graph([node("Neg", "x", "y")]),
                                         extra=blob(6, bytes(1 << 20))))
    yield accept("same-tensor-everywhere", model(graph(
        [node("Add", "x w", "t0")] +
        [node("Add", "t%d w" % i, "t%d" % (i + 1)) for i in range(500)] +
        [node("Neg", "t500", "y")], [tensor("w", [3], floats(1, 2, 3))])))


# ---- messages ----------------------------------------------------------------

def messages():
    deep = 10000
    core = node("Neg", "x", "y")

    def branch(size):  # graph(1): node(5): attribute(6): graph
        g = blob(1, "then_branch")
        inner = varint(6 << 3 | 2) + varint(size)
        a = blob(4, "If")
        attribute_size = len(g) + len(inner) + size
        at = varint(5 << 3 | 2) + varint(attribute_size)
        node_size = len(a) + len(at) + attribute_size
        return varint(1 << 3 | 2) + varint(node_size) + a + at + g + inner
    yield refuse("nested-graphs", model(nested(graph([core]), deep, branch)),
                 "nested too deeply")

    def only(*tags):
        def wrap(size):
            head = b""
            for tag in tags:
                head = varint(tag << 3 | 2) + varint(size + len(head)) + head
            return head
        return wrap
    for name, tags in {"sequence": [1, 4], "optional": [1, 9], "map": [2, 5],
                       "sparse": [1, 8], "tensor": [2, 1]}.items():
        t = nested(blob(1, num(1, 1)), deep, only(*tags))
        yield refuse("nested-type-" + name, model(graph(
            [core], (), [blob(1, "x") + blob(2, t)])))
        a = blob(1, "p") + blob(14, t)
        yield Case("nested-attribute-type-" + name, model(graph(
            [core + blob(5, a)])), REFUSE, "")
    yield refuse("nested-attributes", model(nested(
        graph([core]), deep, only(6, 5, 1))), "nested too deeply")
    yield either("nested-training-info", model(
        graph([core]), extra=blob(20, nested(b"", deep, only(1)))))
    yield refuse("nothing", b"")
    yield refuse("zeros", bytes(4096))
    yield refuse("ones", b"\xff" * 4096)
    yield refuse("no-graph", num(1, 8) + blob(8, num(2, 18)), "no graph")
    yield refuse("no-opset", num(1, 8) + blob(7, graph([core])), "operator set")
    yield refuse("two-graphs", model(graph([core]), extra=blob(7, b"")), "second")
    yield refuse("group", model(graph([core]), extra=b"\x0b\x0c"), "wire type")
    yield refuse("tag-zero", model(graph([core]), extra=b"\0\0"), "tag")
    yield refuse("tag-huge", model(graph([core]), extra=b"\xff" * 9 + b"\1\0"))
    yield refuse("varint-endless", model(graph([core]), extra=b"\x08" + b"\x80" * 64))
    for name, g in {"empty-graph": b"", "no-output": graph([core], outputs=[]),
                    "no-input": graph([core], inputs=[]),
                    "no-node": graph([]), "empty-nodes": graph([b""] * 3),
                    "no-operator": graph([blob(1, "x") + blob(2, "y")])}.items():
        yield refuse(name, model(g))
    for v in (0, -1, 1, 6, 1 << 62):
        yield either("opset-%d" % v, model(graph([core]), v))
    yield refuse("two-opsets", model(graph([core]), extra=blob(8, num(2, 17))), "two")


# ---- counts ------------------------------------------------------------------

def counts():
    n = 1 << 20
    core = node("Neg", "x", "y")
    yield refuse("many-nodes", model(graph([core]) + blob(1, b"") * n))
    yield refuse("many-initializers", model(graph([core]) + blob(5, b"") * n))
    yield refuse("many-inputs", model(graph([core]) + blob(11, b"") * n))
    yield refuse("many-outputs", model(graph([core]) + blob(12, b"") * n))
    yield refuse("many-attributes", model(graph([core + blob(5, b"") * n])))
    yield refuse("many-equal-attributes", model(graph(
        [node("Softmax", "x", "y") + blob(5, attr("axis", 1)) * 100000])), "twice")
    yield refuse("many-operands", model(graph([core + blob(1, "x") * n])))
    yield refuse("many-results", model(graph([core + blob(2, "z") * n])))
    yield either("many-concat-operands", model(graph(
        [node("Concat", "x " * 20000, "y", axis=0)])))
    yield either("many-split-results", model(graph(
        [node("Split", "x", " ".join("s%d" % i for i in range(20000)), axis=0),
         core])))
    yield refuse("many-functions", model(graph([core]), extra=blob(25, b"") * n))
    yield refuse("many-dims", one("Add", "x w", [
        num(1, 1) * n + tensor("w", [], floats(1))]), "rank")
    yield refuse("many-input-dims", model(graph([core], (), [blob(1, "x") + blob(
        2, blob(1, num(1, 1) + blob(2, blob(1, num(1, 1)) * n)))])))
    entries = blob(13, blob(1, "location") + blob(2, "w.bin")) * 500000
    yield refuse("many-entries", one("Add", "x w", [
        tensor("w", [1], None, FLOAT, entries + num(14, 1))]), "twice|MiB")
    # Every node looks its operator set up.
    domains = b"".join(blob(8, blob(1, "d%d" % i) + num(2, 1)) for i in range(30000))
    m = num(1, 8) + domains + blob(8, blob(1, "") + num(2, 18)) + blob(7, graph(
        [node("Identity", "x", "t0")] +
        [node("Identity", "t%d" % i, "t%d" % (i + 1)) for i in range(20000)] +
        [node("Neg", "t20000", "y")]))
    yield refuse("many-opsets", m)
    yield refuse("packed-numbers", one("Add", "x w", [
        tensor("w", [1], None, FLOAT, blob(4, bytes(1 << 25)))]), "holds|MiB")
    yield refuse("packed-varints", one("Add", "x w", [
        tensor("w", [1], None, INT64, blob(7, bytes(1 << 23)))]), "holds|MiB")
    yield refuse("unpacked-numbers", one("Add", "x w", [
        tensor("w", [1], None, INT64, num(7, 1) * (1 << 22))]), "holds|MiB")
    big = "n" * (1 << 22)
    yield refuse("long-names", model(graph([node("Neg", big, big, big)])))
    yield either("many-functions-used", model(graph(
        [node("F%d" % i, "x", "y%d" % i, domain="f") for i in range(5000)] + [core]),
        18, [function("F%d" % i, "a", "b", [node("Neg", "a", "b")],
                      opsets=[("", 18)]) for i in range(5000)]))
    yield either("many-types", model(graph(
        [node("Reshape", "x s%d" % i, "y%d" % i) for i in range(3000)] + [core],
        [ints("s%d" % i, *[1 + (i >> k & 1) * 5 for k in range(8)])
         for i in range(3000)])))
    yield either("many-sequences", model(graph(
        [node("SplitToSequence", "w", "q%d" % i, axis=0) for i in range(300)] +
        [core], [tensor("w", [20000], bytes(80000))])))
    yield either("many-dead-branches", model(graph(
        [node("If", "c", "z%d" % i, then_branch=(graph([node("Neg", "x", "b")],
              inputs=[], outputs=[blob(1, "b")]),)) for i in range(5000)] + [core],
        [tensor("c", [], b"\1", BOOL)])))


def colliding(n):
    """Names of 16 bytes to which a known seed of ir/support/map.c gives one hash."""
    mask = (1 << 64) - 1
    m1, m2 = 0xbf58476d1ce4e5b9, 0x94d049bb133111eb

    def mix(h):
        h = (h ^ h >> 30) * m1 & mask
        h = (h ^ h >> 27) * m2 & mask
        return h ^ h >> 31
    golden, names = 0x9e3779b97f4a7c15, []
    seed, goal, i = 16 * golden & mask, 0x0123456789abcdef, 0
    while len(names) < n:
        i += 1
        first = b"%08x" % i
        h = (mix(seed ^ int.from_bytes(first, "little")) + golden) & mask
        second = (h ^ goal).to_bytes(8, "little")
        if 0 not in second:
            names.append(first + second)
    return names


def collisions():
    n = 20000
    g = b"".join(blob(5, num(1, 0) + num(2, 1) + blob(8, name) + blob(9, b""))
                 for name in colliding(n))
    yield accept("many-colliding-names", model(graph([node("Neg", "x", "y")]) + g))


# ---- names -------------------------------------------------------------------

EVIL = {"nul": b"a\0b", "newline": b"a\nb", "escape": b"\x1b[31ma\x1b]0;b\x07",
        "c1": b"a\xc2\x9b31m", "utf8": b"\xff\xfe\xc0\x80", "bidi": b"a\xe2\x80\xaeb",
        "delete": b"a\x7fb", "percent": b"%s%n%s", "long": b"q" * 70000}


def names():
    for how, evil in EVIL.items():
        def n(op, a, b, **kw):
            return node(op, a, b, **kw)
        name = blob(3, evil)
        operand = blob(1, evil) + blob(2, "y") + blob(4, "Neg")
        rows = {
            "node": model(graph([n("Frob", "x", "y") + name])),
            "op": model(graph([blob(1, "x") + blob(2, "y") + blob(4, evil)])),
            "domain": model(graph([n("Frob", "x", "y") + blob(7, evil)])),
            "operand": model(graph([operand])),
            "result": model(graph([blob(1, "x") + blob(2, evil) + blob(4, "Neg")] * 2)),
            "tensor": one("Add", "x w", [tensor(evil, [2], bytes(4))]),
            "attribute": model(graph([n("Neg", "x", "y") +
                                      blob(5, blob(1, evil) + num(3, 1))])),
            "attribute-text": model(graph([n("Resize", "x", "y") + blob(
                5, blob(1, "mode") + blob(4, evil) + num(20, 3))])),
            "input": model(graph([n("Neg", "x", "y")], (), [value(evil, (-3,))])),
            "output": model(graph([n("Neg", "x", "y")], outputs=[value(evil, (7,))])),
            "dim": model(graph([n("Neg", "x", "y")], (), [value("x", (evil, evil, evil))])),
            "function": model(graph([n("Neg", "x", "y")]), 18,
                              [function(evil, "", "", [])] * 2),
            "location": one("Add", "x w", [tensor("w", [1], None, FLOAT, num(14, 1) + blob(
                13, blob(1, "location") + blob(2, evil)))]),
            "key": one("Add", "x w", [tensor("w", [1], None, FLOAT, num(14, 1) + blob(
                13, blob(1, evil) + blob(2, "1")))]),
        }
        for where, data in rows.items():
            yield refuse("name-%s-%s" % (where, how), data)
        good = (blob(1, evil) + blob(2, b"z" + evil) + blob(4, "Neg") + name)
        m = model(graph([good], (), [value(evil)], [blob(1, b"z" + evil)]))
        yield Case("name-everywhere-" + how, m,
                   REFUSE if how == "nul" else ACCEPT, "")


# ---- the graph ---------------------------------------------------------------

def graphs():
    neg = node("Neg", "x", "y")
    w = tensor("w", [3], floats(1, 2, 3))
    inner = graph([node("Neg", "later", "b")], inputs=[], outputs=[blob(1, "b")])
    flag = tensor("c", [], b"\1", BOOL)

    def iff(g):
        return node("If", "c", "y", then_branch=(g,), else_branch=(g,))
    rows = {
        "twice-result": (graph([neg, neg]), "twice"),
        "twice-result-one-node": (graph([node("Split", "x", "y y", axis=0)]), "twice"),
        "twice-initializer": (graph([neg], [w, w]), "twice"),
        "twice-input": (graph([neg], (), [value("x"), value("x")]), "twice"),
        "input-is-result": (graph([node("Neg", "x", "x"), neg]), "twice"),
        "initializer-is-result": (graph([node("Neg", "x", "w"), neg], [w]), "twice"),
        "cycle-self": (graph([node("Neg", "y", "y")]), "cycle|later"),
        "cycle-two": (graph([node("Neg", "b", "y"), node("Neg", "y", "b")]), "cycle"),
        "cycle-long": (graph([node("Neg", "t%d" % ((i + 1) % 5000), "t%d" % i)
                              for i in range(5000)]), "cycle"),
        "undefined": (graph([node("Neg", "q", "y")]), "not defined"),
        "undefined-output": (graph([node("Neg", "x", "q")]), "not defined"),
        "unsorted": (graph([node("Neg", "q", "y"), node("Neg", "x", "q")]), "later"),
        "capture-later": (graph([iff(inner), node("Neg", "x", "later")], [flag]),
                          "not defined|later"),
        "capture-own-result": (graph([iff(graph(
            [node("Neg", "y", "b")], inputs=[], outputs=[blob(1, "b")]))], [flag]), ""),
        "branch-no-result": (graph([iff(graph([], inputs=[], outputs=[]))], [flag]), ""),
        "branch-missing": (graph([node("If", "c", "y")], [flag]), "missing"),
        "branch-on-input": (graph([node("If", "x", "y", then_branch=(inner,))]), ""),
        "too-many-results": (graph([node("Neg", "x", "y z")]), "results"),
        "too-many-operands": (graph([node("Neg", "x x x", "y")]), "operands"),
        "split-lies": (graph([node("Split", "x s", "y z", axis=1)],
                             [ints("s", 2, 2)]), ""),
        "split-negative": (graph([node("Split", "x s", "y z", axis=1)],
                                 [ints("s", -1, 4)]), ""),
        "split-overflow": (graph([node("Split", "x s", "y z", axis=1)],
                                 [ints("s", 1 << 62, (1 << 62) + 3)]), ""),
        "concat-lies": (graph([node("Concat", "x w", "y", axis=0)], [w]), ""),
        "output-shape": (graph([neg], outputs=[value("y", (3, 2))]), "declared"),
        "output-type": (graph([neg], outputs=[value("y", (2, 3), INT64)]), "declared"),
        "loop": (graph([node("Loop", "x", "y", body=(inner,))]), "loops"),
        "scan": (graph([node("Scan", "x", "y", body=(inner,))]), "loops"),
        "capture-outer": (graph([iff(graph([node("Neg", "x", "b")], inputs=[],
                                           outputs=[blob(1, "b")])), neg], [flag]), "twice"),
    }
    for name, (g, why) in rows.items():
        yield refuse(name, model(g), why)
    for op in ("QuantizeLinear", "DequantizeLinear", "NonMaxSuppression", "Scan",
               "StringNormalizer", "RandomNormal", "MaxPool", "RNN"):
        yield refuse("operator-" + op, one(op))
    axes = [-3, 2, 1 << 31, 1 << 32, (1 << 63) - 1, -1 << 63]
    for op, name in {"Softmax": "axis", "Concat": "axis", "Gather": "axis", "Split": "axis",
                     "Flatten": "axis", "LayerNormalization": "axis", "CumSum": "",
                     "Unsqueeze": "", "Squeeze": "", "ReduceSum": "", "OneHot": "axis",
                     "GatherElements": "axis", "ScatterElements": "axis"}.items():
        for a in axes:
            if (op in ("Unsqueeze", "OneHot") and a in (-3, 2)) or (op == "Flatten" and a == 2):
                continue
            ins = {"Concat": "x x", "Gather": "x i", "LayerNormalization": "x w",
                   "CumSum": "x a", "Unsqueeze": "x a", "Squeeze": "x a",
                   "ReduceSum": "x a", "OneHot": "i d w", "GatherElements": "x j",
                   "ScatterElements": "x j x"}.get(op, "x")
            inits = [ints("i", 0), scalar("d", 3), w, ints("a", a),
                     tensor("j", [2, 3], int64s(*[0] * 6), INT64)]
            attrs = {name: a} if name else {}
            yield refuse("axis-%s-%d" % (op, a),
                         model(graph([node(op, ins, "y", **attrs)], inits)))
    yield from indices(w)


def indices(w):
    for i in (-3, 2, 1 << 31, 1 << 40, (1 << 63) - 1, -1 << 63):
        for op, ins, t in (("Gather", "x i", ints("i", i)),
                           ("GatherND", "x i", ints("i", i)),
                           ("GatherElements", "x i", tensor("i", [1, 1], int64s(i), INT64)),
                           ("ScatterND", "x i w", tensor("i", [1, 1], int64s(i), INT64)),
                           ("ScatterElements", "x i u",
                            tensor("i", [1, 1], int64s(i), INT64))):
            inits = [t, tensor("w", [1, 3], bytes(12)), tensor("u", [1, 1], bytes(4))]
            yield refuse("index-%s-%d" % (op, i),
                         model(graph([node(op, ins, "y")], inits)))
    edge = [0, 1, -1, (1 << 31) - 1, (1 << 63) - 1, -1 << 63, 1 << 62]
    for k, (a, b, c) in enumerate((a, b, c) for a in edge for b in edge for c in edge):
        if k % 3 == 0:
            yield either("slice-%d" % k, model(graph(
                [node("Slice", "x a b o c", "y")],
                [ints("a", a), ints("b", b), ints("c", c), ints("o", k % 2)])))
        if k % 7 == 0:
            yield either("pad-%d" % k, one("Pad", "x p", [ints("p", a, b, c, 0)]))
            yield either("reshape-%d" % k, one("Reshape", "x s", [ints("s", a, b, c)]))
            yield either("range-%d" % k, fold("Range", "a b d", [
                scalar("a", a), scalar("b", b), scalar("d", c)]))
            yield either("trilu-%d" % k, model(graph(
                [node("Trilu", "x k", "y")], [scalar("k", a)])))
            yield either("conv-%d" % k, model(graph(
                [node("Conv", "x w", "y", strides=[a, b], pads=[b, c, c, a],
                      dilations=[c, 1])], [tensor("w", [1, 1, 2, 2], bytes(16))],
                [value("x", (1, 1, 4, 4))])))


# ---- amplification -----------------------------------------------------------

def amplification():
    for n in HUGE:
        big = ints("s", n)
        rows = {
            "ConstantOfShape": fold("ConstantOfShape", "s", [big]),
            "ConstantOfShape-flat": fold("ConstantOfShape", "s", [ints("s", 1, n, 1)]),
            "Expand": fold("Expand", "w s", [big, tensor("w", [1], bytes(4))]),
            "Tile": fold("Tile", "w s", [big, tensor("w", [1], bytes(4))]),
            "Range": fold("Range", "a b d", [scalar("a", 0), scalar("b", n),
                                             scalar("d", 1)]),
            "Pad": fold("Pad", "w s", [ints("s", 0, n), tensor("w", [1], bytes(4))]),
            "Pad-edge": fold("Pad", "w s", [ints("s", 0, n),
                                            tensor("w", [1], bytes(4))], mode="edge"),
            "Resize": fold("Resize", "w  s".replace("  ", " r r "), [
                big, tensor("r", [0]), tensor("w", [1], bytes(4))]),
            "Resize-linear": fold("Resize", "w r r s", [
                big, tensor("r", [0]), tensor("w", [1], bytes(4))], mode="linear"),
            "Resize-scale": fold("Resize", "w r f", [
                tensor("f", [1], floats(n)), tensor("r", [0]),
                tensor("w", [1], bytes(4))]),
            "OneHot": fold("OneHot", "i d v", [ints("i", 0), scalar("d", n),
                                               tensor("v", [2], bytes(8))]),
            "Upsample": fold("Upsample", "w f", [tensor("f", [1], floats(n)),
                                                 tensor("w", [1], bytes(4))], opset=9),
            "RandomNormal": fold("RandomNormal", "", [], shape=[n]),
            "RandomUniform": fold("RandomUniform", "", [], shape=[n]),
            "HannWindow": fold("HannWindow", "s", [scalar("s", n)]),
            "CenterCropPad": fold("CenterCropPad", "w s", [
                big, tensor("w", [1], bytes(4))]),
            "EyeLike": fold("EyeLike", "e", [big], node("Expand", "x s", "e")),
            "Reshape": fold("Reshape", "w s", [big, tensor("w", [1], bytes(4))]),
            "Gather": model(graph([node("Expand", "zero s", "i"), node(
                "Gather", "w i", "c", axis=0), node("ReduceSum", "c", "z"),
                node("Add", "x z", "y")],
                [big, scalar("zero", 0), tensor("w", [1024], bytes(4096))])),
        }
        for op, data in rows.items():
            yield refuse("grow-%s-%d" % (op, n), data)
    yield from chains()


def chain(step, count, inits, first="w"):
    """`count` nodes step(previous, result), the last one used."""
    nodes, now = [], first
    for i in range(count):
        nodes.append(step(now, "t%d" % i))
        now = "t%d" % i
    nodes += [node("ReduceSum", now, "sum", keepdims=0), node("Add", "x sum", "y")]
    return model(graph(nodes, inits))


def chains():
    w1 = tensor("w", [1024], bytes(4096))
    square = tensor("w", [512, 512], bytes(1 << 20))
    wide = [ints("wide", 1 << 20), tensor("w", [1], bytes(4))]
    rows = {
        "Concat": chain(lambda a, b: node("Concat", a + " " + a, b, axis=0), 64, [w1]),
        "Concat-wide": chain(lambda a, b: node("Concat", (a + " ") * 1000, b, axis=0),
                             5, [w1]),
        "Tile": chain(lambda a, b: node("Tile", a + " two", b), 64, [w1, ints("two", 2)]),
        "Pad": chain(lambda a, b: node("Pad", a + " p", b), 4000, [w1, ints("p", 1024, 1024)]),
        "Resize": chain(lambda a, b: node("Resize", a + " r f", b), 64, [
            w1, tensor("r", [0]), tensor("f", [1], floats(2))]),
        "MatMul": chain(lambda a, b: node("MatMul", a + " w", b), 1000, [square]),
        "Gemm": chain(lambda a, b: node("Gemm", a + " w", b, transB=1), 1000, [square]),
        "Einsum": chain(lambda a, b: node("Einsum", a + " w", b, equation="ij,jk->ik"),
                        1000, [square]),
        "ReduceSum": model(graph(
            [node("Expand", "w wide", "big")] +
            [node("ReduceSum", "big", "r%d" % i) for i in range(2000)] +
            [node("Add", "x r1999", "y")], wide)),
        "Range": model(graph(
            [node("Range", "a b d", "r%d" % i) for i in range(2000)] +
            [node("Neg", "x", "y")],
            [scalar("a", 0), scalar("b", 1 << 20), scalar("d", 1)])),
        "ConstantOfShape": model(graph(
            [node("ConstantOfShape", "wide", "r%d" % i) for i in range(2000)] +
            [node("Neg", "x", "y")], wide)),
        "NonZero": model(graph(
            [node("ConstantOfShape", "wide", "big")] +
            [node("NonZero", "big", "r%d" % i) for i in range(2000)] +
            [node("Neg", "x", "y")], wide)),
        "CumSum": model(graph(
            [node("ConstantOfShape", "wide", "big"), node("CumSum", "big zero", "c"),
             node("Neg", "x", "y")], wide + [scalar("zero", 0)])),
        "Trilu": model(graph(
            [node("ConstantOfShape", "s", "big")] +
            [node("Trilu", "big", "r%d" % i) for i in range(500)] +
            [node("Neg", "x", "y")], [ints("s", 1024, 1024)])),
        "Outer": model(graph(
            [node("ConstantOfShape", "a", "l"), node("ConstantOfShape", "b", "r"),
             node("Add", "l r", "o"), node("Neg", "x", "y")],
            [ints("a", 1 << 20, 1), ints("b", 1, 1 << 20)])),
        "Where": model(graph(
            [node("ConstantOfShape", "a", "l"), node("ConstantOfShape", "b", "r"),
             node("Where", "c l r", "o"), node("Neg", "x", "y")],
            [ints("a", 1 << 20, 1), ints("b", 1, 1 << 20),
             tensor("c", [], b"\1", BOOL)])),
        "Conv": model(graph(
            [node("ConstantOfShape", "a", "l"), node("ConstantOfShape", "b", "r"),
             node("Conv", "l r", "o"), node("Neg", "x", "y")],
            [ints("a", 1, 64, 256, 256), ints("b", 64, 64, 31, 31)])),
        "Attention": model(graph(
            [node("ConstantOfShape", "a", "q"), node("Attention", "q q q", "o",
             q_num_heads=1, kv_num_heads=1), node("Neg", "x", "y")],
            [ints("a", 1, 16384, 64)]), 23),
        "Softmax": chain(lambda a, b: node("Softmax", a, b), 2000, [square]),
        "LayerNorm": chain(lambda a, b: node("LayerNormalization", a + " g", b), 2000,
                           [square, tensor("g", [512], bytes(2048))]),
        "Erf": chain(lambda a, b: node("Erf", a, b), 2000, [square]),
        "Pow": chain(lambda a, b: node("Pow", a + " p", b), 2000, [
            square, tensor("p", [1], floats(1.7))]),
        "Transpose": chain(lambda a, b: node("Transpose", a, b), 4000, [square]),
        "Gather": chain(lambda a, b: node("Gather", a + " i", b), 4000, [
            square, ints("i", *range(512))]),
        "Slice": chain(lambda a, b: node("Slice", a + " i i8 i i2", b), 4000, [
            square, ints("i", 0), ints("i2", 1), ints("i8", 512)]),
        "Cast": chain(lambda a, b: node("Cast", a, b, to=1 + 5 * (b[-1] in "02468")),
                      4000, [square]),
        "ScatterND": chain(lambda a, b: node("ScatterND", a + " i u", b), 4000, [
            square, tensor("i", [1, 1], int64s(0), INT64), tensor("u", [1, 512], bytes(2048))]),
        "TopK": one("TopK", "x k", [ints("k", 1 << 40)]),
    }
    for op, data in rows.items():
        whole = op == "Slice"  # a slice of everything is its operand
        yield Case("chain-" + op, data, EITHER if whole else REFUSE, "")


# ---- functions ---------------------------------------------------------------

def functions():
    def call(i, a, b):
        return node("F%d" % i, a, b, domain="f")
    main = graph([call(0, "x", "y")])
    o = [("", 18)]
    yield refuse("function-recursive", model(main, 18, [
        function("F0", "a", "b", [call(0, "a", "b")])]), "nested more")
    yield refuse("function-mutual", model(main, 18, [
        function("F0", "a", "b", [call(1, "a", "b")]),
        function("F1", "a", "b", [call(0, "a", "b")])]), "nested more")
    yield refuse("function-named-as-operator", model(
        graph([node("Neg", "x", "y")]), 18,
        [function("Neg", "a", "b", [node("Neg", "a", "b")], domain="")]), "nested more")
    for fan in (2, 3, 16):
        depth = {2: 22, 3: 20, 16: 12}[fan]
        body = [function("F%d" % i, "a", "b%d" % (fan - 1),
                         [call(i + 1, "a" if k == 0 else "b%d" % (k - 1), "b%d" % k)
                          for k in range(fan)], opsets=o) for i in range(depth)]
        for op in ("Identity", "Neg"):
            last = function("F%d" % depth, "a", "b", [node(op, "a", "b")], opsets=o)
            yield refuse("function-exponential-%d-%s" % (fan, op),
                         model(main, 18, body + [last]), "steps")
    yield refuse("function-exponential-recursive", model(main, 18, [
        function("F0", "a", "c", [call(0, "a", "b"), call(0, "b", "c")])]), "nested")
    rows = {"empty": function("F0", "a", "b", []),
            "capture": function("F0", "a", "b", [node("Neg", "x", "b")], opsets=o),
            "twice": function("F0", "a", "b", [node("Neg", "a", "b")] * 2, opsets=o),
            "twice-operand": function("F0", "a a", "b", [node("Neg", "a", "b")], opsets=o),
            "no-operand": function("F0", "", "b", [node("Neg", "a", "b")], opsets=o),
            "no-result": function("F0", "a", "", [node("Neg", "a", "b")], opsets=o)}
    for name, f in rows.items():
        data = graph([node("F0", "x x" if name == "twice-operand" else "x", "y",
                           domain="f")])
        yield refuse("function-" + name, model(data, 18, [f]))
    ref = node("Softmax", "a", "b") + blob(5, blob(1, "axis") + blob(21, "axis") + num(20, 2))
    loop = call(1, "a", "b") + blob(5, blob(1, "axis") + blob(21, "axis") + num(20, 2))
    f0 = function("F0", "a", "b", [loop], opsets=o) + blob(6, "axis")
    f1 = function("F1", "a", "b", [ref], opsets=o) + blob(6, "axis")
    at = blob(5, blob(1, "axis") + blob(21, "axis") + num(20, 2))
    yield either("function-attribute-reference", model(main, 18, [f0, f1]))
    yield either("function-attribute-reference-outside", model(
        graph([node("Softmax", "x", "y") + at])))

    def branch(g):
        return graph([node("If", "c", "b", then_branch=(g,))], inputs=[],
                     outputs=[blob(1, "b")])
    g = graph([node("Neg", "x", "b")], inputs=[], outputs=[blob(1, "b")])
    for _ in range(12):
        g = branch(g)
    yield either("branches", model(graph(
        [node("If", "c", "y", then_branch=(g,))], [tensor("c", [], b"\1", BOOL)])))
