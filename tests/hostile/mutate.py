"""Broken variants of a right model: cut, flipped, with wrong lengths, with
fields doubled, dropped and moved. The same seed gives the same files."""
import random

from wire import varint

# Which length-delimited fields are messages of which kind, in ONNX's schema.
NESTED = {
    "model": {7: "graph", 8: "leaf", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "info", 12: "info"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "tensor": {13: "leaf"},
    "info": {2: "type"},
    "type": {1: "tensor_type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "leaf"},
    "function": {7: "node", 9: "leaf"},
}
LENGTHS = [0, 1, 127, 128, 1 << 14, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
           1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def read_varint(b, at):
    v = shift = 0
    while True:
        v |= (b[at] & 127) << shift
        at += 1
        if b[at - 1] < 128:
            return v, at
        shift += 7


def fields(b, begin=0, end=None, kind="model"):
    """Yields (tag, length, body, end) offsets of every field; numbers have
    `length` None."""
    end = len(b) if end is None else end
    at = begin
    while at < end:
        tag = at
        key, at = read_varint(b, at)
        if key & 7 == 2:
            length = at
            n, body = read_varint(b, at)
            at = body + n
            yield tag, length, body, at
            inner = NESTED.get(kind, {}).get(key >> 3)
            if inner:
                yield from fields(b, body, at, inner)
        else:
            body = at
            at = read_varint(b, at)[1] if key & 7 == 0 else at + 4
            yield tag, None, body, at


def cuts(b, n_field, rng):
    yield from (("cut%02d" % i, b[:len(b) * i // 64]) for i in range(64))
    found = list(fields(b))
    for i, f in enumerate(rng.sample(found, min(n_field, len(found)))):
        at = rng.choice([f[0], f[0] + 1, f[2], f[3] - 1])
        yield "end%03d" % i, b[:at]


def lengths(b, n, rng):
    found = [f for f in fields(b) if f[1] is not None]
    for i, (_, length, body, end) in enumerate(rng.choices(found, k=n)):
        right = end - body
        wrong = rng.choice(LENGTHS + [right - 1, right + 1, right * 2,
                                      len(b) - body, len(b) - body + 1])
        new = varint(wrong) if rng.random() < 0.9 else b"\xff" * 10 + b"\1"
        yield "len%03d" % i, b[:length] + new + b[body:]


def flips(b, n, rng):
    """Bits of what is not weights: those are only data."""
    places = [at for tag, _, body, end in fields(b)
              for at in range(tag, body if end - body > 64 else end)]
    for i in range(n):
        out = bytearray(b)
        for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
            out[rng.choice(places)] ^= 1 << rng.randrange(8)
        yield "bit%03d" % i, bytes(out)


def moves(b, n, rng):
    """A field doubled, dropped, or put elsewhere; outer lengths stay wrong."""
    found = list(fields(b))
    for i in range(n):
        tag, _, _, end = rng.choice(found)
        to = rng.choice(found)[0]
        piece = b[tag:end]
        out = [b[:end] + piece + b[end:], b[:tag] + b[end:],
               b[:to] + piece + b[to:],
               b[:tag] + rng.randbytes(end - tag) + b[end:]][i % 4]
        yield "mov%03d" % i, out


def mutants(name, b, n):
    """About 64 + 4 n variants."""
    rng = random.Random(name)
    for make in (cuts, lengths, flips, moves):
        for kind, out in make(b, n, rng):
            yield "%s-%s" % (name, kind), out
