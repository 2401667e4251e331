"""Thousands of broken and malicious models: each must be refused in time, within
memory, with one diagnostic, and without leaving a file.

usage: hostile.py EACH VITQC [--sample=N] [--slow] [--only=REGEX]

EACH imports a list of files (each.c), VITQC is the compiler. --sample=N takes
every Nth mutant only; --slow is for builds with sanitizers, which need more time
and memory. VITQC_DATA adds a few fixtures as seeds."""
import concurrent.futures
import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata

import cases
import outside
from mutate import mutants
from wire import *  # noqa: F403

CPU_MS, RSS_KIB = 1000, 512 << 10
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../models")


def seeds():
    """Right models of a few nodes each, between them most kinds of field."""
    w = tensor("w", [3, 3], floats(*range(9)))
    b = tensor("b", [3], None, FLOAT, blob(4, floats(1, 2, 3)))
    yield "dense", model(graph([
        node("MatMul", "x w", "h", name="/fc/MatMul"), node("Add", "h b", "i"),
        node("Erf", "i", "j"), node("Softmax", "j", "y", axis=-1)], [w, b],
        outputs=[value("y", ("n", 3))], inputs=[value("x", ("n", 3))]))
    yield "patches", model(graph([
        node("Conv", "x k", "c", strides=[4, 4]), node("Shape", "c", "s"),
        node("Slice", "s zero two", "t"), node("Concat", "t minus", "u", axis=0),
        node("Reshape", "c u", "v"), node("Transpose", "v", "y", perm=[0, 2, 1])],
        [tensor("k", [6, 3, 4, 4], bytes(6 * 48 * 4)), ints("zero", 0),
         ints("two", 2), ints("minus", -1)], [value("x", ("n", "c", 8, 8))]))
    body = graph([node("Neg", "x", "z")], inputs=[], outputs=[blob(1, "z")])
    f = function("Norm", "a g", "b", [
        node("ReduceMean", "a", "m", axes=[-1]), node("Sub", "a m", "d"),
        node("Mul", "d g", "b")], opsets=[("", 17)])
    yield "nested", model(graph([
        node("If", "c", "h", then_branch=(body,), else_branch=(body,)),
        node("Norm", "h w", "y", domain="f")],
        [tensor("c", [], b"\1", BOOL), tensor("w", [3], floats(1, 2, 3))]), 17, [f])
    yield "mask", model(graph([
        node("ConstantOfShape", "s", "z", value=tensor("v", [1], floats(0))),
        node("ScatterND", "z i u", "m"), node("Where", "q m one", "n"),
        node("Gather", "table p", "g", axis=0), node("Add", "n g", "o"),
        node("Add", "x o", "y")],
        [ints("s", 2, 3), tensor("i", [1, 2], int64s(1, 2), INT64),
         tensor("u", [1], floats(-100)), tensor("q", [2, 3], b"\0\1" * 3, BOOL),
         tensor("one", [], floats(1)), tensor("table", [5, 3], bytes(60)),
         ints("p", 4, 0)]))
    yield "outside", model(graph([node("Add", "x w", "y")], [
        external("w", [3], location="w.bin", offset=8, length=12)]))
    yield "attention", model(graph([
        node("Split", "x", "q k v", axis=2, num_outputs=3),
        node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "a"),
        node("Mul", "a scale", "b"), node("Softmax", "b", "c", axis=-1),
        node("MatMul", "c v", "d"), node("LayerNormalization", "d g g", "y",
                                         epsilon=1e-5, axis=-1)],
        [tensor("scale", [], floats(0.5)), tensor("g", [4], floats(1, 1, 1, 1))],
        [value("x", (1, 5, 12))]))


