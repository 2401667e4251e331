// vitqc inspect: what a file is and what is in it.
#include <inttypes.h>
#include <sys/stat.h>

#include "compile.h"
#include "machine.h"

static void print_file_size(FILE *out, const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) return;
  vq_strbuf text = {0};
  add_bytes(&text, (double)st.st_size);
  fprintf(out, "file         %s\n", text.p);
  vq_strbuf_release(&text);
}

static void print_count(FILE *out, const char *what, double n, const char *unit) {
  vq_strbuf text = {0};
  add_count(&text, n);
  fprintf(out, "%-12s %s%s\n", what, text.p, unit);
  vq_strbuf_release(&text);
}

// ---- modules --------------------------------------------------------------------

static void print_value(FILE *out, const char *what, vq_str name, const vq_type *t) {
  vq_strbuf text = {0};
  vq_strbuf_escaped(&text, name);
  vq_strbuf_puts(&text, ": ");
  vq_type_print(&text, t);
  fprintf(out, "%-12s %s\n", what, text.p);
  vq_strbuf_release(&text);
}

// Most frequent first; among equals in the order of the op table.
static void print_ops(FILE *out, const vq_func *f) {
  int64_t count[VQ_N_OPS] = {0};
  count_ops(f, count);
  fprintf(out, "%-12s", "ops");
  for (;;) {
    unsigned best = 0;
    for (unsigned i = 1; i < VQ_N_OPS; i++)
      if (count[i] > count[best]) best = i;
    if (count[best] == 0) break;
    fprintf(out, " %s %" PRId64, vq_op_info((vq_opcode)best)->name, count[best]);
    count[best] = 0;
  }
  fputc('\n', out);
}

static void print_meta(FILE *out, const vq_module *m) {
  for (const vq_meta *e = m->meta; e; e = e->next) {
    vq_strbuf text = {0};
    if (vq_str_is(e->key, "labels")) {
      int64_t n = 1;
      for (size_t i = 0; i < e->value.n; i++) n += e->value.p[i] == '\n';
      vq_strbuf_printf(&text, "%" PRId64 " class names", n);
    } else {
      vq_strbuf_printf(&text, "%.*s = ", VQ_FMT(e->key));
      vq_strbuf_escaped(&text, e->value);
    }
    fprintf(out, "%-12s %s\n", "fact", text.p);
    vq_strbuf_release(&text);
  }
}

static void print_onnx(FILE *out, const vq_onnx_summary *s) {
  fprintf(out, "ONNX model, IR version %" PRId64 ", opset %" PRId64, s->ir_version,
         s->opset);
  if (s->producer.n) fprintf(out, ", by %.*s", VQ_FMT(s->producer));
  fprintf(out, "\nnodes        %u, %u initializers\n", s->n_node, s->n_initializer);
  fprintf(out, "batch        %" PRId64 "%s\n", s->batch,
         s->batch_baked ? ", fixed by the model" : ", free");
}

static int inspect_module(driver *d, const char *path) {
  FILE *out = d->out;
  loaded l;
  if (load_model(d, path, &l)) return EXIT_ERROR;
  const vq_func *f = vq_module_func(l.m, VQ_LIT("main"));
  if (l.kind == FILE_ONNX)
    print_onnx(out, &l.summary);
  else
    fprintf(out, "IR text, module \"%.*s\"%s%s\n", VQ_FMT(l.m->name),
           l.m->props & VQ_PROP_OUTLINED ? ", outlined" : "",
           l.m->props & VQ_PROP_PLANNED ? ", planned" : "");
  print_file_size(out, path);
  model_size size = measure_module(l.m);
  double batch = (double)(size.batch ? size.batch : 1);
  print_count(out, "parameters", (double)size.n_param, "");
  print_count(out, "MACs", (double)size.macs / batch, " a sample");
  for (uint32_t i = 0; f && i < f->n_arg; i++)
    print_value(out, "input", f->arg[i].name, f->arg[i].type);
  for (uint32_t i = 0; f && i < f->n_result; i++)
    print_value(out, "output", f->result_name[i], f->result[i]);
  if (f) print_ops(out, f);
  print_meta(out, l.m);
  loaded_release(&l);
  return EXIT_GOOD;
}

// ---- compiled models ------------------------------------------------------------

static const char *const dtype_name[] = {"f32", "i64", "i32", "i16", "i8",
                                         "u8",  "i4",  "u4",  "bool", "bf16"};

