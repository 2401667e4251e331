"""lit configuration of the golden tests (run through ctest)."""
import os

import lit.formats


def param(name):
    value = lit_config.params.get(name)
    if value is None:
        lit_config.fatal(f"run through ctest, or pass --param {name}=...")
    return value


def cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("flags"):
                    return line.split()
    except OSError:
        pass
    return []


config.name = "vitqc"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".vq", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = param("out")
config.environment["PATH"] = os.pathsep.join(
    [param("tools"), param("llvm"), os.environ["PATH"]])
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "VITQC_DATA"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.available_features.add(os.uname().machine)
for flag, feature in (("avx2", "avx2"), ("avx512f", "avx512"),
                      ("avx512_vnni", "avx512vnni"), ("avx512_bf16", "avx512bf16")):
    if flag in cpu_flags():
        config.available_features.add(feature)
if os.environ.get("VITQC_DATA"):
    config.available_features.add("data")
