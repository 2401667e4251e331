// Compiled programs against the interpreter; what output files hold; failures.
#include <dlfcn.h>
#include <sys/stat.h>

#include "compiled.h"

// ---- kernels of several ops ------------------------------------------------------

static const char *const programs[] = {
    // A chain, a broadcast, a view, a constant and a tensor returned twice.
    "vq 1\nmodule \"chain\"\n"
    "const @w : tensor<7x5, f32> = random<seed = 3, std = 0.5>\n"
    "func @main(%x: tensor<3x7, f32>, %c: tensor<1x5, f32>)"
    " -> (a: tensor<3x5, f32>, b: tensor<15, f32>, c: tensor<1x5, f32>,"
    " d: tensor<3x5, f32>) {\n"
    "  %0 = matmul %x, @w : tensor<3x5, f32>\n"
    "  %1 = add %0, %c : tensor<3x5, f32>\n"
    "  %2 = gelu %1 : tensor<3x5, f32>\n"
    "  %3 = reshape %2 {shape = [15]} : tensor<15, f32>\n"
    "  %4 = mul %3, %3 : tensor<15, f32>\n"
    "  return %2, %4, %c, %2\n}\n",
    // A kernel of two heavy ops, inline movement and two results.
    "vq 1\nmodule \"fused\"\n"
    "kernel @k(%a: tensor<5x7, f32>, %b: tensor<5x9, f32>)"
    " -> (tensor<5x5, f32>, tensor<7x5, f32>) {\n"
    "  %t = transpose %a {perm = [1, 0]} : tensor<7x5, f32>\n"
    "  %e = exp %t : tensor<7x5, f32>\n"
    "  %m = matmul %a, %e : tensor<5x5, f32>\n"
    "  %s = softmax %m : tensor<5x5, f32>\n"
    "  %l = slice %b {begin = [0, 2], size = [5, 5]} : tensor<5x5, f32>\n"
    "  %y = add %s, %l : tensor<5x5, f32>\n"
    "  return %y, %e\n}\n"
    "func @main(%a: tensor<5x7, f32>, %b: tensor<5x9, f32>)"
    " -> (y: tensor<5x5, f32>, e: tensor<7x5, f32>) {\n"
    "  %y, %e = call @k(%a, %b) : tensor<5x5, f32>,"
    " tensor<7x5, f32>\n"
    "  return %y, %e\n}\n",
    // Nibbles between ops of one kernel, an argument returned, a constant used
    // inside the kernel.
    "vq 1\nmodule \"nibbles\"\n"
    "const @three : tensor<i4> = dense<[3]>\n"
    "kernel @k(%a: tensor<3x5, i4>) -> (tensor<3x5, i4>, tensor<3x5, i4>,"
    " tensor<3, i4>) {\n"
    "  %b = add %a, @three : tensor<3x5, i4>\n"
    "  %c = mul %b, %a : tensor<3x5, i4>\n"
    "  %s = reduce_sum %c {axes = [1], keep = false} : tensor<3, i4>\n"
    "  return %c, %a, %s\n}\n"
    "func @main(%a: tensor<3x5, i4>) -> (c: tensor<3x5, i4>, a: tensor<3x5, i4>,"
    " s: tensor<3, i4>) {\n"
    "  %c, %d, %s = call @k(%a) : tensor<3x5, i4>,"
    " tensor<3x5, i4>, tensor<3, i4>\n"
    "  return %c, %d, %s\n}\n",
    // Empty tensors.
    "vq 1\nmodule \"empty\"\n"
    "func @main(%a: tensor<0x3, f32>, %b: tensor<2x0, f32>)"
    " -> (x: tensor<0x3, f32>, s: tensor<2, f32>, m: tensor<2x3, f32>,"
    " p: tensor<1x3, f32>, q: tensor<0x3, f32>) {\n"
    "  %x = exp %a : tensor<0x3, f32>\n"
    "  %s = reduce_sum %b {axes = [1], keep = false} : tensor<2, f32>\n"
    "  %m = matmul %b, %a : tensor<2x3, f32>\n"
    "  %p = pad %a {lo = [1, 0], hi = [0, 0], value = 2} : tensor<1x3, f32>\n"
    "  %q = softmax %a : tensor<0x3, f32>\n"
    "  return %x, %s, %m, %p, %q\n}\n",
};

START_TEST(programs_run) {
  vq_module *m = parse(programs[_i]);
  check_all(m, NULL);
  vq_module_destroy(m);
}
END_TEST

