"""External data that leads elsewhere, and the published holes of ONNX readers.

Names of files are those that `lay_out` puts beside the models."""
import os

from cases import accept, one, refuse
from wire import *  # noqa: F403

SIZE = 4096


def lay_out(folder):
    """The neighbourhood of the models: data, links, pipes and worse."""
    def at(name):
        return os.path.join(folder, name)
    for d in ("sub", "sub/deep"):
        os.mkdir(at(d))
    for f in ("w.bin", "sub/w.bin", "sub/deep/w.bin", "../outside.bin"):
        with open(at(f), "wb") as out:
            out.write(bytes(SIZE))
    open(at("empty.bin"), "wb").close()
    for name, target in {
            "link.bin": "w.bin", "chain1.bin": "chain2.bin", "chain2.bin": "link.bin",
            "round1.bin": "round2.bin", "round2.bin": "round1.bin", "up": "..",
            "sub/up": "../..", "away.bin": "../outside.bin", "linked": "sub",
            "passwd": "/etc/passwd", "null": "/dev/null", "zero": "/dev/zero",
            "nowhere": "absent"}.items():
        os.symlink(target, at(name))
    os.link(at("w.bin"), at("hard.bin"))
    os.mkfifo(at("fifo"))
    with open(at("sparse.bin"), "wb") as out:
        out.truncate(1 << 36)


def add(tensor):
    return one("Add", "x w", [tensor])


def data(location, offset=None, length=None, **more):
    entries = {"location": location}
    if offset is not None:
        entries["offset"] = offset
    if length is not None:
        entries["length"] = length
    return add(external("w", [3], **entries, **more))


def external_data():
    for name in ("w.bin", "hard.bin", "sub/w.bin", "sub/deep/w.bin"):
        yield accept("external-" + name.replace("/", "-"), data(name, 4, 12))
    yield accept("external-basepath", data("w.bin", 0, 12, basepath="/etc"))
    yield accept("external-checksum", data("w.bin", 0, 12, checksum="0" * 40))
    leads = {"dotdot": "../outside.bin", "dotdot-inside": "sub/../w.bin",
             "dotdot-deep": "sub/deep/../../../outside.bin", "dotdot-end": "sub/..",
             "dot": "./w.bin", "dot-end": "w.bin/.", "slashes": "sub//w.bin",
             "slash-end": "w.bin/", "absolute": "/etc/passwd", "absolute-twice":
             "//etc/passwd", "backslash": "sub\\w.bin", "backslash-up":
             "..\\outside.bin", "drive": "C:\\w.bin", "empty": "", "blank": " ",
             "long": "a" * 5000, "long-part": "a" * 300, "many-parts": "a/" * 500 + "a",
             "url": "http://localhost/w.bin", "file-url": "file:///etc/passwd",
             "tilde": "~/w.bin", "variable": "$HOME/w.bin", "dev-fd": "/dev/fd/0",
             "proc": "/proc/self/mem", "model-itself-below": "m.onnx/w.bin"}
    for name, location in leads.items():
        yield refuse("external-lead-" + name, data(location, 0, 12), "external data")
    for name in ("link.bin", "chain1.bin", "round1.bin", "away.bin", "linked/w.bin",
                 "up/outside.bin", "sub/up/outside.bin", "passwd", "null", "zero",
                 "nowhere"):
        yield refuse("external-link-" + name.replace("/", "-"), data(name, 0, 12),
                     "symbolic link")
    for name in ("fifo", "sub", "empty.bin", "absent.bin", "sparse.bin"):
        yield refuse("external-kind-" + name, data(name, 0, 12), "external data")
    yield from ranges()


def ranges():
    wrong = ["-1", "+1", "", " 0", "0 ", "0x10", "1e3", "4.0", "one", "00", "0" * 100,
             str(SIZE), str(SIZE - 11), str(1 << 31), str(1 << 32), str((1 << 63) - 12),
             str((1 << 63) - 1), str(1 << 63), str((1 << 64) - 12), str(1 << 64),
             "9" * 400, "\u0661"]
    for i, v in enumerate(wrong):
        if v not in ("00", "0" * 100):
            yield refuse("external-offset-%d" % i, data("w.bin", v, 12), "external data")
        yield refuse("external-length-%d" % i, data("w.bin", 0, v), "external data")
    for i, dims in enumerate(([1 << 40], [1 << 20, 1 << 19], [1 << 31], [1025], [1 << 10, 2])):
        t = external("w", dims, location="w.bin")
        yield refuse("external-shape-%d" % i, add(t), "external data needs|tensor 'w'")
        t = external("w", dims, location="sparse.bin")
        yield refuse("external-sparse-%d" % i, add(t), "sparse|tensor 'w'")
    twice = external("w", [3], location="w.bin") + blob(
        13, blob(1, "location") + blob(2, "../outside.bin"))
    yield refuse("external-location-twice", add(twice), "twice")
    for key in ("Location", "offset ", "path", "__class__", "name", "url", ""):
        t = external("w", [3], location="w.bin") + blob(13, blob(1, key) + blob(2, "1"))
        yield refuse("external-key-%s" % (key.strip("_ ") or "empty"), add(t), "key")
    yield refuse("external-no-location", add(external("w", [3], offset=0)), "location")
    yield refuse("external-and-raw", add(tensor("w", [3], None, FLOAT, num(14, 1))),
                 "location")


def published():
    """One file for each published hole that a reader of ONNX can have. Not here,
    because they are no readers': CVE-2024-5187 (unpacking of test archives),
    CVE-2025-51480 (writing of external data), CVE-2026-28500 (silent downloads)."""
    yield refuse("CVE-2022-25882", data("../../../../../../etc/passwd", 0, 12), "leaves")
    yield refuse("CVE-2024-27318", data("sub/../../outside.bin", 0, 12), "leaves")
    # A shape that needs more than the raw data hold.
    yield refuse("CVE-2024-27319", add(tensor("w", [1 << 16], bytes(16))), "raw bytes")
    yield refuse("CVE-2026-27489", data("away.bin", 0, 12), "symbolic link")
    yield refuse("CVE-2026-27489-folder", data("up/outside.bin", 0, 12), "symbolic link")
    # Keys become attributes of the reader's object; a length without a file.
    yield refuse("CVE-2026-34445", data("w.bin", 0, 12, __class__="x"), "key")
    yield refuse("CVE-2026-34445-length", data("w.bin", 0, str(1 << 50)), "length")
    yield refuse("CVE-2026-34445-offset", data("w.bin", str(1 << 50), 12), "needs")
    # protobuf-c: counts of packed fields, tags that shift a negative number.
    graph_with = one("Add", "x w", [tensor("w", [3], None, FLOAT,
                                           blob(4, floats(1, 2, 3))[:-12] + b"\xff\xff")])
    yield refuse("CVE-2022-48468", graph_with)
    long_count = varint(7 << 3 | 2) + varint((1 << 64) - 1)
    yield refuse("CVE-2022-48468-length", one("Neg", "x") + long_count, "length")
    yield refuse("CVE-2022-33070", num(1, 8) + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
    yield refuse("CVE-2022-33070-tag", one("Neg", "x") + b"\x80\x80\x80\x80\x80\x01", "tag")
    # OpenVINO: offset + length wraps round.
    yield refuse("offset-plus-length-wraps", data(
        "w.bin", str((1 << 64) - 8), 12), "offset")
