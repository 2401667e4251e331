"""Times vitqc against ONNX Runtime and OpenVINO, interleaved on one thread.

usage: peers.py MODEL.onnx ... --vitqc PATH [--folder=FOLDER] [--batch=1,8]
                [--rounds=N] [--passes=N] [--only=REGEX] [--json=FILE]
                [-- OPTIONS]

All competitors live in this process, pinned to one CPU, and take turns: a few
passes each per round, every round starts with another. For each it prints
milliseconds of a pass (median, p25, min), the ratio of its median to vitqc
-O2's and the quartiles of that ratio in single rounds, the size of the deployed file as a
share of the ONNX file, and the resident memory while running, beyond
Python's, measured in a process of its own. The CPU's peak rates, which
`vitqc bench` measures, stand beside them: on a shared machine only numbers of
one run can be compared.

OPTIONS are vitqc's; --calib=noise --calib-size=4 unless given, since ranges do
not change the speed. peer_models.py makes the other tools' int8 models in
FOLDER (default: a temporary one), where they are found again. OpenVINO appears
with float32, and with its default precision, which is bfloat16 where the CPU
has it. What is not installed is skipped.

Needs PyPI's numpy, onnx, onnxruntime, openvino and nncf (tests/bench/peers.sh
makes a virtual environment with them).
"""
import argparse
import ctypes
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

WARM_UP = 2
PROBES = 5


# ---- competitors ---------------------------------------------------------------

def ort_runner(model, x):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)[0]


def openvino_runner(precision):
    def make(model, x):
        import openvino
        core = openvino.Core()
        network = core.read_model(model)
        network.reshape(list(x.shape))
        config = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1,
                  "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
                  "ENABLE_HYPER_THREADING": False}
        if precision:
            config["INFERENCE_PRECISION_HINT"] = precision
        request = core.compile_model(network, "CPU",
                                     config).create_infer_request()
        return lambda: request.infer([x])[0]
    return make


def vitqc_runner(model, x):
    import numpy
    library = ctypes.CDLL(model)  # compiled with --symbol=model
    library.model_workspace.restype = ctypes.c_size_t
    room = numpy.zeros(library.model_workspace() + 64, dtype="uint8")
    start = room.ctypes.data
    workspace = ctypes.c_void_p(start + -start % 64)
    with open(model[:-len("so")] + "h", encoding="ascii") as header:
        size = int(re.search(r"MODEL_OUTPUT0_BYTES (\d+)", header.read())[1])
    y = numpy.empty(size * x.shape[0] // 4, dtype="float32")
    ins = (ctypes.c_void_p * 1)(x.ctypes.data)
    outs = (ctypes.c_void_p * 1)(y.ctypes.data)

    def once(_keep=(x, room, y)):
        if library.model_run(ctypes.c_int64(x.shape[0]), ins, outs, workspace):
            sys.exit("the compiled model failed")
        return y
    return once


# name: runner and what it runs: an option of vitqc, a form of peer_models.py,
# or None, the ONNX file itself. Ratios are to the first.
COMPETITORS = {
    "vitqc-O2": (vitqc_runner, "-O2"),
    "vitqc-O1": (vitqc_runner, "-O1"),
    "openvino-int8": (openvino_runner(None), "ov-int8"),
    "openvino-int8-f32": (openvino_runner("f32"), "ov-int8"),
    "openvino-int8-plain": (openvino_runner(None), "ov-int8-plain"),
    "openvino-default": (openvino_runner(None), None),
    "openvino-fp32": (openvino_runner("f32"), None),
    "ort-int8-dynamic": (ort_runner, "ort-int8-dynamic"),
    "ort-int8-static": (ort_runner, "ort-int8-static"),
    "ort-int8-all": (ort_runner, "ort-int8-all"),
    "ort-fp32": (ort_runner, None),
}


def input_of(spec):
    import numpy
    shape = [int(n) for n in spec.split("x")]
    return numpy.random.default_rng(0).standard_normal(shape).astype("float32")


# ---- memory, in a process of its own -------------------------------------------

def resident_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status
                    if line.startswith("VmRSS"))


def memory_main(name, path, spec):
    """Prints KiB that running adds to an interpreter that holds the input."""
    x = input_of(spec)
    before = resident_kib()
    once = COMPETITORS[name][0](path, x)
    for _ in range(3):
        once()
    gc.collect()
    print(resident_kib() - before)


def memory_of(name, path, spec):
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "--memory",
                           name, path, spec], stdout=subprocess.PIPE, text=True,
                          check=True)
    return int(done.stdout.split()[-1])


# ---- one model at one batch ----------------------------------------------------

