#!/bin/sh
# Plugins, built out of tree with gcc and clang against an installed vitqc: the ones of
# docs/examples/plugins, the one of docs/plugins.md as written there, and one that was
# built against older and newer tables. Then plugins that are none.
#
# usage: plugins.sh BUILD SOURCE SANITIZED
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
cd "$work"
cmake --install "$build" --prefix "$work/prefix" >install.log || { cat install.log; exit 1; }
PATH=$work/prefix/bin:$PATH
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name vitqc.pc)")
export PATH PKG_CONFIG_PATH
model=$source/tests/models/fashion/fashion_vit.onnx
front=fold,recompose,cse,dce
warnings="-std=c99 -Wall -Wextra -Wshadow -pedantic -Werror"

say() {
  echo "== $*"
}

die() {
  echo "$*"
  exit 1
}

# plugin CC FILE OUT [INCLUDE]
plugin() {
  # shellcheck disable=SC2086
  "$1" $warnings -shared -fPIC -fvisibility=hidden ${4:+-I"$4"} \
    $(pkg-config --cflags vitqc) "$2" -lm -o "$3"
}

compilers=cc
for cc in clang clang-19; do
  if command -v $cc >/dev/null; then
    compilers="$compilers $cc"
    break
  fi
done
[ "$compilers" != cc ] || echo "skipped: no clang here, plugins are built with cc alone"

for cc in $compilers; do
  say "examples with $cc"
  for name in count clip sensitive; do
    plugin $cc "$source/docs/examples/plugins/$name.c" $name.so
  done
  vitqc "$model" -q --load-pass-plugin=count.so --stats --emit=ir -o m.vq \
    --passes="$front,count-ops" 2>stats
  grep -q ' 25  count-ops: linear$' stats || { cat stats; die "count-ops counts wrong"; }

  vitqc "$model" -q --load-pass-plugin=./clip.so --verify-each --emit=ir -o m.vq \
    --passes="$front,clip-gelu{most=2}"
  [ "$(grep -c ' = clip .*{hi = 2}' m.vq)" = 6 ] || die "clip-gelu did not clip"
  if grep ' linear %.*gelu' m.vq; then die "something still reads a gelu"; fi

  vitqc "$model" -q --load-pass-plugin=./sensitive.so --emit=ir -o m.vq \
    --passes="$front,fold-pixels,insert-quantizers{bits=w4a8},widen-sensitive{share=0.1}"
  # 24 weights of 4 bits, of which 3 have 8 now, beside the first and the last.
  [ "$(grep -c 'lo = -127, hi = 127, role = "weight"' m.vq)" = 5 ] ||
    die "widen-sensitive did not widen 3"
done

say "a model behind all of them"
vitqc "$source/tests/models/small/mixed.vq" -q --calib=noise --calib-size=2 \
  --load-pass-plugin=clip.so --load-pass-plugin=sensitive.so --emit=ir -o m.vq \
  --passes="$front,clip-gelu,insert-quantizers{bits=w4a8},widen-sensitive{by=outputs}"
grep -q 'lo = -127, hi = 127, role = "weight"' m.vq || die "nothing was widened"

say "docs/plugins.md, word for word"
mkdir page
sed -n '/^```c$/,/^```$/p' "$source/docs/plugins.md" | sed '/^```/d' >page/negate.c
sed -n '/^```sh$/,/^```$/p' "$source/docs/plugins.md" | sed '/^```/d' >page/commands
(cd page && sh -eu ./commands) >page/out 2>&1 || { cat page/out; die "the page fails"; }
grep -q '= neg %y' page/out && grep -q '= add %x, ' page/out &&
  grep -q '1  negate: subtractions' page/out || { cat page/out; die "no subtraction left"; }

# The table of functions as it was, less its last two, and as it may be, with one more;
# rows of passes that have grown as well.
say "older and newer tables"
header=$(find "$work/prefix" -name plugin.h)
mkdir -p older/vq newer/vq
grep -v '(\*samples)(\|(\*sample)(' "$header" >older/vq/plugin.h
cat >older.c <<'EOF'
#include <vq/plugin.h>
typedef char smaller[offsetof(vq_host, release) + sizeof(void (*)(void)) ==
                     sizeof(vq_host) ? 1 : -1];
EOF
cat "$source/docs/examples/plugins/clip.c" >>older.c
sed 's|^} vq_host;|  int (*later)(vq_call *c);\n} vq_host;|
     s|^} vq_plugin_pass;|  const char *later;\n} vq_plugin_pass;|
     s|^} vq_plugin_option;|  const char *later[3];\n} vq_plugin_option;|
     s|^} vq_plugin;|  const char *later;\n} vq_plugin;|' "$header" >newer/vq/plugin.h
asks='if (VQ_HOST_HAS(host, later) \&\& host->later(call)) return 1;'
sed "s|double most = host->option_real(call, \"most\");|&\n  $asks|"'
     s|"8", NULL}|"8", NULL, {0}}|
     s|options, 1}|options, 1, "x"}|
     s|passes,                 1,|passes, 1, "x"|' \
  "$source/docs/examples/plugins/clip.c" >newer.c
