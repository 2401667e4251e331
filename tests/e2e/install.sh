#!/bin/sh
# What `cmake --install` gives is enough to compile a model and to use it: from C
# through pkg-config, through CMake, and from C and C++ through the generated
# header. Ends with 77, "skipped", for a build with sanitizers, whose runtime
# library links into nothing else.
#
# usage: install.sh BUILD SOURCE SANITIZED
set -eu
build=$1 source=$2 sanitized=$3
case $sanitized in ON | on | 1 | TRUE)
  echo "skipped: the libraries of this build carry sanitizers"
  exit 77
  ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DESTDIR CFLAGS LDFLAGS
prefix=$work/prefix
cd "$work"

say() {
  echo "== $*"
}

say install
cmake --install "$build" --prefix "$prefix" >install.log || { cat install.log; exit 1; }
# Moved: nothing may remember where it was installed first.
mv "$prefix" "$work/elsewhere"
prefix=$work/elsewhere
if grep -rlI "$work" "$prefix"; then
  echo "installed files name their own place"
  exit 1
fi

say compile the shipped model
"$prefix/bin/vitqc" "$source/tests/models/fashion/fashion_vit.onnx" -O1 -q \
  --emit-header=fashion_vit.h -o fashion_vit.so

say pkg-config
pc=$(dirname "$(find "$prefix" -name vitqc.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs vitqc)
warnings="-Wall -Wextra -Wshadow -pedantic -Werror"
# shellcheck disable=SC2086
cc -std=c99 $warnings "$source/tests/e2e/use_model.c" $flags -o by_pkg_config
./by_pkg_config ./fashion_vit.so >by_pkg_config.txt

say CMake package
mkdir user
cat >user/CMakeLists.txt <<EOF
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(vitqc REQUIRED)
add_executable(by_cmake $source/tests/e2e/use_model.c)
target_link_libraries(by_cmake PRIVATE vitqc::rt)
EOF
{ cmake -G Ninja -S user -B user/build -DCMAKE_PREFIX_PATH="$prefix" &&
  cmake --build user/build; } >cmake.log 2>&1 || { cat cmake.log; exit 1; }
user/build/by_cmake ./fashion_vit.so >by_cmake.txt

say generated header, C99
# shellcheck disable=SC2086
cc -std=c99 $warnings -I. "$source/tests/e2e/use_header.c" ./fashion_vit.so -o by_header
./by_header >by_header.txt

say generated header and vitq.h, C++
if command -v c++ >/dev/null; then
  # shellcheck disable=SC2086
  c++ -x c++ -std=c++11 $warnings -I. "$source/tests/e2e/use_header.c" -x none \
    ./fashion_vit.so -o by_header_cxx
  ./by_header_cxx >by_header_cxx.txt
  # shellcheck disable=SC2086
  c++ -x c++ -std=c++11 $warnings "$source/tests/e2e/use_model.c" -x none $flags \
    -o by_cxx
  ./by_cxx ./fashion_vit.so >by_cxx.txt
else
  echo "skipped: no C++ compiler"
fi

say all of them computed the same
[ "$(wc -l <by_pkg_config.txt)" -eq 10 ]
for got in by_*.txt; do
  cmp by_pkg_config.txt "$got"
done

say libvitqc
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs libvitqc)
# shellcheck disable=SC2086
cc -std=c99 $warnings "$source/docs/examples/library/compile.c" $flags -o compile
libraries=$(dirname "$(find "$prefix" -name libvitqc.so)")
LD_LIBRARY_PATH=$libraries ./compile "$source/tests/models/fashion/fashion_vit.onnx" \
  from_library.so -O1
cmp fashion_vit.so from_library.so
cat >>user/CMakeLists.txt <<EOF
add_executable(compiles $source/docs/examples/library/compile.c)
target_link_libraries(compiles PRIVATE vitqc::compiler)
EOF
{ cmake user/build && cmake --build user/build; } >cmake.log 2>&1 || { cat cmake.log; exit 1; }
user/build/compiles "$source/tests/models/fashion/fashion_vit.onnx" from_cmake.so -O1
cmp fashion_vit.so from_cmake.so

say Python module
cat >module.py <<EOF
import vitqc
so = vitqc.compile("$source/tests/models/fashion/fashion_vit.onnx", "-O1")
assert so == open("fashion_vit.so", "rb").read()
assert vitqc.Model(so).name == "fashion_vit"
EOF
PYTHONPATH=$prefix/lib/python3/dist-packages python3 -B module.py

say man pages
bash -n "$prefix/share/bash-completion/completions/vitqc"
man=$prefix/share/man
grep -q 'VITQC 1' "$man/man1/vitqc.1"
# All that a header declares is in its page.
for page in libvitqc:vitqc.h libvitq:vitq.h; do
  for name in $(sed -n 's/^[A-Za-z].*[ *]\(vitqc\{0,1\}_[a-z_]*\)(.*/\1/p' \
    "$prefix/include/${page#*:}"); do
    grep -q "$name(" "$man/man3/${page%:*}.3" || { echo "$page lacks $name"; exit 1; }
  done
done
if command -v mandoc >/dev/null; then
  mandoc -Tlint -W error "$man"/man?/*
else
  echo "skipped: no mandoc"
fi
