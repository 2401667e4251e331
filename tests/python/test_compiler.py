"""Compiling from Python."""
import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings

import vitqc
from common import FASHION, SOURCE, TINY, run, slurp


def compile_tiny(**keywords):
    return vitqc.compile(TINY, level=1, emit="ir", **keywords)


class Compile(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_versions(self):
        ours, llvm = vitqc.version()
        self.assertEqual(run("--version").split()[1], ours)
        self.assertTrue(llvm.startswith("19."))

    def test_same_bytes_as_the_command(self):
        out = self.folder / "command.so"
        run(FASHION, "-O1", "--batch=3", "--cpu=x86-64-v3", "-o", out)
        want = slurp(out)
        options = dict(level=1, batch=3, cpu="x86-64-v3")
        self.assertEqual(vitqc.compile(FASHION, **options), want)
        self.assertEqual(vitqc.compile(slurp(FASHION), name=FASHION, **options), want)
        again = self.folder / "again.so"
        words = ("-O1", "--batch=3", "--cpu=x86-64-v3")
        self.assertIsNone(vitqc.compile(pathlib.Path(FASHION), *words, output=again))
        self.assertEqual(slurp(again), want)

    def test_kinds_of_bytes(self):
        text = compile_tiny()
        self.assertTrue(text.startswith(b"vq 1\n"))
        for kind in (bytearray, memoryview):
            self.assertEqual(vitqc.compile(kind(text), passes="dce", emit="ir"), text)

    def test_keywords(self):
        self.assertEqual(compile_tiny(batch=None, quiet=True, stats=False), compile_tiny())
        dumps = self.folder / "dumps"
        compile_tiny(print_to=dumps, print_after=["fold", "dce"], on_output=None)
        self.assertTrue(list(dumps.iterdir()))

    def test_output_of_options(self):
        said = []
        compile_tiny(stats=True, on_output=lambda text, is_log: said.append((text, is_log)))
        self.assertTrue(said and all(is_log for _, is_log in said))
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            compile_tiny(stats=True)
        self.assertEqual(stderr.getvalue(), "".join(text for text, _ in said))

    def test_command(self):
        self.assertEqual(vitqc.command("inspect", FASHION), run("inspect", FASHION))
        with self.assertRaises(vitqc.CompileError) as caught:
            vitqc.command("diff", TINY, FASHION)
        self.assertEqual(caught.exception.result, 1)
        self.assertTrue(vitqc.command("diff", TINY, FASHION, good=(0, 1)))


class Diagnostics(unittest.TestCase):
    def fails(self, model, *options, result=1, **keywords):
        with self.assertRaises(vitqc.CompileError) as caught:
            vitqc.compile(model, *options, **keywords)
        error = caught.exception
        self.assertEqual(error.result, result)
        self.assertIs(type(error), vitqc.CompileError)
        return error

    def test_place(self):
        error = self.fails(b"vq 1\nfunc @main(%x: tensor<2xf33>) {\n", name="a/b.vq")
        self.assertEqual((error.code, error.path, error.line), ("parse", "a/b.vq", 2))
        self.assertGreater(error.column, 10)
        self.assertTrue(error.place.startswith("a/b.vq:2:"))
        self.assertIn(error.text, str(error))
        first = error.diagnostics[0]
        self.assertEqual((first.severity, first.code, first.line), ("error", "parse", 2))
        self.assertIn(first.rendered.rstrip(), str(error))

    def test_refusals(self):
        self.assertEqual(self.fails(b"nothing of ours").code, "not-onnx")
        self.assertEqual(self.fails(b"").path, "model.onnx")
        error = self.fails(TINY, "--emit=jpeg", result=2)
        self.assertEqual((error.code, error.place), ("option", "vitqc"))
        self.fails(TINY, no_such_option=1, result=2)
        self.fails(TINY, "-o", "x", result=2)
        self.fails(TINY, "other.onnx", result=2)
        self.assertIn("No such file", self.fails("/nowhere/m.onnx").text)
        for level in (7, "x"):
            self.fails(TINY, level=level, result=2)

    def test_nothing_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            self.fails(TINY, level=1, cpu="z80", output=os.path.join(folder, "x.so"))
            self.assertEqual(os.listdir(folder), [])

    def test_wrong_calls(self):
        with self.assertRaises(TypeError):
            vitqc.compile(7)
        with self.assertRaises(TypeError):
            vitqc.compile(TINY, name="x")
        with self.assertRaises(TypeError):
            vitqc.compile(TINY, 7)
        with self.assertRaises(ValueError):
            vitqc.compile(TINY, "-O1\0x")
        with self.assertRaises(FileNotFoundError):
            vitqc.read_report("/nowhere/r.json")

    def test_warnings(self):
        writer = os.path.join(SOURCE, "tests/driver/Inputs/onnx.py")
        subprocess.run([sys.executable, writer, "new.onnx", "Erf", "26"], check=True)
        with self.assertWarnsRegex(vitqc.VitqcWarning, "opset 26 is newer") as caught:
            out = vitqc.compile("new.onnx", level=0, emit="ir")
        self.assertTrue(out.startswith(b"vq 1"))
        diagnostic = caught.warning.diagnostic
        self.assertEqual((diagnostic.severity, diagnostic.code, diagnostic.path),
                         ("warning", "op-unknown", "new.onnx"))
        self.assertEqual(caught.filename, __file__)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vitqc.compile("new.onnx", level=0, emit="ir", quiet=True)
            with self.assertRaises(vitqc.VitqcWarning):
                vitqc.compile("new.onnx", level=0, emit="ir")


class Stopping(unittest.TestCase):
    def test_progress(self):
        seen = []
        compile_tiny(progress=lambda what, done, total: seen.append((what, done, total)))
        self.assertGreater(len(seen), 5)
        self.assertTrue(all(0 <= done <= total for _, done, total in seen))

    def test_interrupted(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(vitqc.Interrupted) as caught:
                vitqc.compile(FASHION, level=1, output=os.path.join(folder, "x.so"),
                              progress=lambda what, *_: what == "code")
            self.assertEqual(caught.exception.result, 130)
            self.assertEqual(os.listdir(folder), [])

    def test_exceptions_of_callbacks(self):
        def fails(*_):
            raise ZeroDivisionError("mine")
        for callback in ("progress", "on_output"):
            with self.assertRaisesRegex(ZeroDivisionError, "mine"):
                compile_tiny(stats=True, **{callback: fails})

    # Ctrl-C while pictures are made, which would take hours.
    def test_ctrl_c(self):
        program = f"""
import signal, vitqc
def progress(what, done, total):
    if what == "synthesize": signal.raise_signal(signal.SIGINT)
try:
    vitqc.compile({FASHION!r}, calib_steps=100000, progress=progress, output="ctrl-c.so")
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print("stopped")
"""
        path = os.pathsep.join([os.path.dirname(os.path.dirname(vitqc.__file__))])
        done = subprocess.run([sys.executable, "-c", program], text=True, timeout=300,
                              env={**os.environ, "PYTHONPATH": path}, check=True,
                              stdout=subprocess.PIPE)
        self.assertEqual(done.stdout, "stopped\n")
        self.assertFalse(os.path.exists("ctrl-c.so"))

    def test_handlers_stay(self):
        before = signal.signal(signal.SIGINT, lambda *_: None)
        mine = signal.getsignal(signal.SIGINT)
        try:
            compile_tiny()
            self.assertIs(signal.getsignal(signal.SIGINT), mine)
        finally:
            signal.signal(signal.SIGINT, before)

    def test_threads(self):
        want, out = compile_tiny(), []
        threads = [threading.Thread(target=lambda: out.append(compile_tiny()))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(out, [want] * 3)


class Libraries(unittest.TestCase):
    # A process of its own: this one has found them.
    def python(self, program, **environment):
        path = os.path.join(SOURCE, "frontend", "python")
        return subprocess.run([sys.executable, "-B", "-c", program], text=True, check=True,
                              env={**os.environ, "PYTHONPATH": path, **environment},
                              stdout=subprocess.PIPE).stdout

    def test_missing(self):
        program = """
import vitqc
for attempt in (vitqc.version, lambda: vitqc.Model("x.so")):
    try: attempt()
    except vitqc.LibraryError as error: print(error)
"""
        out = self.python(program, VITQC_LIBRARY="/nowhere/c.so", VITQ_LIBRARY="/nowhere/r.so")
        self.assertRegex(out, "cannot load libvitqc.so.0: /nowhere/c.so.*VITQC_LIBRARY")
        self.assertRegex(out, "cannot load libvitq.so.0: /nowhere/r.so.*VITQ_LIBRARY")

    def test_compiling_needs_no_numpy(self):
        program = f"""
import sys
sys.modules["numpy"] = None
import vitqc
so = vitqc.compile({TINY!r}, level=1)
model = vitqc.Model(so)
try: model([0])
except vitqc.LibraryError as error: print(model.name, error)
"""
        self.assertRegex(self.python(program), "^tiny running a model needs NumPy")