def mutant_cases():
    for name, data in seeds():
        yield cases.accept("seed-" + name, data)
        for kind, out in mutants(name, data, 55):
            yield cases.Case(kind, out, cases.EITHER, "")
    paths = [os.path.join(MODELS, "fashion/fashion_vit.onnx")]
    if os.environ.get("VITQC_DATA"):
        found = sorted(glob.glob(os.environ["VITQC_DATA"] + "/fixtures/*.onnx"))
        paths += sorted(found, key=os.path.getsize)[:4]
    for path in paths:
        with open(path, "rb") as f:
            data = f.read()
        name = os.path.basename(path)[:-5]
        for kind, out in mutants(name, data, 20 if len(data) < 1 << 20 else 4):
            expect = cases.REFUSE if "-cut" in kind else cases.EITHER
            yield cases.Case(kind, out, expect, "")


def all_cases(sample):
    hand = (cases.tensors, cases.valid, cases.messages, cases.counts, cases.collisions, cases.names,
            cases.graphs, cases.amplification, cases.functions,
            outside.external_data, outside.published)
    for part in hand:
        for i, c in enumerate(part()):
            if sample == 1 or i % 4 == 0 or c.name.startswith("CVE"):
                yield c
    for i, c in enumerate(mutant_cases()):
        if i % sample == 0:
            yield c


class Judge:
    def __init__(self, slow):
        self.cpu_ms = CPU_MS * (20 if slow else 1)
        self.rss_kib = RSS_KIB * (6 if slow else 1)
        self.wrong, self.n, self.refused = [], 0, 0
        self.worst_cpu, self.worst_rss = (0, ""), (0, "")

    def check(self, case, how, code, ms, rss, said):
        self.n += 1
        self.refused += code == 1
        self.worst_cpu = max(self.worst_cpu, (ms, case.name))
        self.worst_rss = max(self.worst_rss, (rss, case.name))
        bad = []
        errors = [s for s in said.split(b"\n") if b"error: " in s]
        if how == "signal":
            bad.append("died of signal %d" % code)
        elif code not in (0, 1):
            bad.append("exit code %d" % code)
        elif code == 0 and (case.expect == cases.REFUSE or errors):
            bad.append("was accepted")
        elif code == 1 and case.expect == cases.ACCEPT:
            bad.append("was refused")
        if code == 1 and len(errors) != 1:
            bad.append("%d diagnostics" % len(errors))
        if code == 1 and case.why and not re.search(case.why.encode(), said):
            bad.append("expected %r" % case.why)
        text = said.decode(errors="replace")
        if any(unicodedata.category(c)[0] == "C" or c == "\ufffd"
               for c in text if c != "\n"):
            bad.append("control characters or broken UTF-8")
        if len(said) > 4096:
            bad.append("%d bytes of messages" % len(said))
        if ms > self.cpu_ms:
            bad.append("%d ms" % ms)
        if rss > self.rss_kib:
            bad.append("%d MiB" % (rss >> 10))
        if bad:
            self.wrong.append("%s: %s\n    %s" % (
                case.name, ", ".join(bad), text[:300]))


def run_each(tool, folder, batch, judge):
    def run(part):
        names = "".join(c.name + "\n" for c in part)
        done = subprocess.run([tool, folder], input=names, text=True,
                              stdout=subprocess.PIPE, check=True)
        return [line.rsplit(" ", 4) for line in done.stdout.splitlines()]
    lines = run(batch)
    if len(lines) != len(batch):
        judge.wrong.append("%s: %d lines for %d files" % (tool, len(lines), len(batch)))
    for case, (_, how, code, ms, rss) in zip(batch, lines):
        for _ in range(3):  # a busy machine inflates even CPU time
            if int(ms) > judge.cpu_ms:
                ms = min(int(ms), int(run([case])[0][3]))
        log = os.path.join(folder, case.name + ".log")
        with open(log, "rb") as f:
            said = f.read()
        judge.check(case, how, int(code), int(ms), int(rss), said)
        os.unlink(log)


