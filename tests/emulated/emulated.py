"""Runs compiled code in an emulator of CPUs that have AMX, AVX-512 with VNNI and AVX-VNNI.

usage: emulated.py VITQC CHECK_SO TESTS SOURCE [--only=REGEX] [--timeout=SECONDS]

TESTS is the folder of the unit tests' programs, where the emulator is kept (bochs.py).
What is compared was compiled here:

- the kernels of test_kernels_int, test_kernels and test_backend_ops (unit/recorded.h)
  for amx-int8, avx512vnni and avxvnni with the interpreter's results;
- whole models at -O2, with weights of 8 and of 4 bits, whose output must have the bits
  that it has on this machine, and at -O1, within 1e-4. Each variant is run, and the
  runtime must choose the best one of the CPU.

Bochs boots Debian's kernel with an initramfs that holds these programs, no compiler:
as a server with AMX, and with few of the models as one whose kernel grants no tiles and
as a desktop CPU without AVX-512.
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
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import bochs  # noqa: E402
from integer_models import input_shape, run, write_npy  # noqa: E402

SKIPPED = 77
UNIT = ("test_kernels_int", "test_kernels", "test_backend_ops")
MODELS = ("models/fashion/fashion_vit.onnx", "models/small/distilled.vq",
          "models/small/swin.vq", "models/small/mixed.vq")
FIXTURES = ("vit_timm_manual_ts17_st", "deit_dist_timm_ts17_dyn", "swin_tv_ts17_st",
            "dinov2_reg_timm_ts17_dyn", "beit_timm_ts17_dyn", "clip_hf_ts17_dyn")
# Name, options, tolerance, whether products are integer.
LEVELS = (("w8a8", ["-O2", "--calib=noise", "--calib-size=8"], "0", True),
          ("w4a8", ["-O2", "--calib=noise", "--calib-size=8", "--bits=w4a8"], "0", True),
          ("float", ["-O1"], "1e-4", False))
# Bochs's name of each CPU, and what the kernel does not know of it.
SERVER, NO_TILES, DESKTOP = "Sapphire Rapids", "Sapphire Rapids without tiles", "Arrow Lake"
CPUS = {SERVER: ("sapphire_rapids", ""), NO_TILES: ("sapphire_rapids", ",amx_tile"),
        DESKTOP: ("arrow_lake", "")}
# What the runtime chooses on each with integer products and without, and what else runs.
VARIANTS = {(SERVER, True): ("amx-int8", "avx512vnni", "avxvnni"),
            (SERVER, False): ("avx512vnni",),
            (NO_TILES, True): ("avx512vnni", "avxvnni"),
            (NO_TILES, False): ("avx512vnni",),
            (DESKTOP, True): ("avxvnni",), (DESKTOP, False): ("x86-64-v3",)}
LOADER = ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
# File and Debian package of what is needed.
NEEDED = ((LOADER[0], "isolinux"), (LOADER[1], "syslinux-common"),
          ("/usr/bin/genisoimage", "genisoimage"), ("/usr/bin/cpio", "cpio"),
          ("/bin/busybox", "busybox-static"))
# What Bochs 3.0 does not do right: to leave the BIOS with PCIDs or 5-level pages on,
# REP MOVSB as the kernel uses it if it is said to be fast, APERF.
BOOT = ("console=ttyS0,115200 quiet mitigations=off idle=halt panic=-1 "
        "nopcid no5lvl clearcpuid=erms,fsrm,aperfmperf")
BOCHS = """config_interface: textconfig
display_library: nogui
cpu: model={cpu}, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file={bios}/bios.bin-1.13.0
vgaromimage: file={bios}/vgabios-cirrus.bin-1.13.0
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

    def run(self, cpu, name, command, expected):
        """A command to run, and lines (patterns, each with how many) it must print."""
        self.jobs.append((cpu, name, command, expected))

    def image(self, kernel, cpu):
        iso = os.path.join(self.folder, "iso")
        os.makedirs(os.path.join(iso, "isolinux"), exist_ok=True)
        shutil.copy(kernel, os.path.join(iso, "vmlinuz"))
        for path in LOADER:
            shutil.copy(path, os.path.join(iso, "isolinux"))
        with open(os.path.join(iso, "isolinux", "isolinux.cfg"), "w", encoding="utf-8") as f:
            f.write("default linux\nprompt 0\nlabel linux\n kernel /vmlinuz\n"
                    f" append initrd=/initrd {BOOT}{CPUS[cpu][1]}\n")
        with open(os.path.join(self.root, "jobs"), "w", encoding="utf-8") as f:
            f.writelines(f"{job[1]} {job[2]}\n" for job in self.jobs if job[0] == cpu)
        with open(os.path.join(iso, "initrd"), "wb") as f:
            names = subprocess.run(["find", "."], cwd=self.root, stdout=subprocess.PIPE,
                                   check=True).stdout
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input=names,
                           cwd=self.root, stdout=f, check=True)
        run("genisoimage", "-quiet", "-o", os.path.join(self.folder, "boot.iso"),
            "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot",
            "-boot-load-size", "4", "-boot-info-table", iso)

    def boot(self, emulator, cpu, timeout):
        """Runs it until it turns itself off; what it said on its serial port."""
        config = BOCHS.format(cpu=CPUS[cpu][0], bios=os.path.join(emulator, "bios"))
        for name, text in ("bochsrc", config), ("serial.txt", ""):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        with open(os.path.join(self.folder, "screen"), "wb") as screen:
            process = subprocess.Popen([os.path.join(emulator, "bochs"), "-q", "-f", "bochsrc"],
                                       cwd=self.folder, stdin=subprocess.DEVNULL,
                                       stdout=screen, stderr=screen)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                print(f"the emulator did not end in {timeout} s")
            finally:
                process.kill()
                process.wait()
        with open(os.path.join(self.folder, "serial.txt"), encoding="utf-8",
                  errors="replace") as f:
            return f.read().replace("\r", "")

    def judge(self, cpu, said):
        n_bad = 0
        for _, name, _, expected in (job for job in self.jobs if job[0] == cpu):
            found = re.search(rf"^== {name}$(.*?)^== {name}: exit (\d+)$", said, re.M | re.S)
            text = found.group(1) if found else ""
            bad = [] if found else ["did not end"]
            if found and found.group(2) != "0":
                bad.append(f"exit {found.group(2)}")
            for pattern, n in expected:
                if len(re.findall(pattern, text, re.M)) != n:
                    bad.append(f"not {n} lines '{pattern}'")
            print(f"{cpu}: {name}: " + ("FAILED, " + ", ".join(bad) if bad else "good"))
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
    # A file is of one variant or of all that models have, of which not every model has those
    # that differ in products of codes.
    n_all = sum(bool(re.fullmatch(r"\d+\.(generic\.)?so", m)) for m in made)
    own = [m.split(".")[1] for m in made if re.fullmatch(r"\d+\.[\w-]+\.so", m)]
    own = [variant for variant in own if variant != "generic"]
    if not n_all and "amx-int8" not in own:
        raise RuntimeError(f"{name} recorded nothing for amx-int8")
    expected = [("SKIPPED|EMULATED", 0)]
    for variant in {*own, *VARIANTS[SERVER, False]}:
        n = own.count(variant) + n_all * (variant in VARIANTS[SERVER, False])
        expected.append((f"^{variant}: RUN$", n))
    machine.add(os.path.join(tests, "recorded_" + name), "/bin/recorded_" + name)
    machine.run(SERVER, name, f"VITQC_TEST_RECORDS=/records/{name} /bin/recorded_{name}",
                expected)


