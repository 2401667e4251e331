"""Writes ONNX models byte by byte, right or wrong. Needs no onnx package."""
import struct

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL = 1, 2, 3, 6, 7, 8, 9


ONE_BYTE = [bytes([i]) for i in range(128)]


def varint(v):
    if 0 <= v < 128:
        return ONE_BYTE[v]
    v &= (1 << 64) - 1
    out = bytearray()
    while v > 127:
        out.append(v & 127 | 128)
        v >>= 7
    out.append(v)
    return bytes(out)


def num(field, v):
    return varint(field << 3) + varint(v)


def blob(field, v):
    v = v.encode() if isinstance(v, str) else v
    return varint(field << 3 | 2) + varint(len(v)) + v


def f32(field, v):
    return varint(field << 3 | 5) + struct.pack("<f", v)


def floats(*v):
    return struct.pack("<%df" % len(v), *v)


def int64s(*v):
    return struct.pack("<%dq" % len(v), *v)


def tensor(name, dims, raw=b"", dtype=FLOAT, extra=b""):
    t = b"".join([num(1, d) for d in dims]) + num(2, dtype) + blob(8, name)
    return t + (b"" if raw is None else blob(9, raw)) + extra


def ints(name, *v):
    """A one-dimensional int64 tensor."""
    return tensor(name, [len(v)], int64s(*v), INT64)


def scalar(name, v):
    return tensor(name, [], int64s(v), INT64)


def external(name, dims, dtype=FLOAT, **entries):
    """A tensor whose data are elsewhere; entries are written in order."""
    extra = b"".join(blob(13, blob(1, k) + blob(2, str(v)))
                     for k, v in entries.items())
    return tensor(name, dims, None, dtype, extra + num(14, 1))


def value(name, dims=(2, 3), dtype=FLOAT):
    shape = b"".join(blob(1, num(1, d) if isinstance(d, int) else blob(2, d))
                     for d in dims)
    return blob(1, name) + blob(2, blob(1, num(1, dtype) + blob(2, shape)))


def attr(name, v):
    """An attribute; bytes are a tensor, a tuple holds a graph."""
    a = blob(1, name)
    if isinstance(v, bool) or isinstance(v, int):
        return a + num(3, v) + num(20, 2)
    if isinstance(v, float):
        return a + f32(2, v) + num(20, 1)
    if isinstance(v, str):
        return a + blob(4, v) + num(20, 3)
    if isinstance(v, bytes):
        return a + blob(5, v) + num(20, 4)
    if isinstance(v, tuple):
        return a + blob(6, v[0]) + num(20, 5)
    return a + b"".join(num(8, i) for i in v) + num(20, 7)


def node(op, ins, outs, name="", domain="", **attrs):
    n = b"".join(blob(1, i) for i in ins.split())
    n += b"".join(blob(2, o) for o in outs.split())
    n += (blob(3, name) if name else b"") + blob(4, op)
    n += b"".join(blob(5, attr(k, v)) for k, v in attrs.items())
    return n + (blob(7, domain) if domain else b"")


def graph(nodes, inits=(), inputs=None, outputs=None, extra=b""):
    inputs = [value("x")] if inputs is None else inputs
    outputs = [blob(1, "y")] if outputs is None else outputs
    return (b"".join(blob(1, n) for n in nodes) + blob(2, "g") +
            b"".join(blob(5, t) for t in inits) +
            b"".join(blob(11, i) for i in inputs) +
            b"".join(blob(12, o) for o in outputs) + extra)


def function(name, ins, outs, nodes, domain="f", opsets=()):
    return (blob(1, name) + b"".join(blob(4, i) for i in ins.split()) +
            b"".join(blob(5, o) for o in outs.split()) +
            b"".join(blob(7, n) for n in nodes) +
            b"".join(blob(9, blob(1, d) + num(2, v)) for d, v in opsets) +
            blob(10, domain))


def model(g, opset=18, functions=(), extra=b""):
    m = num(1, 8) + blob(2, "hostile") + blob(7, g)
    m += blob(8, blob(1, "") + num(2, opset))
    if functions:
        m += blob(8, blob(1, "f") + num(2, 1))
    return m + b"".join(blob(25, f) for f in functions) + extra


def nested(core, depth, wrap):
    """wrap(size) gives the bytes before a body of `size`; `depth` times."""
    parts, size = [core], len(core)
    for _ in range(depth):
        head = wrap(size)
        parts.append(head)
        size += len(head)
    return b"".join(reversed(parts))