def run_driver(vitqc, folder, case, judge, options):
    """The compiler itself; nothing but a complete output may be left."""
    out = os.path.join(folder, "out-" + case.name)
    log = out + ".log"
    os.mkdir(out)
    target = os.path.join(out, "m.vq")
    with open(log, "wb") as err:
        p = subprocess.Popen([vitqc, os.path.join(folder, case.name), "-O1", "-o",
                              target, *options], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=err, close_fds=False)
        watch = threading.Timer(120, p.kill)
        watch.start()
        _, status, use = os.wait4(p.pid, 0)
        watch.cancel()
    code = os.waitstatus_to_exitcode(status)
    p.returncode = code
    with open(log, "rb") as f:
        said = f.read()
    ms = int(1000 * (use.ru_utime + use.ru_stime))
    judge.check(case, "signal" if code < 0 else "exit", abs(code), ms,
                use.ru_maxrss, said)
    left = sorted(os.listdir(out))
    if code and left or any(".tmp" in f for f in left):
        judge.wrong.append("%s: left %s" % (case.name, left))
    shutil.rmtree(out)
    os.unlink(log)


def shrinking(each, folder, judge):
    """A data file that another process cuts and restores all the while."""
    name = os.path.join(folder, "moving.bin")
    size, stop = 8 << 20, threading.Event()

    def move():
        with open(name, "r+b") as f:
            while not stop.is_set():
                f.truncate(4096)
                f.truncate(size)
                f.write(b"\0")
                f.flush()
    with open(name, "wb") as f:
        f.truncate(size)
    with open(os.path.join(folder, "moving"), "wb") as f:
        f.write(outside.add(external("w", [size // 4], location="moving.bin")))
    t = threading.Thread(target=move)
    t.start()
    case = cases.Case("moving", b"", cases.EITHER, "")
    for _ in range(20):
        run_each(each, folder, [case], judge)
    stop.set()
    t.join()


def main(each, vitqc, *options):
    slow = "--slow" in options
    sample = max([1] + [int(o[9:]) for o in options if o.startswith("--sample=")])
    top = tempfile.mkdtemp(prefix="vitqc-hostile-")
    folder = os.path.join(top, "models")
    os.mkdir(folder)
    outside.lay_out(folder)
    only = "".join(o[7:] for o in options if o.startswith("--only="))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not slow:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    library, driver = Judge(slow), Judge(slow)
    driver.cpu_ms *= 2  # loading LLVM alone takes a while
    pool = concurrent.futures.ThreadPoolExecutor(2)
    start = time.monotonic()
    # Starting the compiler costs more than most of these files.
    step = 25 * (4 if slow else 1)
    batch, n, pending = [], 0, []

    def run(batch, first):
        run_each(each, folder, batch, library)
        for i, c in enumerate(batch):
            if (first + i) % step == 0 or c.name.startswith("CVE"):
                run_driver(vitqc, folder, c, driver, ["--emit=ir", "--stop-after=recompose"])
            os.unlink(os.path.join(folder, c.name))
    for c in all_cases(sample):
        if not re.search(only, c.name):
            continue
        with open(os.path.join(folder, c.name), "wb") as f:
            f.write(c.data)
        batch.append(c._replace(data=b""))
        n += 1
        if len(batch) == 32:
            pending.append(pool.submit(run, batch, n - 32))
            batch = []
        while len(pending) > 4:
            pending.pop(0).result()
    pending.append(pool.submit(run, batch, n - len(batch)))
    for p in pending:
        p.result()
    shrinking(each, folder, library)
    shutil.rmtree(top)
    for what, j in (("library", library), ("compiler", driver)):
        print("%s: %d files, %d refused, %d still right; at most %d ms (%s), %d MiB (%s)" % (
            what, j.n, j.refused, j.n - j.refused, *j.worst_cpu,
            j.worst_rss[0] >> 10, j.worst_rss[1]))
    wrong = library.wrong + driver.wrong
    print("%d wrong, in %.0f s" % (len(wrong), time.monotonic() - start))
    for w in wrong[:200]:
        print(w)
    if sample == 1 and not only and library.refused < 2000:
        print("expected at least 2000 refused files")
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
