"""Bochs, an emulator of x86 CPUs, built from Debian's source with bochs.patch.

usage: bochs.py FOLDER

builds it into FOLDER, where it stays, and prints the path of the program. The source is
Debian's of trixie, downloaded and checked, or the file that VITQC_BOCHS names. Bochs 3.0
is the first with AMX that Debian has; what bochs.patch mends is said at its head. Built
without debugger it is five times as fast as the program that Debian has.
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

SOURCE = "http://deb.debian.org/debian/pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz"
SHA256 = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b"
PATCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bochs.patch")
CONFIGURE = ["./configure", "--quiet", "--with-nogui", "--enable-cpu-level=6",
             "--enable-x86-64", "--enable-avx", "--enable-evex", "--enable-amx",
             "--enable-all-optimizations", "--enable-memtype", "--disable-docbook",
             "--disable-show-ips", "CFLAGS=-O2", "CXXFLAGS=-O2"]
# Program and Debian package of what is needed.
NEEDED = (("g++", "g++"), ("make", "make"), ("patch", "patch"), ("xz", "xz-utils"))


class Unavailable(Exception):
    pass


def read_source():
    path = os.environ.get("VITQC_BOCHS")
    try:
        with open(path, "rb") if path else urllib.request.urlopen(SOURCE, timeout=60) as f:
            source = f.read()
    except (OSError, urllib.error.URLError) as e:
        raise Unavailable(f"no source of Bochs: {path or SOURCE}: {e}; VITQC_BOCHS may "
                          "name it") from None
    if hashlib.sha256(source).hexdigest() != SHA256:
        raise Unavailable(f"{path or SOURCE} is not the source that bochs.patch is made for")
    return source


def step(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **more)
    if done.returncode:
        said = done.stdout.decode(errors="replace")[-4000:]
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")


def build(folder):
    """The folder with `bochs` and `bios`, built there if it is not yet."""
    with open(PATCH, "rb") as f:
        patch = f.read()
    key = hashlib.sha256(patch + SHA256.encode() + " ".join(CONFIGURE).encode())
    kept = os.path.join(os.path.abspath(folder), "bochs-" + key.hexdigest()[:16])
    if os.path.exists(kept):
        return kept
    source = read_source()
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        print("building Bochs: some minutes, once", flush=True)
        step(["tar", "-xJ", "--strip-components=1"], work, input=source)
        step(["patch", "-p1", "--quiet"], work, input=patch)
        step(CONFIGURE, work)
        step(["make", f"-j{os.cpu_count()}", "bochs"], work)
        made = os.path.join(work, "kept")
        os.makedirs(made)
        for name in "bochs", "bios":
            os.rename(os.path.join(work, name), os.path.join(made, name))
        os.rename(made, kept)
    return kept


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(os.path.join(build(sys.argv[1]), "bochs"))
