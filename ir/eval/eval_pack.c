// Layouts of weights: pack_weight, and reading what it made.
//
// panel16 has one element after the other of 16 rows of w; panel16x4 has them four
// at a time, for codes, and panel16x8 eight at a time, in pairs four apart: as i4
// a byte holds an element of one group of four in its low half and that of the next
// group in its high half.
#include "eval/eval_ops.h"

#include <stdlib.h>

#define PANEL 16

static bool is_x4(vq_str layout) { return vq_str_is(layout, "panel16x4"); }
static bool is_x8(vq_str layout) { return vq_str_is(layout, "panel16x8"); }

// Of element i of row 0 of a panel: how far from its start, and from the next row's.
static int64_t offset_x4(int64_t i) { return i / 4 * 4 * PANEL + i % 4; }
static int64_t offset_x8(int64_t i) {
  return i / 8 * 8 * PANEL + i % 4 * 2 + i / 4 % 2;
}

double *vq_weight_panels(const vq_tensor *w, vq_str layout, int64_t k, int64_t n) {
  vq_dtype t = w->type->dtype;
  int64_t n_panel = (n + PANEL - 1) / PANEL, unit = is_x4(layout) ? 4 : 8;
  if (!is_x4(layout) && !is_x8(layout)) {
    bool packed = vq_str_is(layout, "panel16");
    vq_mat m = {t, w->data, 0, PANEL * k, packed ? 1 : k, packed ? PANEL : 1, k, n};
    return vq_gemm_pack(&m);
  }
  int64_t panel = (k + unit - 1) / unit * unit * PANEL;
  double *panels = vq_eval_alloc((size_t)(n_panel * k * PANEL), sizeof *panels);
  for (int64_t p = 0; p < n_panel; p++)
    for (int64_t i = 0; i < k; i++)
      vq_load_f64_n(t, w->data, p * panel + (unit == 4 ? offset_x4(i) : offset_x8(i)),
                    unit, PANEL, panels + (p * k + i) * PANEL);
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

// Codes of a byte, four at a time.
static void pack_bytes(const vq_tensor *in, vq_tensor *out, int64_t n, int64_t k) {
  int64_t panel = out->type->dim[1] * 4 * PANEL;
  for (int64_t o = 0; o < n; o++) {
    const char *from = (const char *)in->data + o * k;
    char *to = (char *)out->data + o / PANEL * panel + o % PANEL * 4;
    for (int64_t i = 0; i < k; i += 4)
      memcpy(to + i * PANEL, from + i, (size_t)(k - i < 4 ? k - i : 4));
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
    for (int64_t i = 0; i < k; i++) {
      int64_t at = unit == 4 ? offset_x4(i) : offset_x8(i);
      vq_store_f64(t, out->data, o / PANEL * panel + o % PANEL * unit + at,
                   vq_load_f64(t, in->data, o * k + i));
    }
}

vq_status vq_eval_pack_weight(const vq_op *op, const vq_tensor *in,
                              vq_tensor *out, vq_diag *diag) {
  (void)diag;
  vq_str layout = VQ_ATTRS(op, pack_weight)->layout;
  int64_t n = in->type->dim[0], k = in->type->dim[1];
  unsigned bits = vq_dtype_bits(in->type->dtype);
  memset(out->data, 0, (size_t)vq_type_bytes(out->type));
  if (is_x4(layout) && bits == 8)
    pack_bytes(in, out, n, k);
  else if (is_x8(layout) && bits == 4)
    pack_nibbles(in, out, n, k);
  else if (is_x4(layout) || is_x8(layout))
    pack_any(in, out, n, k, is_x4(layout) ? 4 : 8);
  else
    pack16(in, out, n, k);
  return VQ_OK;
}
