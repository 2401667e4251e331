"""Running compiled models from Python, next to the command."""
import json
import os
import shutil
import threading
import unittest

import vitqc
from common import (CLASSES, FASHION, PIXELS, SCALE, TINY, needs_numpy, numpy, run, slurp,
                    small)

FASHION_OPTIONS = dict(level=1, preprocess=SCALE, labels=CLASSES)


@needs_numpy
class Fashion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        vitqc.compile(FASHION, output="fashion.so", **FASHION_OPTIONS)
        cls.model = vitqc.Model("fashion.so")
        cls.pixels = numpy.load(PIXELS)
        cls.inputs = cls.model.preprocess.normalize(cls.pixels)
        run("run", "fashion.so", PIXELS, "-o", "want.npy")
        cls.want = numpy.load("want.npy")

    def test_description(self):
        m = self.model
        self.assertEqual(m.inputs, [vitqc.Tensor("image", "float32", (1, 28, 28))])
        self.assertEqual(m.outputs, [vitqc.Tensor("logits", "float32", (10,))])
        self.assertEqual((m.name, m.batch), ("fashion_vit", 1))
        self.assertEqual(m.labels, open(CLASSES, encoding="utf-8").read().splitlines())
        self.assertIn(m.variant, m.variants)
        self.assertEqual(repr(m), "<vitqc.Model fashion_vit: image: float32[N, 1, 28, 28] -> "
                                  f"logits: float32[N, 10], {m.variant}>")

    def test_same_bits_as_the_command(self):
        self.assertEqual(self.want.shape, (1000, 10))
        for threads in (1, 2, 3):
            model = vitqc.Model("fashion.so", threads=threads)
            for n in (200, 7):
                self.assertTrue((model(self.inputs[:n]) == self.want[:n]).all())

    def test_same_accuracy_as_eval(self):
        labels = PIXELS.replace(".npy", ".labels.npy")
        run("eval", "fashion.so", f"--images={PIXELS}", f"--labels={labels}", "--json=e.json")
        with open("e.json", encoding="utf-8") as file:
            want = json.load(file)["top1"]
        right = self.model(self.inputs).argmax(axis=1) == numpy.load(labels)
        self.assertEqual(right.mean(), want)

    def test_variants(self):
        ran = []
        numpy.save("few.npy", self.pixels[:20])
        for variant in self.model.variants:
            try:
                model = vitqc.Model("fashion.so", variant=variant)
            except vitqc.ModelError as error:
                self.assertIn("this CPU cannot run", str(error))
                continue
            run("run", "fashion.so", "few.npy", "-o", "v.npy", f"--variant={variant}")
            self.assertEqual(model.variant, variant)
            self.assertTrue((model(self.inputs[:20]) == numpy.load("v.npy")).all())
            ran.append(variant)
        self.assertIn("x86-64", ran)
        with self.assertRaisesRegex(vitqc.ModelError, "no variant 'z80'"):
            vitqc.Model("fashion.so", variant="z80")

    def test_layouts_of_memory(self):
        some, want = self.inputs[:6], self.want[:6]
        for array in (some[::-1], numpy.asfortranarray(some), some[::2], some.tolist()):
            if isinstance(array, list):
                array = numpy.array(array, "float32")
            got = self.model(array)
            rows = {6: want, 3: want[::2]}[len(array)]
            rows = want[::-1] if (array[0] == some[5]).all() else rows
            self.assertTrue((got == rows).all())
        self.assertEqual(self.model(some[:0]).shape, (0, 10))

    def test_wrong_inputs(self):
        good = self.inputs[:2]
        for wrong, kind, text in (
                (good.astype("float64"), TypeError, "'image' is float64, expected float32"),
                (self.pixels[:2], TypeError, "uint8, expected float32"),
                (good.astype(">f4"), TypeError, "expected float32"),
                (good[0], ValueError, r"shape \[1, 28, 28\], expected \[N, 1, 28, 28\]"),
                (good[:, :, :27], ValueError, r"expected \[N, 1, 28, 28\]"),
                (numpy.float32(0), ValueError, r"shape \[\], expected")):
            with self.assertRaisesRegex(kind, text):
                self.model(wrong)
        for count in ((), (good, good)):
            with self.assertRaisesRegex(TypeError, "inputs were given, expected 1: image"):
                self.model(*count)
        with self.assertRaisesRegex(ValueError, r"expected \[N, H, W\]"):
            self.model.preprocess.normalize(numpy.zeros((2, 28, 28, 3)))
        for threads in (0, -1, True, 1.5, "2"):
            with self.assertRaises(ValueError):
                vitqc.Model("fashion.so", threads=threads)

    def test_shared_by_threads(self):
        model, got = vitqc.Model("fashion.so", threads=2), {}

        def work(i):
            for _ in range(3):
                got[i] = model(self.inputs[8 * i:8 * i + 8])
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(4):
            self.assertTrue((got[i] == self.want[8 * i:8 * i + 8]).all())

    def test_closing(self):
        with vitqc.Model("fashion.so") as model:
            model(self.inputs[:1])
        self.assertIn("closed", repr(model))
        with self.assertRaisesRegex(vitqc.ModelError, "fashion.so: the model is closed"):
            model(self.inputs[:1])
        model.close()