class Bench:
    def __init__(self, model, batch, arguments, scratch):
        self.model, self.batch, self.arguments = model, batch, arguments
        self.name = os.path.splitext(os.path.basename(model))[0]
        self.spec = f"{batch}x{arguments.shape}"
        self.scratch = scratch
        self.path, self.compile_s, self.run = {}, {}, {}
        self.probes = []

    def compile(self, level):
        out = os.path.join(self.scratch, f"{self.name}{level}.b{self.batch}.so")
        options = self.arguments.options
        if level == "-O2" and not any("--calib=" in o for o in options):
            options = [*options, "--calib=noise", "--calib-size=4"]
        if level != "-O2":
            options = [o for o in options if not re.match("--(calib|bits|seed)", o)]
        start = time.perf_counter()
        subprocess.run([self.arguments.vitqc, self.model, level, "-q",
                        f"--batch={self.batch}", "--symbol=model", "-o", out,
                        f"--emit-header={out[:-2]}h", *options], check=True)
        self.compile_s[level] = time.perf_counter() - start
        return out

    def find(self, what):
        import peer_models
        if what is None:
            return self.model
        if what.startswith("-O"):
            return self.compile(what)
        return peer_models.build(
            self.model, self.arguments.folder or self.scratch, what,
            peer_models.samples_of("noise", 4, [int(n) for n in
                                   self.arguments.shape.split("x")]))

    def prepare(self):
        x = input_of(self.spec)
        for name, (runner, what) in COMPETITORS.items():
            if not re.search(self.arguments.only, name):
                continue
            try:
                path = self.find(what)
                run = runner(path, x) if path else None
            except ImportError as e:
                print(f"SKIPPED: {name}: {e}")
                continue
            if run:
                self.path[name], self.run[name] = path, run
                for _ in range(WARM_UP):
                    run()

    def probe(self):
        """Peak rates of the CPU now, as vitqc bench measures them."""
        ours = [p for p in self.path.values() if p.endswith(".so")]
        out = os.path.join(self.scratch, "probe.json")
        if ours and not subprocess.run(
                [self.arguments.vitqc, "bench", ours[0], "--rounds=1", "-q",
                 "--json=" + out], stdout=subprocess.DEVNULL).returncode:
            with open(out, encoding="utf-8") as f:
                self.probes.append(json.load(f))

    def measure(self):
        names, rounds = list(self.run), self.arguments.rounds
        passes = self.arguments.passes
        times = {name: [] for name in names}
        for r in range(rounds):
            if r * PROBES // rounds != (r - 1) * PROBES // rounds:
                self.probe()
            for name in names[r % len(names):] + names[:r % len(names)]:
                start = time.perf_counter()
                for _ in range(passes):
                    self.run[name]()
                seconds = time.perf_counter() - start
                times[name].append(1e3 * seconds / passes)
        return times

    def rows(self, times):
        import peer_models
        base = times[next(iter(times))]
        onnx_bytes = peer_models.size_of(self.model)
        for name, series in times.items():
            by_round = sorted(t / b for t, b in zip(series, base))
            size = peer_models.size_of(self.path[name])
            ordered, n = sorted(series), len(series)
            yield {"competitor": name, "model": self.name, "shape": self.spec,
                   "median_ms": statistics.median(series),
                   "p25_ms": ordered[n // 4], "min_ms": ordered[0],
                   "ratio": statistics.median(series) / statistics.median(base),
                   "ratio_p25": by_round[n // 4],
                   "ratio_p75": by_round[n * 3 // 4],
                   "file_bytes": size, "file_share": size / onnx_bytes,
                   "resident_kib": memory_of(name, self.path[name], self.spec)}

    def result(self):
        self.prepare()
        times = self.measure()
        probe = {k: statistics.median(p[k] for p in self.probes)
                 for k in (self.probes[0] if self.probes else {})
                 if k.startswith("probe_")}
        return {"model": self.name, "shape": self.spec,
                "rounds": self.arguments.rounds,
                "passes": self.arguments.passes, "compile_s": self.compile_s,
                "cpu": self.probes[0]["cpu"] if self.probes else "",
                "isa": self.probes[0]["isa"] if self.probes else "",
                "probe": probe, "rows": list(self.rows(times))}


def versions():
    from importlib import metadata
    out = {}
    for package in ("onnxruntime", "openvino", "nncf"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return out


def print_result(result):
    probe = ", ".join(f"{k[len('probe_'):]} {v:.3g}"
                      for k, v in result["probe"].items())
    print(f"\n{result['model']} {result['shape']}, {result['rounds']} rounds, one"
          f" thread; {result['cpu']}, {result['isa']}; peaks now: {probe}")
    print(f"{'':20}{'median':>9}{'p25':>9}{'min':>9} ms{'ratio':>7}"
          f"{'quartiles':>13}{'file':>7}{'MB':>8}")
    for row in result["rows"]:
        print(f"{row['competitor']:20}{row['median_ms']:9.2f}{row['p25_ms']:9.2f}"
              f"{row['min_ms']:9.2f}   {row['ratio']:7.2f}"
              f"{row['ratio_p25']:7.2f}{row['ratio_p75']:6.2f}"
              f"{row['file_share']:7.3f}{row['resident_kib'] * 1.024e-3:8.1f}",
              flush=True)


def main():
    if sys.argv[1:2] == ["--memory"]:
        return memory_main(*sys.argv[2:])
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("model", nargs="+")
    parser.add_argument("--vitqc", required=True)
    parser.add_argument("--folder")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--passes", type=int, default=3, help="in each turn")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--shape", default="3x224x224", help="of one sample")
    parser.add_argument("--only", default="", help="competitors' names")
    parser.add_argument("--json")
    own = sys.argv[1:]
    at = own.index("--") if "--" in own else len(own)
    arguments = parser.parse_args(own[:at])
    arguments.options = own[at + 1:]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for model in arguments.model:
            for batch in arguments.batch.split(","):
                results.append(Bench(model, int(batch), arguments,
                                     scratch).result())
                print_result(results[-1])
                gc.collect()
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"versions": versions(), "results": results}, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
