"""Writes tiny ONNX models, byte by byte: y = OPERATOR(x), x and y f32[n, 3].

usage: onnx.py FILE OPERATOR [OPSET] [--metadata] [--symbols]

With --metadata everything carries what exporters leave: documentation, stack
traces, properties, a producer, all with the word "secret". With --symbols both
dimensions of x have only names.
"""
import sys


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def secrets(doc, props):
    """doc_string and metadata_props, which have other numbers in each message."""
    if "--metadata" not in sys.argv:
        return b""
    trace = 'File "/srv/secret/site-packages/model.py", line 7, in forward'
    return field(doc, trace) + field(props, field(1, "secret") + field(2, trace))


def value(name, dims):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d))
                     for d in dims)
    return (field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))) +
            secrets(3, 4))


def main(path, operator, opset=17):
    node = (field(1, "x") + field(2, "y") + field(3, "the_node") +
            field(4, operator) + secrets(6, 9))
    x = ["n", "m"] if "--symbols" in sys.argv else ["n", 3]
    weight = field(1, 1) + field(2, 1) + field(8, "unused") + field(9, bytes(4))
    graph = (field(1, node) + field(2, "g") + field(5, weight + secrets(12, 16)) +
             field(11, value("x", x)) + field(12, value("y", ["n", 3])) +
             secrets(10, 16))
    model = field(1, 8) + field(8, field(2, opset)) + field(7, graph)
    if "--metadata" in sys.argv:
        model += field(2, "secret producer") + field(3, "secret version")
        model += field(4, "secret.domain")
    with open(path, "wb") as f:
        f.write(model + secrets(6, 14))


given = [a for a in sys.argv[1:] if not a.startswith("--")]
main(given[0], given[1], *(int(a) for a in given[2:]))
