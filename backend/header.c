// Declaring <symbol>_run for plain C and C++ callers.
#include "header.h"

#include <ctype.h>

static const char *c_type(vq_dtype t) {
  switch (t) {
    case VQ_f32: return "float";
    case VQ_i64: return "int64_t";
    case VQ_i32: return "int32_t";
    case VQ_i16: return "int16_t";
    case VQ_i8: return "int8_t";
    case VQ_u8: return "uint8_t";
    case VQ_i4: return "two signed 4-bit codes a byte, low nibble first";
    case VQ_u4: return "two unsigned 4-bit codes a byte, low nibble first";
    case VQ_bool: return "uint8_t, 0 or 1";
    case VQ_bf16: return "uint16_t, the upper half of a float";
    case VQ_f64:
    case VQ_N_DTYPES: break;
  }
  return "";
}

// Comments may hold names from the model: nothing in them may end the comment.
static void add_name(vq_strbuf *out, vq_str name) {
  for (size_t i = 0; i < name.n; i++) {
    unsigned char c = (unsigned char)name.p[i];
    vq_strbuf_putc(out, isalnum(c) || strchr("_.-+:", c) ? (char)c : '_');
  }
}

static void add_tensor(vq_strbuf *out, const char *upper, const char *kind,
                       unsigned i, vq_str name, const vq_type *t,
                       int64_t batch) {
  vq_strbuf_printf(out, "\n/* %s %u", kind, i);
  if (name.n) {
    vq_strbuf_puts(out, ", ");
    add_name(out, name);
  }
  vq_strbuf_printf(out, ": %s, shape", c_type(t->dtype));
  for (unsigned k = 0; k < t->rank; k++)
    vq_strbuf_printf(out, "%s%lld", k ? "x" : " ", (long long)t->dim[k]);
  vq_strbuf_printf(out, " */\n#define %s_%s%u_BYTES %lld\n", upper,
                   strcmp(kind, "input") ? "OUTPUT" : "INPUT", i,
                   (long long)(vq_type_bytes(t) / batch));
}

static void add_tensors(vq_strbuf *out, const vq_layout *l, const char *upper) {
  const vq_func *f = l->main;
  vq_strbuf_printf(out,
                   "#define %s_INPUTS %u\n#define %s_OUTPUTS %u\n"
                   "#define %s_BATCH %lld /* samples computed together */\n"
                   "\n/* Sizes are bytes of one sample. */\n",
                   upper, f->n_arg, upper, f->n_result, upper,
                   (long long)l->batch);
  for (unsigned i = 0; i < f->n_arg; i++)
    add_tensor(out, upper, "input", i, f->arg[i].name, f->arg[i].type, l->batch);
  for (unsigned i = 0; i < f->n_result; i++)
    add_tensor(out, upper, "output", i, f->result_name[i], f->result[i],
               l->batch);
}

void vq_header_write(vq_strbuf *out, const vq_layout *l) {
  vq_strbuf up = {0};
  for (const char *p = l->symbol; *p; p++)
    vq_strbuf_putc(&up, (char)toupper((unsigned char)*p));
  const char *upper = vq_strbuf_z(&up), *s = l->symbol;
  vq_strbuf_puts(out, "/* Compiled by vitqc from model ");
  add_name(out, l->m->name);
  vq_strbuf_printf(out,
                   ". */\n#ifndef %s_MODEL_H\n#define %s_MODEL_H\n\n"
                   "#include <stddef.h>\n#include <stdint.h>\n\n"
                   "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
                   upper, upper);
  add_tensors(out, l, upper);
  vq_strbuf_printf(out,
                   "\n/* Bytes of workspace %s_run needs, aligned to 64. */\n"
                   "size_t %s_workspace(void);\n\n"
                   "/* Runs n samples on the calling thread: in[i] holds n times"
                   " the bytes of input\n * i, out[i] takes as many of output i."
                   " Any number of threads may run at once,\n * each with its own"
                   " workspace. Returns 0, or a vitq_status of vitq.h. */\n"
                   "int %s_run(int64_t n, const void *const *in, void *const"
                   " *out,\n    void *workspace);\n\n"
                   "/* The description, for vitq_open_model(%s_query("
                   "VITQ_ABI_VERSION), ...). */\n"
                   "const struct vitq_model *%s_query(uint32_t max_version);\n\n"
                   "#ifdef __cplusplus\n}\n#endif\n#endif\n",
                   s, s, s, s, s);
  vq_strbuf_release(&up);
}
