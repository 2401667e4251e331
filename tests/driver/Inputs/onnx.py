"""Writes tiny ONNX models, byte by byte: y = OPERATOR(x), x and y f32[n, 3].

usage: onnx.py FILE OPERATOR
"""
import sys


def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3, value])
    if isinstance(value, str):
        value = value.encode()
    return bytes([number << 3 | 2, len(value)]) + value


def value(name):
    shape = field(1, field(2, "n")) + field(1, field(1, 3))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def main(path, operator):
    node = (field(1, "x") + field(2, "y") + field(3, "the_node") +
            field(4, operator))
    graph = (field(1, node) + field(2, "g") + field(11, value("x")) +
             field(12, value("y")))
    with open(path, "wb") as f:
        f.write(field(1, 8) + field(8, field(2, 17)) + field(7, graph))


main(sys.argv[1], sys.argv[2])
