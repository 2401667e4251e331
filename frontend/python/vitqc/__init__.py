"""vitqc from Python: compile vision transformers, run them on NumPy arrays, read reports.

    import vitqc
    so = vitqc.compile("model.onnx", level=1, batch=8)   # bytes; or output="model.so"
    model = vitqc.Model(so)                              # bytes, or a path
    logits = model(pixels)                               # [N, 3, 224, 224] -> [N, 1000]

Compiling needs libvitqc, running needs libvitq and NumPy. Each is looked for when it is
first used, so a machine that only runs models needs no compiler.
"""
from ._libraries import LibraryError
from .compiler import (CompileError, Diagnostic, Interrupted, VitqcWarning, command,
                       compile, version)
from .model import Model, ModelError, Preprocess, Tensor
from .report import Report, read_report

__all__ = ["CompileError", "Diagnostic", "Interrupted", "LibraryError", "Model",
           "ModelError", "Preprocess", "Report", "Tensor", "VitqcWarning", "command",
           "compile", "read_report", "version"]
