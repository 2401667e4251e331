"""Writes the arrays and pictures of the driver tests; needs no packages.

usage: make.py FOLDER
"""
import struct
import sys
import zlib


def npy(path, descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)))
        f.write(header.encode() + data)


def png(path, width, height, rows):
    def chunk(kind, data):
        body = kind + data
        return (struct.pack(">I", len(data)) + body +
                struct.pack(">I", zlib.crc32(body)))
    raw = b"".join(b"\0" + row for row in rows)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        f.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def pixels(n):
    return bytes(i * 37 % 256 for i in range(n))


def main(folder):
    floats = struct.pack("<32f", *[(i % 7 - 3) / 3 for i in range(32)])
    npy(folder + "/floats.npy", "<f4", (2, 1, 4, 4), floats)
    npy(folder + "/shape.npy", "<f4", (2, 1, 4, 5), floats * 2)
    npy(folder + "/pixels.npy", "|u1", (3, 4, 4), pixels(48))
    npy(folder + "/big.npy", "|u1", (1, 5, 5), pixels(25))
    npy(folder + "/channels.npy", "|u1", (1, 4, 4, 2), pixels(32))
    npy(folder + "/colors.npy", "<f4", (2, 3, 4, 4), floats * 3)
    npy(folder + "/labels.npy", "<i8", (3,), struct.pack("<3q", 0, 1, 2))
    png(folder + "/pictures/a.png", 4, 4, [pixels(4)] * 4)
    png(folder + "/large.png", 5, 5, [pixels(5)] * 5)


main(sys.argv[1])