// ---- what a file holds -------------------------------------------------------------

static vq_module *lowered(unsigned program) {
  vq_module *m = parse(programs[program]);
  OK(lower(NULL, m, VQ_LIT("main"), &diag));
  return m;
}

static char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s", path);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *p = calloc(1, *n + 1);
  ck_assert_uint_eq(fread(p, 1, *n, f), *n);
  fclose(f);
  return p;
}

static const struct form {
  vq_emit_kind kind;
  const char *starts, *holds;
} forms[] = {
    {VQ_EMIT_LLVM, "; ModuleID = 'chain'", "@chain.matmul_3x5.avx512vnni"},
    {VQ_EMIT_BC, "BC", ""},
    {VQ_EMIT_ASM, "\t.text", "chain.matmul_3x5.x86_64_v3"},
    {VQ_EMIT_OBJ, "\177ELF", ""},
    {VQ_EMIT_ARCHIVE, "!<arch>\n/", ""},
    {VQ_EMIT_SO, "\177ELF", ""},
    {VQ_EMIT_HEADER, "/* Compiled by vitqc", "int chain_run("},
};

START_TEST(two_builds_are_equal) {
  const struct form *f = &forms[_i];
  size_t n[2];
  char *text[2];
  for (unsigned i = 0; i < 2; i++) {
    vq_module *m = lowered(0);
    vq_backend_options opt = options();
    opt.n_thread = i ? 1 : 5;
    const char *path = in_dir(i ? "a.out" : "another name");
    OK(vq_backend_emit(m, f->kind, path, &opt, &diag));
    text[i] = slurp(path, &n[i]);
    vq_module_destroy(m);
  }
  ck_assert_uint_eq(n[0], n[1]);
  ck_assert_mem_eq(text[0], text[1], n[0]);
  ck_assert_mem_eq(text[0], f->starts, strlen(f->starts));
  ck_assert_ptr_nonnull(strstr(text[0], *f->holds ? f->holds : text[0]));
  for (unsigned i = 0; i < 2; i++) free(text[i]);
}
END_TEST

// The C entry point from a shared object and, two models in one program, from
// archives.
START_TEST(c_programs_can_call_models) {
  static const char source[] =
      "#include \"chain.h\"\n#include \"fused.h\"\n#include <stdlib.h>\n"
      "int main(void) {\n"
      "  float x[21] = {1}, c[5] = {0}, a[15], b[15], d[5], e[15];\n"
      "  const void *in[] = {x, c};\n  void *out[] = {a, b, d, e};\n"
      "  void *ws = aligned_alloc(64, (chain_workspace() + 63) / 64 * 64 + 64);\n"
      "  return chain_run(1, in, out, ws) || a[0] != e[0] ||"
      " fused_workspace() == 0 || CHAIN_INPUT0_BYTES != sizeof x;\n}\n";
  vq_backend_options opt = options();
  for (unsigned i = 0; i < 2; i++) {
    vq_module *m = lowered(i);
    OK(vq_backend_emit(m, VQ_EMIT_ARCHIVE, in_dir(i ? "f.a" : "c.a"), &opt, &diag));
    OK(vq_backend_emit(m, VQ_EMIT_HEADER, in_dir(i ? "fused.h" : "chain.h"), &opt,
                       &diag));
    vq_module_destroy(m);
  }
  FILE *f = fopen(in_dir("p.c"), "w");
  fputs(source, f);
  fclose(f);
  char line[2048];
  snprintf(line, sizeof line,
           "cd %s && cc -std=c11 -Wall -Werror p.c c.a f.a %s -lm -lpthread -o p"
           " && ./p", dir, TEST_RUNTIME_LIB);
  ck_assert_int_eq(system(line), 0);
}
END_TEST

START_TEST(a_library_exports_its_entries_only) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  opt.symbol = "net";
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  void *lib = dlopen(in_dir("m.so"), RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(lib != NULL, "%s", dlerror());
  ck_assert_ptr_nonnull(dlsym(lib, "net_run"));
  ck_assert_ptr_nonnull(dlsym(lib, "net_query"));
  ck_assert_ptr_nonnull(dlsym(lib, "net_workspace"));
  ck_assert_ptr_nonnull(dlsym(lib, VITQ_QUERY_SYMBOL));
  ck_assert_ptr_null(dlsym(lib, "net_constants"));
  ck_assert_ptr_null(dlsym(lib, "vitq_rt_run_model"));
  dlclose(lib);
}
END_TEST

