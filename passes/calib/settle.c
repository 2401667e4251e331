// Ranges of activations that have settled, while pictures are being made.
//
// Looked at are the inputs of linears and the operands of attentions: what
// insert-quantizers makes codes of. The range of one is what holds 99.9 % of its values,
// as many left out at either end. Extremes would not do: one value in millions, of one
// picture, moves them, and they hardly settle.
//
// Values are counted in cells of floats with the same sign, exponent and upper bits of
// the mantissa, 1/64 of a power of two wide at most. So no range has to be known before,
// and counts do not depend on the order of what is counted.
#include "calib/settle.h"

#include <math.h>

#include "vq/map.h"
#include "vq/rewrite.h"

enum { SHIFT = 17, N_SIDE = 1 << (31 - SHIFT), N_CELL = 2 * N_SIDE };

static const double outside = 0.001;  // share of the values

typedef struct range {
  double lo, hi;
} range;

struct vq_settle_tap {
  uint32_t *cell;               // N_CELL counts, by value
  range before[VQ_SETTLE_BACK]; // of cycle n at n % VQ_SETTLE_BACK
};

// ---- counts ------------------------------------------------------------------------

static unsigned cell_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  unsigned k = (bits & INT32_MAX) >> SHIFT;
  return bits >> 31 ? N_SIDE - 1 - k : N_SIDE + k;
}

// The lower edge of cell `k`.
static double edge_of(unsigned k) {
  uint32_t bits = (uint32_t)(k < N_SIDE ? N_SIDE - k : k - N_SIDE) << SHIFT;
  float x;
  memcpy(&x, &bits, sizeof x);
  return k < N_SIDE ? -(double)x : (double)x;
}

static void count(vq_settle_tap *t, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t *c = &t->cell[cell_of(x[i])];
    *c += *c < UINT32_MAX;
  }
}

// The value that `below` values lie below, as if those of a cell were spread over it.
static double value_at(const vq_settle_tap *t, double below) {
  double n = 0;
  for (unsigned k = 0; k < N_CELL; k++) {
    double c = (double)t->cell[k];
    if (c > 0 && n + c >= below)
      return edge_of(k) + (edge_of(k + 1) - edge_of(k)) * (below - n) / c;
    n += c;
  }
  return 0;
}

static range range_of(const vq_settle_tap *t) {
  double n = 0;
  for (unsigned k = 0; k < N_CELL; k++) n += (double)t->cell[k];
  return (range){value_at(t, n * outside / 2), value_at(t, n * (1 - outside / 2))};
}

// What is not finite never settles.
static bool is_near(const range *a, const range *b, double percent) {
  double most = percent / 100 * (a->hi - a->lo);
  return fabs(b->lo - a->lo) <= most && fabs(b->hi - a->hi) <= most;
}

// ---- the model ---------------------------------------------------------------------

// Lists what linears and attentions read.
static unsigned find_values(const vq_func *f, vq_value **v) {
  unsigned n = 0;
  vq_map seen = {0};
  vq_each_op(f, op) {
    unsigned n_in = op->code == VQ_OP_linear ? 1 : op->code == VQ_OP_attention ? 3 : 0;
    for (unsigned i = 0; i < n_in; i++) {
      vq_value *x = vq_in(op, i);
      void **at = vq_map_put(&seen, VQ_MAP_PTR_KEY(x));
      if (*at || x->kind != VQ_VALUE_RESULT || x->type->dtype != VQ_f32) continue;
      *at = x;
      v[n++] = x;
    }
  }
  vq_map_release(&seen);
  return n;
}

static void make_taps(vq_settle *s) {
  vq_arena *a = s->pc->temp;
  s->tap = VQ_NEW_N(a, vq_settle_tap, s->n_tap);
  for (unsigned k = 0; k < s->n_tap; k++) {
    s->tap[k].cell = VQ_NEW_N(a, uint32_t, N_CELL);
    memset(s->tap[k].cell, 0, N_CELL * sizeof *s->tap[k].cell);
  }
}

vq_status vq_settle_open(vq_settle *s, const vq_module *m, double percent,
                         vq_pass_ctx *pc) {
  *s = (vq_settle){.percent = percent, .pc = pc};
  vq_module *copy = vq_module_clone(m);
  vq_func *f = vq_module_func(copy, VQ_LIT("main"));
  size_t n_op = 0;
  vq_each_op(f, op) n_op++;
  vq_value **v = VQ_NEW_N(pc->temp, vq_value *, 3 * n_op);
  s->n_tap = find_values(f, v);
  vq_status st = s->n_tap ? vq_lane_return(f, s->n_tap, v, pc->diag)
                          : vq_error(pc->diag, VQ_E_pass, (vq_loc){0},
                                     "no range could settle: nothing here is a linear or an "
                                     "attention of activations");
  if (st) {
    vq_module_destroy(copy);
    return VQ_ERR;
  }
  if (vq_lane_open(&s->lane, pc->exec, copy, pc->temp, pc->diag)) return VQ_ERR;
  s->lane.in[0] = vq_batch_alloc(f->arg[0].type, pc->temp);
  make_taps(s);
  return VQ_OK;
}

// ---- judging -----------------------------------------------------------------------

// `fresh` pictures; the last one fills the rest of the batch.
static vq_status see_batch(vq_settle *s, const float *x, int64_t fresh) {
  const vq_tensor *in = &s->lane.in[0];
  int64_t batch = in->type->dim[0], n = vq_type_count(in->type) / batch;
  for (int64_t b = 0; b < batch; b++)
    memcpy((float *)in->data + b * n, x + (b < fresh ? b : fresh - 1) * n,
           (size_t)n * sizeof *x);
  if (vq_lane_run(&s->lane, s->pc->diag)) return VQ_ERR;
  for (unsigned k = 0; k < s->n_tap; k++) {
    const vq_tensor *out = &s->lane.out[k];
    count(&s->tap[k], out->data, vq_type_count(out->type) / batch * fresh);
  }
  return VQ_OK;
}

vq_status vq_settle_see(vq_settle *s, const float *x, bool *settled) {
  const vq_type *in = s->lane.in[0].type;
  int64_t batch = in->dim[0], n = vq_type_count(in) / batch;
  for (int64_t i = 0; i < VQ_SETTLE_CYCLE; i += batch) {
    int64_t left = VQ_SETTLE_CYCLE - i;
    if (see_batch(s, x + i * n, left < batch ? left : batch)) return VQ_ERR;
  }
  *settled = s->n_cycle >= VQ_SETTLE_BACK;
  for (unsigned k = 0; k < s->n_tap; k++) {
    range *before = &s->tap[k].before[s->n_cycle % VQ_SETTLE_BACK];
    range now = range_of(&s->tap[k]);
    if (*settled && !is_near(before, &now, s->percent)) *settled = false;
    *before = now;
  }
  s->n_cycle++;
  return VQ_OK;
}

uint64_t vq_settle_bytes(const vq_settle *s) {
  uint64_t shared = 0, each = 0;
  if (!s->lane.program) return 0;
  if (s->lane.exec->ops->memory)
    s->lane.exec->ops->memory(s->lane.program, &shared, &each);
  each += shared + s->n_tap * (uint64_t)N_CELL * sizeof *s->tap->cell;
  each += (uint64_t)vq_type_bytes(s->lane.in[0].type);
  for (unsigned k = 0; k < s->n_tap; k++)
    each += (uint64_t)vq_type_bytes(s->lane.out[k].type);
  return each;
}

void vq_settle_close(vq_settle *s) {
  vq_lane_close(&s->lane);
  s->pc = NULL;
}