static void print_tensor(FILE *out, const char *what, const vitq_tensor_info *t) {
  vq_strbuf text = {0};
  vq_strbuf_escaped(&text, vq_str_of(t->name));
  vq_strbuf_puts(&text, ": tensor<");
  for (unsigned i = 0; i < t->rank; i++)
    vq_strbuf_printf(&text, "%s%" PRId64, i ? "x" : "", t->dim[i]);
  fprintf(out, "%-12s %s%s%s>\n", what, text.p, t->rank ? ", " : "",
         dtype_name[t->dtype]);
  vq_strbuf_release(&text);
}

static void print_list(FILE *out, const char *key, const float *v, unsigned n) {
  fprintf(out, " %s=", key);
  for (unsigned i = 0; i < n; i++) fprintf(out, "%s%g", i ? "," : "", (double)v[i]);
}

static void print_preprocess(FILE *out, const vitq_preprocess *p) {
  static const char *const interp[] = {"nearest", "bilinear", "bicubic"};
  if (!p->stated) return;
  unsigned n = p->channels >= 1 && p->channels <= 4 ? p->channels : 1;
  fprintf(out, "%-12s scale=%g", "preprocess", (double)p->scale);
  print_list(out, "mean", p->mean, n);
  print_list(out, "std", p->std, n);
  fprintf(out, " resize=%u crop=%u interp=%s\n", p->resize, p->crop,
         p->interp < 3 ? interp[p->interp] : "?");
}

static void print_variants(FILE *out, const vitq_handle *h) {
  const vitq_model *m = vitq_describe(h);
  const char *used = vitq_variant_name(h);
  fprintf(out, "%-12s", "variants");
  for (uint32_t i = 0; i < m->n_variant; i++)
    fprintf(out, " %s%s", m->variant[i].name,
           strcmp(m->variant[i].name, used) == 0 ? " (in use)" : "");
  fputc('\n', out);
}

static void print_bytes(FILE *out, const char *what, double n) {
  vq_strbuf text = {0};
  add_bytes(&text, n);
  fprintf(out, "%-12s %s\n", what, text.p);
  vq_strbuf_release(&text);
}

static void print_model(FILE *out, const vitq_handle *h, const char *path) {
  const vitq_model *m = vitq_describe(h);
  int64_t macs = 0;
  for (uint32_t i = 0; i < m->n_step; i++)
    macs += m->kernel[m->step[i].kernel].macs;
  fprintf(out, "compiled model \"%s\", by %s, ABI version %u\n", m->name, m->compiler,
         m->abi_version);
  print_file_size(out, path);
  print_bytes(out, "constants", (double)m->constant_bytes);
  print_bytes(out, "arena", (double)m->arena_bytes);
  print_bytes(out, "workspace", (double)vitq_workspace_size(h, 1));
  print_count(out, "MACs", (double)macs / m->batch, " a sample");
  fprintf(out, "steps        %u, %u kernels, batch %u\n", m->n_step, m->n_kernel,
         m->batch);
  print_variants(out, h);
  for (uint32_t i = 0; i < m->n_input; i++) print_tensor(out, "input", &m->input[i]);
  for (uint32_t i = 0; i < m->n_output; i++) print_tensor(out, "output", &m->output[i]);
  print_preprocess(out, m->preprocess);
  if (m->n_label) fprintf(out, "labels       %u\n", m->n_label);
  for (uint32_t i = 0; i < m->n_meta; i++) {
    vq_strbuf text = {0};
    vq_strbuf_escaped(&text, vq_str_of(m->meta[2 * i + 1]));
    fprintf(out, "%-12s %s = %s\n", "fact", m->meta[2 * i], vq_strbuf_z(&text));
    vq_strbuf_release(&text);
  }
}

static int inspect_compiled(driver *d, const char *path) {
  vitq_handle *h;
  vitq_status s = vitq_open(path, &h);
  if (s) {
    vq_error(&d->diag, VQ_E_model, at_path(d, path), "%s: %s",
             vitq_status_text(s), vitq_last_error());
    return EXIT_ERROR;
  }
  print_model(d->out, h, path);
  vitq_close(h);
  return EXIT_GOOD;
}

int do_inspect(driver *d) {
  file_kind kind;
  if (d->opt.n_file != 1)
    return usage_error(d, "expected one file to inspect, found %u",
                       d->opt.n_file);
  const char *path = d->opt.file[0];
  if (file_sniff(d, path, &kind)) return EXIT_ERROR;
  return kind == FILE_ELF ? inspect_compiled(d, path) : inspect_module(d, path);
}
