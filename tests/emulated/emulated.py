"""Runs compiled code in an emulator of a CPU that has AVX-512 and VNNI.

usage: emulated.py VITQC CHECK_SO TESTS SOURCE [--only=REGEX] [--timeout=SECONDS]

TESTS is the folder of the unit tests' programs. What is compared was compiled here:

- the kernels of test_kernels_int, test_kernels and test_backend_ops (unit/recorded.h)
  for avx512vnni and amx-int8 with the interpreter's results; the emulated CPU has no
  AMX, its tiles are emulated there once more (unit/emulate.h);
- whole models at -O2, with weights of 8 and of 4 bits, whose output must have the bits
  that it has on this machine, and at -O1, within 1e-4.

Bochs boots Debian's kernel with an initramfs that holds these programs, no compiler.
VITQC_KERNEL may name a kernel; else Debian's is downloaded (apt-get download) and thrown
away. Ends with 77, "skipped", where something is missing, or where this CPU has the
instructions, so that the unit tests themselves say all this.
"""
import argparse
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from integer_models import input_shape, run, write_npy  # noqa: E402

SKIPPED = 77
UNIT = ("test_kernels_int", "test_kernels", "test_backend_ops")
MODELS = ("models/fashion/fashion_vit.onnx", "models/small/distilled.vq",
          "models/small/swin.vq", "models/small/mixed.vq")
FIXTURES = ("vit_timm_manual_ts17_st", "deit_dist_timm_ts17_dyn", "swin_tv_ts17_st",
            "dinov2_reg_timm_ts17_dyn", "beit_timm_ts17_dyn", "clip_hf_ts17_dyn")
LEVELS = (("w8a8", ["-O2", "--calib=noise", "--calib-size=8"], "0"),
          ("w4a8", ["-O2", "--calib=noise", "--calib-size=8", "--bits=w4a8"], "0"),
          ("float", ["-O1"], "1e-4"))
LOADER = ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
# File and Debian package of what is needed.
NEEDED = (("/usr/bin/bochs-bin", "bochs"),
          ("/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so", "bochs-term"),
          ("/usr/share/bochs/BIOS-bochs-latest", "bochsbios"),
          (LOADER[0], "isolinux"), (LOADER[1], "syslinux-common"),
          ("/usr/bin/genisoimage", "genisoimage"), ("/usr/bin/cpio", "cpio"),
          ("/bin/busybox", "busybox-static"))
# What Bochs 2.7 states and does not do right: sizes of XSAVES, XSAVEC and PKU in leaf 13
# of CPUID, REP MOVSB of memory that overlaps, APERF.
BOOT = ("console=ttyS0,115200 quiet mitigations=off idle=halt "
        "clearcpuid=pku,xsaves,xsavec,erms,fsrm,aperfmperf")
BOCHS = """config_interface: textconfig
display_library: term
cpu: model=corei7_icelake_u, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
clock: sync=none
log: bochs.log
panic: action=fatal
com1: enabled=1, mode=file, dev=serial.txt
"""


class Skip(Exception):
    pass