@needs_numpy
class Loading(unittest.TestCase):
    def test_not_models(self):
        with self.assertRaises(FileNotFoundError):
            vitqc.Model("/nowhere/model.so")
        with self.assertRaises(IsADirectoryError):
            vitqc.Model(os.curdir)
        for bytes_ in (b"", b"nonsense", slurp(FASHION)):
            with self.assertRaisesRegex(vitqc.ModelError, f"{len(bytes_)} bytes: "):
                vitqc.Model(bytes_)
        so = vitqc.compile(TINY, level=1)
        with self.assertRaisesRegex(vitqc.ModelError, "cut off"):
            vitqc.Model(so[:len(so) // 2])
        with self.assertRaisesRegex(vitqc.ModelError, "library.so: .*vitq_model_query"):
            shutil.copy(os.environ["VITQ_LIBRARY"], "library.so")
            vitqc.Model("library.so")

    # The loader would give the first one again.
    def test_one_name_after_the_other(self):
        x = numpy.ones((2, 1, 28, 28), "float32")
        models, results = [], []
        for batch in (1, 2):
            vitqc.compile(FASHION, level=1, cpu="x86-64", batch=batch, output="again.so")
            models += [vitqc.Model("again.so"), vitqc.Model(slurp("again.so"))]
            results += [m(x) for m in models[-2:]]
        self.assertEqual([m.batch for m in models], [1, 1, 2, 2])
        for y in results:
            self.assertTrue(numpy.allclose(y, results[0], atol=1e-4))

    def test_batches(self):
        x = numpy.random.default_rng(1).random((5, 1, 28, 28), "float32")
        one = vitqc.Model(vitqc.compile(FASHION, level=1, cpu="x86-64"))(x)
        model = vitqc.Model(vitqc.compile(FASHION, level=1, cpu="x86-64", batch=3))
        for n in (0, 1, 3, 5):
            self.assertTrue(numpy.allclose(model(x[:n]), one[:n], atol=1e-4))

    def test_integer_model(self):
        pixels = numpy.random.default_rng(2).integers(0, 256, (4, 20, 20), "uint8")
        numpy.save("pixels.npy", pixels)
        vitqc.compile(small("mixed.vq"), calib="noise", calib_size=4, output="small.so",
                      preprocess="scale=1/255")
        run("run", "small.so", "pixels.npy", "-o", "want.npy")
        model = vitqc.Model("small.so", threads=2)
        got = model(model.preprocess.normalize(pixels))
        self.assertTrue((got == numpy.load("want.npy")).all())


# Two inputs of different types, two outputs.
SEVERAL = b"""vq 1
func @main(%a: tensor<1x3,f32>, %i: tensor<1x2,i64>) -> (s: tensor<1x3,f32>, j: tensor<1x2,i64>) {
  %s = add %a, %a : tensor<1x3, f32>
  %j = add %i, %i : tensor<1x2, i64>
  return %s, %j
}
"""


@needs_numpy
class Several(unittest.TestCase):
    def test_inputs_and_outputs(self):
        model = vitqc.Model(vitqc.compile(SEVERAL, level=1))
        self.assertIsNone(model.preprocess)
        a = numpy.arange(12, dtype="float32").reshape(4, 3)
        i = numpy.arange(8).reshape(4, 2) + 2**40
        s, j = model.run(a, i)
        self.assertTrue((s == 2 * a).all() and (j == 2 * i).all())
        self.assertEqual((s.dtype, j.dtype), ("float32", "int64"))
        self.assertIsInstance(model(a, i), list)
        with self.assertRaisesRegex(ValueError, "'i' has 3 samples.*have 4"):
            model(a, i[:3])


class Reports(unittest.TestCase):
    def test_report(self):
        vitqc.compile(small("distilled.vq"), calib="noise", calib_size=4, report="r.json",
                      preprocess="scale=1/255")
        report = vitqc.read_report("r.json")
        with open("r.json", encoding="utf-8") as file:
            plain = json.load(file)
        self.assertEqual(report.sqnr_db, plain["sqnr_db"])
        self.assertEqual([layer.role for layer in report.layers],
                         [layer["role"] for layer in plain["layers"]])
        self.assertEqual(report.layers[0].weights.histogram,
                         plain["layers"][0]["weights"]["histogram"])
        worst = report.worst(3)
        losses = sorted(layer["sqnr_alone_db"] for layer in plain["layers"]
                        if layer.get("sqnr_alone_db") is not None)
        self.assertEqual([layer.sqnr_alone_db for layer in worst], losses[:3])
        self.assertEqual(repr(report), f"<vitqc.Report of {len(report.layers)} layers, "
                                       "4 samples>")

    def test_no_report(self):
        for text, why in (("{", "not JSON"), ("[]", "not a report"), ("{}", "no samples"),
                          ('{"samples": 1, "sqnr_db": 1, "layers": 3, "kernels": []}',
                           "no list of layers")):
            with open("bad.json", "w", encoding="utf-8") as file:
                file.write(text)
            with self.assertRaisesRegex(ValueError, "bad.json: " + why if why == "not JSON"
                                        else why):
                vitqc.read_report("bad.json")