def add_model(machine, vitqc, path, level, cpus):
    suffix, options, tolerance, codes = level
    name = re.sub(r"\.\w+$", "", os.path.basename(path)) + "." + suffix
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
    for cpu in cpus:
        variants = VARIANTS[cpu, codes]
        machine.run(cpu, name, f"/bin/check_so {here}.so {here}.in.npy {here}.out.npy "
                    f"{tolerance} 1", [(f"^  chosen: {variants[0]}$", 1), ("FAILED", 0),
                                       *((f"^  {v} +error", 1) for v in variants)])


def build(machine, arguments):
    wanted = re.compile(arguments.only)
    machine.add("/bin/busybox", "/bin/busybox")
    machine.add(os.path.join(os.path.dirname(__file__), "init"), "/init")
    machine.add(arguments.check_so, "/bin/check_so")
    for name in filter(wanted.search, UNIT):
        add_unit(machine, arguments.tests, name)
    data = os.path.join(os.environ.get("VITQC_DATA", ""), "fixtures")
    shipped = [os.path.join(arguments.source, "tests", m) for m in MODELS]
    cpus = {shipped[0]: (SERVER, NO_TILES, DESKTOP),
            **{path: (SERVER, DESKTOP) for path in shipped[1:]}}
    for path in filter(wanted.search, shipped + [os.path.join(data, f + ".onnx")
                                                 for f in FIXTURES]):
        if not os.path.exists(path):
            print("skipped: VITQC_DATA holds no", os.path.basename(path))
            continue
        for level in LEVELS:
            add_model(machine, arguments.vitqc, path, level, cpus.get(path, (SERVER,)))


def has_instructions():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        flags = f.read().split()
    return all(flag in flags for flag in ("amx_int8", "avx512_vnni", "avx_vnni"))


def main():
    parser = argparse.ArgumentParser()
    for name in "vitqc", "check_so", "tests", "source":
        parser.add_argument(name)
    parser.add_argument("--only", default="")
    parser.add_argument("--timeout", type=int, default=3000)
    arguments = parser.parse_args()
    missing = [package for path, package in NEEDED if not os.path.exists(path)]
    missing += [package for program, package in bochs.NEEDED if not shutil.which(program)]
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            if has_instructions():
                raise Skip("this CPU has AMX, AVX-512 and VNNI; the unit tests use them")
            if missing:
                raise Skip("missing Debian packages: " + " ".join(missing))
            emulator = bochs.build(arguments.tests)
            kernel = find_kernel(folder)
            machine = Machine(folder)
            build(machine, arguments)
            for cpu in dict.fromkeys(job[0] for job in machine.jobs):
                start = time.monotonic()
                machine.image(kernel, cpu)
                said = machine.boot(emulator, cpu, arguments.timeout)
                print(f"{cpu} emulated in {time.monotonic() - start:.0f} s")
                n_bad += machine.judge(cpu, said)
        except (Skip, bochs.Unavailable) as reason:
            print("skipped:", reason)
            return SKIPPED
    print(f"{len(machine.jobs) - n_bad} of {len(machine.jobs)} good")
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main())
