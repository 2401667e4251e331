"""What the tests of the Python module share."""
import os
import subprocess
import unittest

try:
    import numpy
except ImportError:
    numpy = None

SOURCE = os.environ["VITQC_SOURCE"]
VITQC = os.environ["VITQC"]
FASHION = os.path.join(SOURCE, "tests/models/fashion/fashion_vit.onnx")
PIXELS = os.path.join(SOURCE, "tests/models/fashion/test1000.npy")
CLASSES = os.path.join(SOURCE, "tests/models/fashion/classes.txt")
TINY = os.path.join(SOURCE, "tests/driver/Inputs/tiny.vq")
SCALE = "scale=1/255 mean=.2860 std=.3530"

needs_numpy = unittest.skipUnless(numpy, "NumPy is not installed")


def small(name):
    return os.path.join(SOURCE, "tests/models/small", name)


def slurp(path):
    with open(path, "rb") as file:
        return file.read()


def run(*words):
    """What the command prints."""
    return subprocess.run([VITQC, *map(str, words)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
