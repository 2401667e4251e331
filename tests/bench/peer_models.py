"""The deployed forms of a model that other tools make: what peers.py times.

usage: peer_models.py MODEL.onnx FOLDER [--calib=FOLDER|noise] [--samples=N]

Makes, unless FOLDER has it already, each of these from NAME.onnx:

  NAME.ort-int8-dynamic.onnx  ONNX Runtime, quantize_dynamic, per channel
  NAME.ort-int8-static.onnx   ONNX Runtime, quantize_static, matrix products only
  NAME.ort-int8-all.onnx      ONNX Runtime, quantize_static, its defaults
  NAME.ov-int8.xml, .bin      NNCF, transformer preset (which mixes symmetric
                              weights with asymmetric activations)
  NAME.ov-int8-plain.xml      NNCF, its defaults

The two "defaults" lose the accuracy of a ViT altogether; they are here because
they might be faster. Speed does not depend on the samples: noise is good enough
to time with, pictures (.npy of float32 samples) are needed to measure accuracy.
Needs PyPI's onnx, onnxruntime, openvino and nncf.
"""
import argparse
import os
import sys

import numpy as np


def samples_of(calib, count, shape):
    if calib == "noise":
        random = np.random.default_rng(1)
        return [random.standard_normal((1, *shape)).astype("float32")
                for _ in range(count)]
    every = np.load(calib, mmap_mode="r")
    return [np.array(every[k:k + 1], dtype="float32")
            for k in np.linspace(0, len(every) - 1, count).astype(int)]


class Feed:
    """Samples as ONNX Runtime's calibration reads them."""

    def __init__(self, name, samples):
        self.left = iter([{name: x} for x in samples])

    def get_next(self):
        return next(self.left, None)


# ---- ONNX Runtime --------------------------------------------------------------

def prepared(model, folder):
    """Shapes inferred and graph optimised, as its documentation advises."""
    from onnxruntime.quantization.shape_inference import quant_pre_process
    out = os.path.join(folder, "prepared.onnx")
    quant_pre_process(model, out, skip_symbolic_shape=True)
    return out


def input_name(model):
    import onnx
    return onnx.load(model, load_external_data=False).graph.input[0].name


def ort_dynamic(model, samples, out):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(prepared(model, os.path.dirname(out)), out,
                     per_channel=True, weight_type=QuantType.QInt8)


def ort_static(ops):
    def make(model, samples, out):
        from onnxruntime.quantization import QuantType, quantize_static
        quantize_static(prepared(model, os.path.dirname(out)), out,
                        Feed(input_name(model), samples), per_channel=True,
                        op_types_to_quantize=ops,
                        activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)
    return make


# ---- OpenVINO ------------------------------------------------------------------

def nncf_int8(transformer):
    def make(model, samples, out):
        import nncf
        import openvino
        kind = nncf.ModelType.TRANSFORMER if transformer else None
        quantized = nncf.quantize(openvino.Core().read_model(model),
                                  nncf.Dataset(samples), model_type=kind,
                                  subset_size=len(samples))
        openvino.save_model(quantized, out, compress_to_fp16=False)
    return make


FORMS = {
    "ort-int8-dynamic": (".onnx", ort_dynamic),
    "ort-int8-static": (".onnx", ort_static(["MatMul", "Gemm", "Conv"])),
    "ort-int8-all": (".onnx", ort_static(None)),
    "ov-int8": (".xml", nncf_int8(True)),
    "ov-int8-plain": (".xml", nncf_int8(False)),
}


def path_of(model, folder, form):
    name = os.path.splitext(os.path.basename(model))[0]
    return os.path.join(folder, f"{name}.{form}{FORMS[form][0]}")


def size_of(path):
    """Bytes to deploy: OpenVINO's weights lie beside the network."""
    weights = path[:-len("xml")] + "bin" if path.endswith(".xml") else None
    return os.path.getsize(path) + (os.path.getsize(weights) if weights else 0)


def build(model, folder, form, samples):
    out = path_of(model, folder, form)
    if os.path.exists(out):
        return out
    try:
        FORMS[form][1](model, samples, out)
    except ImportError as e:
        print(f"SKIPPED: {form}: {e}", flush=True)
        return None
    print(f"{out}: {size_of(out) / 1e6:.1f} MB", flush=True)
    return out


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--calib", default="noise")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--shape", default="3x224x224")
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    shape = tuple(int(n) for n in arguments.shape.split("x"))
    samples = samples_of(arguments.calib, arguments.samples, shape)
    made = [build(arguments.model, arguments.folder, form, samples)
            for form in FORMS]
    return 0 if any(made) else 1


if __name__ == "__main__":
    sys.exit(main())