def watch_screen(path):
    """Reads what Bochs draws on the terminal it makes, which would fill up and stop it."""
    for _ in range(100):
        time.sleep(0.1)
        with open(path, encoding="utf-8", errors="replace") as f:
            found = re.search(r'connected to screen "(/dev/pts/\d+)"', f.read())
        if found:
            break
    else:
        return
    terminal = os.open(found.group(1), os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(terminal)
        while os.read(terminal, 4096):
            pass
    except (OSError, termios.error):
        pass  # Bochs is gone
    finally:
        os.close(terminal)


class Machine:
    """A folder with the disk image to be, and what is to be run from it."""

    def __init__(self, folder):
        self.folder, self.jobs = folder, []
        self.root = os.path.join(folder, "root")
        os.makedirs(os.path.join(self.root, "bin"))

    def add(self, path, to):
        """Puts a copy of a file into the machine, a program with its libraries."""
        target = self.root + to
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)
        if to.startswith("/bin/"):
            listed = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
            for library in re.findall(r"(/\S+) \(0x", listed):
                if not os.path.exists(self.root + library):
                    self.add(library, library)

    def run(self, name, command, expected):
        """A command to run, and lines (patterns, each with how many) it must print."""
        self.jobs.append((name, command, expected))

    def image(self, kernel):
        iso = os.path.join(self.folder, "iso")
        os.makedirs(os.path.join(iso, "isolinux"))
        shutil.copy(kernel, os.path.join(iso, "vmlinuz"))
        for path in LOADER:
            shutil.copy(path, os.path.join(iso, "isolinux"))
        with open(os.path.join(iso, "isolinux", "isolinux.cfg"), "w", encoding="utf-8") as f:
            f.write("default linux\nprompt 0\nlabel linux\n kernel /vmlinuz\n"
                    f" append initrd=/initrd {BOOT}\n")
        with open(os.path.join(self.root, "jobs"), "w", encoding="utf-8") as f:
            f.writelines(f"{name} {command}\n" for name, command, _ in self.jobs)
        with open(os.path.join(iso, "initrd"), "wb") as f:
            names = subprocess.run(["find", "."], cwd=self.root, stdout=subprocess.PIPE,
                                   check=True).stdout
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input=names,
                           cwd=self.root, stdout=f, check=True)
        run("genisoimage", "-quiet", "-o", os.path.join(self.folder, "boot.iso"),
            "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot",
            "-boot-load-size", "4", "-boot-info-table", iso)

    def boot(self, timeout):
        """Runs it until it turns itself off; what it said on its serial port."""
        for name, text in ("bochsrc", BOCHS), ("go", "c\n"), ("serial.txt", ""):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        with open(os.path.join(self.folder, "screen"), "wb") as screen:
            # Debian's has its debugger built in, which waits for "continue".
            emulator = subprocess.Popen(
                ["bochs-bin", "-q", "-f", "bochsrc", "-rc", "go"], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=screen, stderr=screen,
                env={**os.environ, "TERM": "xterm"})
            threading.Thread(target=watch_screen, args=[screen.name], daemon=True).start()
            try:
                emulator.wait(timeout)
            except subprocess.TimeoutExpired:
                print(f"the emulator did not end in {timeout} s")
            finally:
                emulator.kill()
                emulator.wait()
        with open(os.path.join(self.folder, "serial.txt"), encoding="utf-8",
                  errors="replace") as f:
            return f.read().replace("\r", "")

    def judge(self, said):
        n_bad = 0
        for name, _, expected in self.jobs:
            found = re.search(rf"^== {name}$(.*?)^== {name}: exit (\d+)$", said, re.M | re.S)
            text = found.group(1) if found else ""
            bad = [] if found else ["did not end"]
            if found and found.group(2) != "0":
                bad.append(f"exit {found.group(2)}")
            for pattern, n in expected:
                if len(re.findall(pattern, text, re.M)) != n:
                    bad.append(f"not {n} lines '{pattern}'")
            print(f"{name}: " + ("FAILED, " + ", ".join(bad) if bad else "good"))
            n_bad += bool(bad)
        if n_bad:
            print(said[-8000:])
        return n_bad


def find_kernel(folder):
    if os.environ.get("VITQC_KERNEL"):
        return os.environ["VITQC_KERNEL"]
    try:
        listed = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                                capture_output=True, text=True, check=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", listed).group(1)
        run("sh", "-c", f"cd {folder} && apt-get -qq download {package} && "
            "dpkg-deb -x linux-image*.deb kernel")
    except (OSError, RuntimeError, AttributeError, subprocess.CalledProcessError):
        raise Skip("no kernel: VITQC_KERNEL names none, and apt-get download of "
                   "linux-image-cloud-amd64 fails") from None
    return glob.glob(os.path.join(folder, "kernel", "boot", "vmlinuz*"))[0]


