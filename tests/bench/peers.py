"""Times vitqc against ONNX Runtime and OpenVINO on one model, interleaved.

usage: peers.py MODEL.onnx --vitqc PATH/TO/vitqc [--rounds=40] [--batch=1]
                [--json=FILE] [--cpu=VARIANT]

Every competitor lives in a process of its own, so that peak memory is its own,
and runs one thread. The parent lets them run in turn, one pass each per round,
and prints milliseconds (median, p25, min), the ratio of medians to the first
row, the size of the deployed file and the peak resident memory. OpenVINO
appears twice: with its default precision, which is bfloat16 where the CPU has
it, and with float32.

Needs PyPI's numpy, onnxruntime and openvino (tests/bench/peers.sh makes a
virtual environment with them); a competitor that is not installed is skipped.
"""
import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time


def peak_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


def input_of(shape):
    import numpy
    return numpy.random.default_rng(0).standard_normal(shape).astype("float32")


def shape_of(spec):
    return tuple(int(n) for n in spec.split("x"))


def ort_runner(model, shape):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: input_of(shape)}
    return lambda: session.run(None, feed)[0]


def openvino_runner(precision):
    def make(model, shape):
        import openvino
        core = openvino.Core()
        network = core.read_model(model)
        network.reshape(list(shape))
        config = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        if precision:
            config["INFERENCE_PRECISION_HINT"] = precision
        request = core.compile_model(network, "CPU",
                                     config).create_infer_request()
        x = input_of(shape)
        return lambda: request.infer([x])[0]
    return make


def vitqc_runner(model, shape):
    import numpy
    library = ctypes.CDLL(model)  # compiled with --symbol=model
    library.model_workspace.restype = ctypes.c_size_t
    x = input_of(shape)
    room = numpy.zeros(library.model_workspace() + 64, dtype="uint8")
    start = room.ctypes.data
    workspace = ctypes.c_void_p(start + -start % 64)
    with open(model[:-len("so")] + "h", encoding="ascii") as header:
        size = int(re.search(r"MODEL_OUTPUT0_BYTES (\d+)", header.read())[1])
    y = numpy.empty(size * shape[0] // 4, dtype="float32")
    ins = (ctypes.c_void_p * 1)(x.ctypes.data)
    outs = (ctypes.c_void_p * 1)(y.ctypes.data)

    def once(_keep=(x, room, y)):
        if library.model_run(ctypes.c_int64(shape[0]), ins, outs, workspace):
            sys.exit("the compiled model failed")
        return y
    return once


RUNNERS = {
    "vitqc": vitqc_runner,
    "onnxruntime-fp32": ort_runner,
    "openvino-fp32": openvino_runner("f32"),
    "openvino-default": openvino_runner(None),
}


def worker(kind, model, spec):
    shape = shape_of(spec)
    once = RUNNERS[kind](model, shape)
    once()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "sum":
            print(json.dumps([float(v) for v in once().ravel()[:8]]), flush=True)
            continue
        start = time.perf_counter()
        once()
        print(json.dumps([1e3 * (time.perf_counter() - start), peak_kib()]),
              flush=True)


def start(kind, model, spec):
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), "--worker", kind, model,
         spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL)
    if process.stdout.readline().strip() != "ready":
        print(f"skipped: {kind} cannot run here")
        return None
    return process


def ask(process, what="go"):
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def compile_model(arguments, folder):
    out = os.path.join(folder, "model.so")
    command = [arguments.vitqc, arguments.model, "-O1",
               "-q", f"--batch={arguments.batch}", "--symbol=model", "-o", out,
               "--emit-header=" + os.path.join(folder, "model.h")]
    if arguments.cpu:
        command.append("--cpu=" + arguments.cpu)
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    return out, time.perf_counter() - begin


def measure(processes, rounds):
    times = {kind: [] for kind in processes}
    memory = dict.fromkeys(processes, 0)
    for _ in range(rounds):
        for kind, process in processes.items():
            ms, kib = ask(process)
            times[kind].append(ms)
            memory[kind] = kib
    return times, memory


def report(times, memory, sizes):
    base = statistics.median(next(iter(times.values())))
    rows = {}
    print(f"{'':18} {'median':>8} {'p25':>8} {'min':>8} {'x':>6} "
          f"{'MB file':>8} {'MB peak':>8}")
    for kind, series in times.items():
        series = sorted(series)
        median = statistics.median(series)
        rows[kind] = {"median_ms": median, "p25_ms": series[len(series) // 4],
                      "min_ms": series[0], "ratio": median / base,
                      "file_bytes": sizes[kind], "peak_kib": memory[kind]}
        row = rows[kind]
        print(f"{kind:18} {median:8.2f} {row['p25_ms']:8.2f} {series[0]:8.2f} "
              f"{row['ratio']:6.2f} {sizes[kind] / 1e6:8.2f} "
              f"{memory[kind] / 1e3:8.1f}")
    return rows


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--vitqc", required=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--shape", default="3x224x224", help="of one sample")
    parser.add_argument("--cpu")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    spec = f"{arguments.batch}x{arguments.shape}"
    with tempfile.TemporaryDirectory() as folder:
        library, seconds = compile_model(arguments, folder)
        models = {k: library if k == "vitqc" else arguments.model
                  for k in RUNNERS}
        started = {k: start(k, m, spec) for k, m in models.items()}
        processes = {k: p for k, p in started.items() if p}
        sizes = {k: os.path.getsize(models[k]) for k in processes}
        times, memory = measure(processes, arguments.rounds)
        print(f"vitqc -O1 compiled in {seconds:.2f} s; first outputs:")
        for kind, process in processes.items():
            print(f"  {kind:18}", *(f"{v:9.4f}" for v in ask(process, "sum")))
        rows = report(times, memory, sizes)
        for process in processes.values():
            process.stdin.close()
            process.wait()
    if arguments.json:
        with open(arguments.json, "w", encoding="ascii") as out:
            json.dump({"compile_s": seconds, "rows": rows}, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
