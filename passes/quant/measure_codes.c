// Ranges, histograms and codes of values, for reports.
#include "quant/measure_codes.h"

#include <math.h>
#include <stdlib.h>

// ---- ranges -------------------------------------------------------------------------

vq_seen_range vq_seen_range_new(int64_t n, vq_arena *arena) {
  return (vq_seen_range){VQ_NEW_N(arena, float, (size_t)n), VQ_NEW_N(arena, float, (size_t)n),
                         n};
}

static void widen(vq_seen_range *r, int64_t channel, float x) {
  r->lo[channel] = fminf(r->lo[channel], x), r->hi[channel] = fmaxf(r->hi[channel], x);
}

void vq_seen_range_add(vq_seen_range *r, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) widen(r, i % r->n, x[i]);
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

void vq_seen_range_close(const vq_seen_range *r, vq_arena *temp, vq_measured_codes *to) {
  float *size = VQ_NEW_N(temp, float, (size_t)r->n);
  to->least = INFINITY, to->most = -INFINITY;
  for (int64_t c = 0; c < r->n; c++) {
    size[c] = fmaxf(fabsf(r->lo[c]), fabsf(r->hi[c]));
    to->least = fmin(to->least, (double)r->lo[c]), to->most = fmax(to->most, (double)r->hi[c]);
  }
  qsort(size, (size_t)r->n, sizeof *size, by_size);
  float median = size[r->n / 2];
  to->spread = median > 0 ? (double)size[r->n - 1] / (double)median : 1;
}

// ---- codes --------------------------------------------------------------------------

static void count_cell(vq_measured_codes *c, double x) {
  double width = c->most - c->least;
  int k = width > 0 ? (int)((x - c->least) / width * VQ_MEASURE_CELLS) : 0;
  c->cell[k < 0 ? 0 : k < VQ_MEASURE_CELLS ? k : VQ_MEASURE_CELLS - 1]++;
}

// Counts the code of `x`; channel `c` has its scale.
static void count_code(vq_measured_codes *to, bool *used, const vq_op *fq, double x,
                       int64_t c) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  double scale = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), c);
  double code = nearbyint(x / scale) + (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), c);
  to->saturated += code < (double)a->lo || code > (double)a->hi;
  code = fmin(fmax(code, (double)a->lo), (double)a->hi);
  used[(int64_t)code - a->lo] = true;
}

void vq_codes_add(vq_measured_codes *to, bool *used, const vq_op *fq, const float *x,
                  int64_t count, int64_t n_channel) {
  for (int64_t i = 0; i < count; i++) {
    count_cell(to, (double)x[i]);
    if (fq) count_code(to, used, fq, (double)x[i], i % n_channel);
  }
}

static int64_t n_codes(const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  return a->hi - a->lo + 1;
}

bool *vq_codes_flags(const vq_op *fq, vq_arena *arena) {
  return fq ? VQ_NEW_N(arena, bool, (size_t)n_codes(fq)) : NULL;
}

void vq_codes_close(vq_measured_codes *c, const bool *used, const vq_op *fq) {
  int64_t count = 0, dead = 0;
  for (int k = 0; k < VQ_MEASURE_CELLS; k++) count += c->cell[k];
  if (!fq || !count) return;
  for (int64_t i = 0; i < n_codes(fq); i++) dead += !used[i];
  while ((int64_t)1 << c->bits < n_codes(fq)) c->bits++;
  c->saturated /= (double)count;
  c->dead = (double)dead / (double)n_codes(fq);
}

// ---- weights ------------------------------------------------------------------------

// Rows are output channels. Codes are those of the weights that are kept, which are not
// clipped any more; how many are beyond their range is said of the ones that were given.
void vq_measure_weights(const vq_op *real, const vq_op *kept, vq_arena *temp,
                        vq_measured *to) {
  vq_const *a = vq_const_of(vq_quant_uncoded(vq_in(real, 1)));
  vq_const *b = vq_const_of(vq_quant_uncoded(vq_in(kept, 1)));
  const vq_op *fq = vq_quant_def(vq_in(kept, 1), VQ_OP_fake_quant);
  if (!a || !b || a->value.type->dtype != VQ_f32) return;
  int64_t n = vq_type_count(a->value.type), rows = a->value.type->dim[0];
  const float *w = vq_const_bytes(a), *v = vq_const_bytes(b);
  to->params = n;
  if (!w || !v || !n) return;
  vq_measured_codes *c = &to->weights, unclipped = {0};
  vq_seen_range r = vq_seen_range_new(rows, temp);
  for (int64_t i = 0; i < n; i++) widen(&r, i / (n / rows), w[i]);
  vq_seen_range_close(&r, temp, c);
  bool *given = vq_codes_flags(fq, temp), *used = vq_codes_flags(fq, temp);
  for (int64_t i = 0; i < n; i++) {
    count_cell(c, (double)w[i]);
    if (!fq) continue;
    count_code(c, given, fq, (double)w[i], i / (n / rows));
    count_code(&unclipped, used, fq, (double)v[i], i / (n / rows));
  }
  vq_codes_close(c, used, fq);
}
