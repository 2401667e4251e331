"""Exports full-size DeiT and Swin models with random weights, and checks them.

usage: make_models.py FOLDER [--match=REGEX] [--list]
       make_models.py FOLDER --check --vitqc VITQC [--match=REGEX] [-- OPTION...]

The first form writes FOLDER/NAME.onnx with NAME.in.npy and NAME.out.npy
(PyTorch's output); a model that is already there is left alone. FOLDER should
lie outside the repository: all models together take about 1.2 GB. The second
form compiles each model of the folder at -O1 (and with more options of vitqc,
as --require-fused), compares its output with ONNX Runtime's and prints medians
of interleaved runs on one thread as ratios.

Needs PyPI's torch (CPU is enough) with timm or torchvision; the check needs
onnxruntime. Nothing here is a test: the models only feed measurements.
"""
import argparse
import ctypes
import importlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

TOLERANCE = 1e-4
ROUNDS = 15

# name: package, constructor and its arguments
MODELS = {
    "deit_t": ("timm", "deit_tiny_patch16_224"),
    "deit_s": ("timm", "deit_small_patch16_224"),
    "deit_b": ("timm", "deit_base_patch16_224"),
    "swin_t_timm": ("timm", "swin_tiny_patch4_window7_224"),
    "swin_s_timm": ("timm", "swin_small_patch4_window7_224"),
    "swin_b_timm": ("timm", "swin_base_patch4_window7_224"),
    "swin_t_tv": ("torchvision", "swin_t"),
    "swin_s_tv": ("torchvision", "swin_s"),
    "swin_b_tv": ("torchvision", "swin_b"),
}


def build(package, name):
    if package == "timm":
        return importlib.import_module("timm").create_model(name, pretrained=False)
    models = importlib.import_module("torchvision.models")
    return getattr(models, name)(weights=None)


def randomize(torch, model):
    """Weights of a spread at which the output depends on every block."""
    for name, p in model.named_parameters():
        if p.ndim > 1:
            p.normal_(0, p[0].numel() ** -0.5)
        elif "bias" in name:
            p.normal_(0, 0.02)


def export(folder, name):
    import torch
    path = os.path.join(folder, name + ".onnx")
    if os.path.exists(path):
        print(f"{name}: there already")
        return True
    torch.manual_seed(1)
    try:
        model = build(*MODELS[name]).eval()
    except ImportError as e:
        print(f"{name}: SKIPPED: {e}")
        return False
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        randomize(torch, model)
        y = model(x)
    part = path + ".part"
    torch.onnx.export(model, (x,), part, dynamo=False, opset_version=17,
                      input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    np.save(path[:-5] + ".in.npy", x.numpy())
    np.save(path[:-5] + ".out.npy", y.numpy())
    os.rename(part, path)
    print(f"{name}: {os.path.getsize(path) >> 20} MiB")
    return True


class Compiled:
    """A .so of vitqc through its <symbol>_run function."""

    def __init__(self, path, symbol):
        library = ctypes.CDLL(path)
        size = getattr(library, symbol + "_workspace")
        size.restype = ctypes.c_int64
        self.workspace = np.zeros(size() + 64, np.uint8)
        self.entry = getattr(library, symbol + "_run")

    def run(self, x, y):
        pointer = ctypes.c_void_p
        inputs = (pointer * 1)(x.ctypes.data)
        outputs = (pointer * 1)(y.ctypes.data)
        work = (self.workspace.ctypes.data + 63) & -64
        status = self.entry(ctypes.c_int64(len(x)), inputs, outputs, pointer(work))
        if status:
            raise RuntimeError(f"the compiled model failed with status {status}")


def median_pair(a, b):
    """Medians of two functions that take turns."""
    times = ([], [])
    for _ in range(ROUNDS):
        for list_, f in zip(times, (a, b)):
            start = time.perf_counter()
            f()
            list_.append(time.perf_counter() - start)
    return [statistics.median(t) for t in times]


def check(folder, name, command, scratch):
    import onnxruntime
    path = os.path.join(folder, name + ".onnx")
    so = os.path.join(scratch, name + ".so")
    start = time.perf_counter()
    built = subprocess.run([*command, path, "-O1", "--batch=1", "-q", "-o", so])
    if built.returncode:
        return False
    seconds = time.perf_counter() - start
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options,
                                           providers=["CPUExecutionProvider"])
    x = np.load(path[:-5] + ".in.npy")
    want = session.run(None, {"image": x})[0]
    got = np.zeros_like(want)
    model = Compiled(so, name)
    model.run(x, got)
    error = float(np.abs(got - want).max() / np.abs(want).max())
    ours, theirs = median_pair(lambda: model.run(x, got),
                               lambda: session.run(None, {"image": x}))
    good = error <= TOLERANCE
    print(f"{name}: error {error:.1e}{'' if good else ' TOO LARGE'}, compiled in"
          f" {seconds:.1f} s, {ours * 1e3:.1f} ms, onnxruntime"
          f" {onnxruntime.__version__} {theirs * 1e3:.1f} ms,"
          f" ratio {theirs / ours:.2f}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--match", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--vitqc")
    # What stands behind "--" is vitqc's; argparse would want it beside FOLDER.
    own = sys.argv[1:]
    at = own.index("--") if "--" in own else len(own)
    options = own[at + 1:]
    arguments = parser.parse_args(own[:at])
    names = [n for n in MODELS if re.search(arguments.match, n)]
    if arguments.list:
        print("\n".join(names))
        return 0
    os.makedirs(arguments.folder, exist_ok=True)
    if not arguments.check:
        return not all([export(arguments.folder, n) for n in names])
    if not arguments.vitqc:
        parser.error("--check needs --vitqc")
    there = [n for n in names
             if os.path.exists(os.path.join(arguments.folder, n + ".onnx"))]
    with tempfile.TemporaryDirectory() as scratch:
        return not all([check(arguments.folder, n,
                              [arguments.vitqc, *options], scratch)
                        for n in there])


if __name__ == "__main__":
    sys.exit(main())