START_TEST(meta_travels) {
  vq_module *m = parse(programs[0]);
  vq_meta_set(m, "preprocess.scale", VQ_LIT("0.00392156886"));
  vq_meta_set(m, "preprocess.mean", VQ_LIT("0.5,0.25,0.125"));
  vq_meta_set(m, "preprocess.std", VQ_LIT("2"));
  vq_meta_set(m, "preprocess.crop", VQ_LIT("224"));
  vq_meta_set(m, "preprocess.interp", VQ_LIT("bilinear"));
  vq_meta_set(m, "labels", VQ_LIT("cat\ndog\r\nold boot\n"));
  vq_meta_set(m, "producer", VQ_LIT("pytorch"));
  OK(lower(NULL, m, VQ_LIT("main"), &diag));
  vq_backend_options opt = options();
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  vitq_handle *h;
  ck_assert_int_eq(vitq_open(in_dir("m.so"), &h), VITQ_OK);
  const vitq_model *d = vitq_describe(h);
  ck_assert_str_eq(d->name, "chain");
  ck_assert_uint_eq(d->preprocess->stated, 1);
  ck_assert_uint_eq(d->preprocess->crop, 224);
  ck_assert_uint_eq(d->preprocess->interp, 1);
  ck_assert(d->preprocess->mean[1] == 0.25f && d->preprocess->std[3] == 2.0f);
  ck_assert_uint_eq(d->n_label, 3);
  ck_assert_str_eq(d->label[1], "dog");
  ck_assert_uint_eq(d->n_meta, 1);
  ck_assert_str_eq(d->meta[1], "pytorch");
  ck_assert_uint_eq((uintptr_t)d->constants % 64, 0);
  ck_assert_str_eq(d->input[1].name, "c");
  vitq_close(h);
}
END_TEST

// ---- failing -----------------------------------------------------------------------

static void expect_failure(vq_module *m, vq_emit_kind kind, const char *path,
                           const vq_backend_options *opt, const char *text) {
  uint32_t before = diag.n_error;
  vq_strbuf_clear(&messages);
  ck_assert_int_eq(vq_backend_emit(m, kind, path, opt, &diag), VQ_ERR);
  ck_assert_uint_eq(diag.n_error, before + 1);
  ck_assert_msg(strstr(vq_strbuf_z(&messages), text) != NULL, "%s",
                vq_strbuf_z(&messages));
}

static unsigned count_files(void) {
  unsigned n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

START_TEST(failures_leave_no_file) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  expect_failure(m, VQ_EMIT_SO, in_dir("none/m.so"), &opt, "cannot create");
  expect_failure(m, VQ_EMIT_OBJ, dir, &opt, "Is a directory");
  expect_failure(m, VQ_EMIT_SO, "/dev/null", &opt, "not a regular file");
  opt.linker = "no-such-linker";
  expect_failure(m, VQ_EMIT_SO, in_dir("m.so"), &opt, "cannot run the linker");
  opt.linker = "false";
  expect_failure(m, VQ_EMIT_SO, in_dir("m.so"), &opt, "exit code 1");
  opt = options();
  opt.triple = "riscv64-linux-gnu";
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "unknown target");
  opt.triple = NULL;
  opt.cpu = "z80";
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "x86-64-v3");
  vq_module_destroy(m);
  m = parse(programs[0]);
  opt = options();
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "not lowered");
  vq_meta_set(m, "preprocess.mean", VQ_LIT("0.5,oops"));
  OK(lower(NULL, m, VQ_LIT("main"), &diag));
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "preprocess.mean");
  vq_module_destroy(m);
  ck_assert_uint_eq(count_files(), 0);
}
END_TEST

START_TEST(one_cpu_alone) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  opt.cpu = "x86-64";
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  vitq_handle *h;
  ck_assert_int_eq(vitq_open(in_dir("m.so"), &h), VITQ_OK);
  ck_assert_uint_eq(vitq_describe(h)->n_variant, 1);
  ck_assert_str_eq(vitq_variant_name(h), "x86-64");
  vitq_close(h);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("backend");
  tcase_add_loop_test(t, programs_run, 0, VQ_COUNT(programs));
  tcase_add_loop_test(t, two_builds_are_equal, 0, VQ_COUNT(forms));
  tcase_add_test(t, c_programs_can_call_models);
  tcase_add_test(t, a_library_exports_its_entries_only);
  tcase_add_test(t, meta_travels);
  tcase_add_test(t, failures_leave_no_file);
  tcase_add_test(t, one_cpu_alone);
  return run_tests(t, "backend");
}
