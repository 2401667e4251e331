// Layouts of weights: pack_weight, and reading what it made.
//
// panel16 has one element after the other of 16 rows of w; panel16x2 has them in pairs,
// for bf16, panel16x4 four at a time, for codes, and panel16x8 eight at a time, in pairs
// four apart: as i4 a byte holds an element of one group of four in its low half and that
// of the next group in its high half.
#include "eval/eval_ops.h"

#include <stdlib.h>

#define PANEL 16

// Elements of a row that lie side by side.
static int64_t unit_of(vq_str layout) {
  return vq_str_is(layout, "panel16x2")   ? 2
         : vq_str_is(layout, "panel16x4") ? 4
         : vq_str_is(layout, "panel16x8") ? 8
                                          : 1;
}

// Of element i of row 0 of a panel: how far from its start. The next row's is `unit` behind.
static int64_t offset(int64_t i, int64_t unit) {
  int64_t at = i / unit * unit * PANEL;
  return unit == 8 ? at + i % 4 * 2 + i / 4 % 2 : at + i % unit;
}

double *vq_weight_panels(const vq_tensor *w, vq_str layout, int64_t k, int64_t n) {
  vq_dtype t = w->type->dtype;
  int64_t n_panel = (n + PANEL - 1) / PANEL, unit = unit_of(layout);
  if (unit == 1) {
    bool packed = vq_str_is(layout, "panel16");
    vq_mat m = {t, w->data, 0, PANEL * k, packed ? 1 : k, packed ? PANEL : 1, k, n};
    return vq_gemm_pack(&m);
  }
  int64_t panel = (k + unit - 1) / unit * unit * PANEL;
  double *panels = vq_eval_alloc((size_t)(n_panel * k * PANEL), sizeof *panels);
  for (int64_t p = 0; p < n_panel; p++)
    for (int64_t i = 0; i < k; i++)
      vq_load_f64_n(t, w->data, p * panel + offset(i, unit), unit, PANEL,
                    panels + (p * k + i) * PANEL);
  return panels;
}

// ---- pack_weight -------------------------------------------------------------------

// Moves an element of `size` bytes; weights of a file may have any alignment.
#define PACK(size)                                                          \
  for (int64_t p = 0; p < n_panel; p++)                                     \
    for (int64_t i = 0; i < k; i++)                                         \
      for (int64_t r = 0; r < PANEL && p * PANEL + r < n; r++)              \
        memcpy((char *)out->data + ((p * k + i) * PANEL + r) * (size),      \
               (const char *)in->data + ((p * PANEL + r) * k + i) * (size), \
               (size))

static void pack16(const vq_tensor *in, vq_tensor *out, int64_t n, int64_t k) {
  int64_t n_panel = out->type->dim[0];
  vq_dtype t = in->type->dtype;
  switch (vq_dtype_bits(t)) {
    case 8: PACK(1); break;
    case 16: PACK(2); break;
    case 32: PACK(4); break;
    case 64: PACK(8); break;
    default:
      for (int64_t o = 0; o < n; o++)
        for (int64_t i = 0; i < k; i++)
          vq_store_f64(t, out->data, (o / PANEL * k + i) * PANEL + o % PANEL,
                       vq_load_f64(t, in->data, o * k + i));
  }
}
#undef PACK

// Elements of `size` bytes, `unit` of them at a time.
static void pack_units(const vq_tensor *in, vq_tensor *out, int64_t n, int64_t k,
                       int64_t unit, int64_t size) {
  int64_t panel = out->type->dim[1] * unit * PANEL;
  for (int64_t o = 0; o < n; o++) {
    const char *from = (const char *)in->data + o * k * size;
    char *to = (char *)out->data + (o / PANEL * panel + o % PANEL * unit) * size;
    for (int64_t i = 0; i < k; i += unit)
      memcpy(to + i * PANEL * size, from + i * size,
             (size_t)((k - i < unit ? k - i : unit) * size));
  }
}

// Codes of four bits, eight at a time; out is zero before.
static void pack_nibbles(const vq_tensor *in, vq_tensor *out, int64_t n, int64_t k) {
  const uint8_t *from = in->data;
  int64_t panel = out->type->dim[1] * 4 * PANEL;
  for (int64_t o = 0; o < n; o++) {
    uint8_t *to = (uint8_t *)out->data + o / PANEL * panel + o % PANEL * 4;
    for (int64_t i = 0, at = o * k; i < k; i++, at++) {
      unsigned code = (unsigned)from[at / 2] >> at % 2 * 4 & 15;
      to[i / 8 * 4 * PANEL + i % 4] |= (uint8_t)(code << i / 4 % 2 * 4);
    }
  }
}

static void pack_any(const vq_tensor *in, vq_tensor *out, int64_t n, int64_t k,
                     int64_t unit) {
  vq_dtype t = in->type->dtype;
  int64_t panel = out->type->dim[1] * unit * PANEL;
  for (int64_t o = 0; o < n; o++)
    for (int64_t i = 0; i < k; i++)
      vq_store_f64(t, out->data, o / PANEL * panel + o % PANEL * unit + offset(i, unit),
                   vq_load_f64(t, in->data, o * k + i));
}

vq_status vq_eval_pack_weight(const vq_op *op, const vq_tensor *in,
                              vq_tensor *out, vq_diag *diag) {
  (void)diag;
  int64_t unit = unit_of(VQ_ATTRS(op, pack_weight)->layout);
  int64_t n = in->type->dim[0], k = in->type->dim[1];
  unsigned bits = vq_dtype_bits(in->type->dtype);
  memset(out->data, 0, (size_t)vq_type_bytes(out->type));
  if (unit == 1)
    pack16(in, out, n, k);
  else if (unit == 8 && bits == 4)
    pack_nibbles(in, out, n, k);
  else if (unit < 8 && bits >= 8)
    pack_units(in, out, n, k, unit, bits / 8);
  else
    pack_any(in, out, n, k, unit);
  return VQ_OK;
}