for age in older newer; do
  cc -std=c99 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -I$age $age.c -lm \
    -o $age.so
  vitqc "$model" -q --load-pass-plugin=./$age.so --emit=ir -o m.vq \
    --passes="$front,clip-gelu{most=2}"
  [ "$(grep -c ' = clip .*{hi = 2}' m.vq)" = 6 ] || die "built against $age tables: fails"
done

# refused WHAT SOURCE: a plugin of this text is refused with WHAT, and nothing is written.
refused() {
  printf '#include <vq/plugin.h>\n%s\n' "$2" >bad.c
  plugin cc bad.c bad.so
  refused_with "$1" bad.so
}

refused_with() {
  if vitqc "$model" -q --load-pass-plugin="$2" -O1 -o bad.out 2>err; then
    die "accepted: $1"
  fi
  grep -q "error: .*$1" err || { cat err; die "expected: $1"; }
  [ ! -e bad.out ] || die "an output was written"
}

say "what is no plugin"
refused_with "cannot load this plugin" /dev/null
refused_with "cannot load this plugin" ./absent.so
refused "does not export vq_plugin_query" 'int nothing = 1;'
refused "does not work with plugin interface 1" \
  'const vq_plugin *vq_plugin_query(uint32_t a) { return a ? NULL : NULL; }'
table() {
  echo "static int run(const vq_host *h, vq_call *c) { return h == 0 || c == 0; }
static const vq_plugin_option o[] = {$2};
static const vq_plugin_pass p[] = {{$1, \"help\", run, o, sizeof o / sizeof *o}};
static const vq_plugin t = {${3:-VQ_PLUGIN_ABI}, ${4:-sizeof t}, sizeof *p, sizeof *o,
  \"bad\", \"1\", p, sizeof p / sizeof *p};
const vq_plugin *vq_plugin_query(uint32_t a) { return a ? &t : NULL; }"
}
fine='{"n", "help", VQ_OPTION_IS_INT, "1", NULL}'
refused "plugin interface 7, expected 1" "$(table '"mine"' "$fine" 7)"
refused "table is not complete" "$(table '"mine"' "$fine" 1 16)"
refused "there is a pass 'cse' already" "$(table '"cse"' "$fine")"
refused "pass 0 of plugin 'bad' is not complete" "$(table '"Not A Name"' "$fine")"
refused "option 0 of pass 'mine' is not complete" \
  "$(table '"mine"' '{"n", 0, VQ_OPTION_IS_INT, "1", NULL}')"
refused "option 'n' of pass 'mine' is 'x' when not given, expected an integer" \
  "$(table '"mine"' '{"n", "help", VQ_OPTION_IS_INT, "x", NULL}')"

# fails WHAT STATEMENTS: a pass that does this fails with WHAT.
fails() {
  cat >wrong.c <<EOF
#include <vq/plugin.h>
static int run(const vq_host *host, vq_call *call) {
  vq_func *f = host->function(call, "main");
  vq_op *op = host->first_op(f), *last = op;
  while (host->next_op(last)) last = host->next_op(last);
  vq_value *x = host->operand(op, 0), *y = host->operand(last, 0);
  vq_attr a = {.name = "axis", .kind = VQ_ATTR_IS_INT};
  double d[1];
  (void)x, (void)y, (void)a, (void)d;
  $2
  return 0;
}
static const vq_plugin_pass p[] = {{"wrong", "help", run, NULL, 0}};
static const vq_plugin t = {1, sizeof t, sizeof *p, sizeof(vq_plugin_option), "wrong", "1",
                            p, 1};
const vq_plugin *vq_plugin_query(uint32_t a) { return a ? &t : NULL; }
EOF
  plugin cc wrong.c wrong.so
  if vitqc page/sub.vq -q --load-pass-plugin=./wrong.so --passes=wrong --emit=ir \
    -o wrong.vq 2>err; then
    die "no failure: $1"
  fi
  grep -q "error: .*$1" err || { cat err; die "expected: $1"; }
  [ ! -e wrong.vq ] || die "an output was written"
}

say "wrong calls"
fails "pass 'wrong' failed" 'return 1;'
fails "found a bad day" 'host->report(call, VQ_LEVEL_ERROR, op, "found a bad day");'
fails "no option 'depth'" 'host->option_int(call, "depth");'
fails "a new op 'neg' has no place" 'host->build(call, NULL, "neg", 1, &x, 0, NULL, "");'
fails "no op 'frobnicate'" 'host->build(call, op, "frobnicate", 1, &x, 0, NULL, "");'
fails "op 'neg' has no attribute 'axis'" 'host->build(call, op, "neg", 1, &x, 1, &a, "");'
fails "attribute 'axis' of op 'softmax' is an integer" \
  'a.kind = VQ_ATTR_IS_TEXT; host->build(call, op, "softmax", 1, &x, 1, &a, "");'
fails "still used" 'host->erase(call, op);'
fails "ends its function" 'host->erase(call, last);'
fails "this is no constant" 'host->read_constant(call, x, 0, 1, d);'
fails "has no type" 'host->constant(call, "c", "f33", 0, NULL, d);'
fails "2 operands, operand 5 was to be set" 'host->set_operand(call, op, 5, x);'
fails "there are 0 samples, number 3 was wanted" 'float s[4]; host->sample(call, 3, s);'
fails "used before\|before its definition\|not defined" 'host->set_operand(call, op, 0, y);'
echo "plugins: all passed with $compilers"