def add_unit(machine, tests, name):
    records = os.path.join(machine.root, "records", name)
    os.makedirs(records)
    done = subprocess.run([os.path.join(tests, name)], capture_output=True, text=True,
                          env={**os.environ, "VITQC_TEST_RECORDS": records, "CK_FORK": "no",
                               "CK_DEFAULT_TIMEOUT": "0"})
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    made = os.listdir(records)
    n = sum(bool(re.fullmatch(r"\d+\.((avx512vnni|generic)\.)?so", m)) for m in made)
    n_amx = sum(m.endswith(".amx-int8.so") for m in made)
    n_bf16 = sum(m.endswith("bf16.so") for m in made)  # this CPU lacks it
    if not n:
        raise RuntimeError(f"{name} recorded nothing for avx512vnni")
    machine.add(os.path.join(tests, "recorded_" + name), "/bin/recorded_" + name)
    machine.run(name, f"VITQC_TEST_RECORDS=/records/{name} /bin/recorded_{name}",
                [("^avx512vnni: RUN$", n), ("^amx-int8: EMULATED", n_amx),
                 ("SKIPPED", n_bf16)])


def add_model(machine, vitqc, path, level, options, tolerance):
    name = re.sub(r"\.\w+$", "", os.path.basename(path)) + "." + level
    at = os.path.join(machine.root, "models", name)
    os.makedirs(os.path.dirname(at), exist_ok=True)
    run(vitqc, path, "-q", "-O1", "--emit=ir", "-o", at + ".vq")
    with open(at + ".vq", encoding="utf-8") as f:
        ir = f.read()
    for extra in glob.glob(at + ".vq*"):
        os.remove(extra)
    shape, draw = input_shape(ir), random.Random(1)
    size = 1
    for d in shape:
        size *= d
    write_npy(at + ".in.npy", tuple(shape), [draw.gauss(0, 1) for _ in range(size)])
    run(vitqc, path, "-q", *options, "-o", at + ".so")
    run(vitqc, "run", at + ".so", at + ".in.npy", "-o", at + ".out.npy")
    here = f"/models/{name}"
    machine.run(name, f"/bin/check_so {here}.so {here}.in.npy {here}.out.npy {tolerance} 1",
                [("^  chosen: avx512vnni$", 1), ("^  avx512vnni +error", 1), ("FAILED", 0)])


def build(machine, arguments):
    wanted = re.compile(arguments.only)
    machine.add("/bin/busybox", "/bin/busybox")
    machine.add(os.path.join(os.path.dirname(__file__), "init"), "/init")
    machine.add(os.path.join(arguments.tests, "libgathers.so"), "/lib/libgathers.so")
    machine.add(arguments.check_so, "/bin/check_so")
    for name in filter(wanted.search, UNIT):
        add_unit(machine, arguments.tests, name)
    data = os.path.join(os.environ.get("VITQC_DATA", ""), "fixtures")
    paths = [os.path.join(arguments.source, "tests", m) for m in MODELS] + \
        [os.path.join(data, f + ".onnx") for f in FIXTURES]
    for path in filter(wanted.search, paths):
        if not os.path.exists(path):
            print("skipped: VITQC_DATA holds no", os.path.basename(path))
            continue
        for level, options, tolerance in LEVELS:
            add_model(machine, arguments.vitqc, path, level, options, tolerance)


def main():
    parser = argparse.ArgumentParser()
    for name in "vitqc", "check_so", "tests", "source":
        parser.add_argument(name)
    parser.add_argument("--only", default="")
    parser.add_argument("--timeout", type=int, default=3000)
    arguments = parser.parse_args()
    missing = [package for path, package in NEEDED if not os.path.exists(path)]
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        here = "avx512_vnni" in f.read()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if here:
                raise Skip("this CPU has AVX-512 and VNNI; the unit tests use them")
            if missing:
                raise Skip("missing Debian packages: " + " ".join(missing))
            kernel = find_kernel(folder)
            machine = Machine(folder)
            build(machine, arguments)
            machine.image(kernel)
            start = time.monotonic()
            said = machine.boot(arguments.timeout)
            print(f"emulated in {time.monotonic() - start:.0f} s")
            n_bad = machine.judge(said)
        except Skip as reason:
            print("skipped:", reason)
            return SKIPPED
    print(f"{len(machine.jobs) - n_bad} of {len(machine.jobs)} good")
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main())
