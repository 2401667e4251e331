#!/bin/sh
# The Debian packages are complete: what is in them, and nothing else, compiles the
# shipped model and runs it, from the command, from C and from Python.
#
# usage: deb.sh unpacked|root BUILD SOURCE SANITIZED
#
# unpacked: the packages are unpacked into a folder and run there.
# root: they are installed with apt in a bare system that debootstrap makes. Needs root,
# debootstrap and Debian's archive; DEB_ROOT may name such a system, which is copied.
# Ends with 77, "skipped", where that cannot be had and for builds with sanitizers.
set -eu
where=$1 build=$2 source=$3 sanitized=$4
work=$(mktemp -d)
root=$work/root
mounted=
finish() {
  for place in $mounted; do umount -l "$place" || exit 1; done
  rm -rf --one-file-system "$work"
}
trap finish EXIT

skip() {
  echo "skipped: $*"
  exit 77
}

say() {
  echo "== $*"
}

case $sanitized in ON | on | 1 | TRUE) skip "the libraries of this build carry sanitizers" ;; esac
command -v dpkg-shlibdeps >/dev/null || skip "no dpkg-shlibdeps (dpkg-dev)"
if [ "$where" = root ]; then
  [ "$(id -u)" = 0 ] || skip "a clean system needs root"
  [ -n "${DEB_ROOT:-}" ] || command -v debootstrap >/dev/null || skip "no debootstrap"
fi

say packages
cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work/debs" >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
cd "$work/debs"
for name in vitqc libvitq0 libvitqc-dev python3-vitqc; do
  ls "$name"_*.deb
done
depends() {
  dpkg-deb -f "$1"_*.deb Depends
}
depends vitqc | grep -q 'gcc | c-compiler.*libllvm19'
[ "$(depends libvitq0 | tr -d ' ' | grep -o '^[a-z0-9]*')" = libc6 ]
[ -z "$(depends python3-vitqc | grep numpy)" ]
if command -v lintian >/dev/null; then
  lintian --fail-on error ./*.deb >"$work/lint" 2>/dev/null || { cat "$work/lint"; exit 1; }
else
  echo "skipped: no lintian"
fi

# What is done with them, as a script for either place.
cat >"$work/use.sh" <<'EOS'
set -eu
model=fashion/fashion_vit.onnx
vitqc --version
vitqc $model -q --calib=fashion/test1000.npy --calib-size=4 \
  --preprocess='scale=1/255 mean=.2860 std=.3530' --labels=fashion/classes.txt -o fashion.so
vitqc run fashion.so --top=1 fashion/picture-3-dress.png | tee run.txt
grep -q Dress run.txt
vitqc run fashion.so fashion/test1000.npy -o want.npy
vitqc eval fashion.so --images=fashion/test1000.npy --labels=fashion/test1000.labels.npy
vitqc $model -O1 -q -o float.so
flags=$(pkg-config --cflags --libs libvitqc)
cc "$EXAMPLES/compile.c" $flags -o compile
./compile $model again.so -O1
cmp float.so again.so
cc use_model.c $(pkg-config --cflags --libs vitqc) -o use_model
./use_model ./float.so
python3 -B - <<'EOP'
import numpy, vitqc
assert vitqc.compile("fashion/fashion_vit.onnx", level=1) == open("float.so", "rb").read()
model = vitqc.Model("fashion.so", threads=2)
pixels = numpy.load("fashion/test1000.npy")
got = model(model.preprocess.normalize(pixels))
assert (got == numpy.load("want.npy")).all()
print("Python:", model)
EOP
EOS
stage() {
  mkdir -p "$1"
  cp -r "$source/tests/models/fashion" "$source/tests/e2e/use_model.c" "$work/use.sh" "$1"
}

if [ "$where" = unpacked ]; then
  say unpack and use
  command -v python3 >/dev/null || skip "no python3"
  python3 -c 'import numpy' 2>/dev/null || skip "no NumPy"
  for deb in ./*.deb; do dpkg-deb -x "$deb" "$root"; done
  stage "$root/use"
  cd "$root/use"
  usr=$root/usr
  PATH=$usr/bin:$PATH LD_LIBRARY_PATH=$usr/lib PYTHONPATH=$usr/lib/python3/dist-packages \
    PKG_CONFIG_PATH=$usr/lib/pkgconfig EXAMPLES=$usr/share/doc/vitqc/examples/library sh use.sh
  echo "not tried here: a clean system (ctest -R e2e.deb_root)"
  exit
fi

say clean system
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
  sed -nE 's/^(URIs:|deb)[ \t]+(\[[^]]*\][ \t]+)?([^ \t]*debian)[ \t/]*.*$/\3/p' |
  grep -v security | head -n 1)
if [ -n "${DEB_ROOT:-}" ]; then
  cp -a "$DEB_ROOT" "$root"
else
  debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" \
    >"$work/log" 2>&1 || { tail -n 5 "$work/log"; skip "debootstrap failed: no archive?"; }
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
[ ! -d /etc/apt/apt.conf.d ] || cp -rT /etc/apt/apt.conf.d "$root/etc/apt/apt.conf.d"
mount -t proc proc "$root/proc"
mounted=$root/proc
inside() {
  # shellcheck disable=SC2046
  env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
    EXAMPLES=/usr/share/doc/vitqc/examples/library \
    $(env | grep -iE '^(https?_proxy|no_proxy|all_proxy)=' || true) chroot "$root" "$@"
}
mkdir "$root/debs"
cp ./*.deb "$root/debs"
inside apt-get update -qq >"$work/log" 2>&1 || { tail -n 5 "$work/log"; skip "no archive"; }

say runtime alone: no compiler comes with it
install() {
  inside sh -c "apt-get install -y -qq --no-install-recommends $*" >"$work/log" 2>&1 ||
    { tail "$work/log"; exit 1; }
}
install "/debs/libvitq0_*.deb /debs/python3-vitqc_*.deb"
inside sh -c '! command -v cc && ! ls /usr/lib/x86_64-linux-gnu/libLLVM* 2>/dev/null'
inside python3 -c '
import vitqc
try: vitqc.version()
except vitqc.LibraryError as error: print(error)
else: raise SystemExit("there is a compiler")'

say everything
install "/debs/*.deb python3-numpy pkg-config"
stage "$root/use"
inside sh -c 'cd /use && sh use.sh'

say removed without a trace
inside apt-get purge -y -qq vitqc libvitq0 libvitqc-dev python3-vitqc >"$work/log" 2>&1 ||
  { tail "$work/log"; exit 1; }
left=$(find "$root/usr" "$root/etc" "$root/var/lib" -iname '*vitq*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
