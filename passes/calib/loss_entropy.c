// Entropy of the similarities of patches (PSAQ-ViT, ECCV 2022, section 3.2): real
// pictures have patches of several kinds, noise has patches of one.
//
// With patches u_i of unit length the similarities are s_ij = <u_i, u_j>, all M^2
// pairs. The Gaussian form needs their mean and mean square only, which do not
// take the M x M matrix:
//
//   mean s = |mean u|^2      mean s^2 = |U^T U|^2 / M^2
//
// The other form puts a normal kernel of width h on every similarity and
// integrates -p ln p over a grid by the trapezoid rule.
#include "calib/blocks.h"
#include "calib/loss.h"

enum { GRID = 10 };

_Static_assert(sizeof(vq_attrs_reduce_mean) == sizeof(vq_attrs_reduce_min) &&
                   sizeof(vq_attrs_reduce_mean) == sizeof(vq_attrs_reduce_max),
               "one writer serves all reductions");

static vq_value *reduce(vq_builder *b, vq_opcode how, vq_value *x, int64_t axis,
                        bool keep) {
  if (!x) return NULL;
  vq_attrs_reduce_mean a = {.axes = VQ_INTS(axis), .keep = keep};
  return vq_build1(b, how, &x, 1, &a, VQ_LIT(""));
}

static vq_value *times(vq_builder *b, vq_value *x, double k) {
  return vq_make_2(b, VQ_OP_mul, x, vq_make_k(b, k));
}

static vq_value *square(vq_builder *b, vq_value *x) {
  return vq_make_2(b, VQ_OP_mul, x, x);
}

// Patches of unit length, [windows, M, d]: means over heads. Dead ones, shorter
// than 1e-4, stay short, so that their gradients stay bounded.
static vq_value *unit_patches(vq_builder *b, const vq_patches *p) {
  if (!p->y) return NULL;
  const int64_t *t = p->y->type->dim;
  int64_t heads[] = {t[0], t[1], p->heads, t[2] / p->heads};
  int64_t size[] = {t[0], t[1] - p->skip, heads[3]};
  vq_value *u = vq_make_reshape(b, p->y, 4, heads);
  u = reduce(b, VQ_OP_reduce_mean, u, 2, false);
  u = vq_make_slice(b, u, (int64_t[]){0, p->skip, 0}, size, NULL);
  vq_value *length =
      vq_make_1(b, VQ_OP_sqrt, vq_make_sum(b, square(b, u), 1u << 2, true));
  return vq_make_2(b, VQ_OP_div, u,
                   vq_make_2(b, VQ_OP_max, length, vq_make_k(b, 1e-4)));
}

// [windows of all pictures] to means over each picture's.
static vq_value *per_picture(vq_builder *b, vq_value *x, int64_t pictures) {
  if (!x) return NULL;
  int64_t dim[] = {pictures, x->type->dim[0] / pictures};
  return reduce(b, VQ_OP_reduce_mean, vq_make_reshape(b, x, 2, dim), 1, false);
}

vq_value *vq_loss_entropy_gauss(vq_builder *b, const vq_patches *p) {
  vq_value *u = unit_patches(b, p);
  if (!u) return NULL;
  double m = (double)u->type->dim[1], two_pi_e = 2 * M_PI * M_E;
  vq_value *gram = times(b, vq_make_matmul(b, vq_make_swap(b, u), u, false), 1 / m);
  vq_value *mean = reduce(b, VQ_OP_reduce_mean, u, 1, false);
  vq_value *of_s =
      per_picture(b, vq_make_sum(b, square(b, mean), 1u << 1, false), p->pictures);
  vq_value *of_square = per_picture(
      b, vq_make_sum(b, square(b, gram), 1u << 1 | 1u << 2, false), p->pictures);
  vq_value *var = vq_make_2(b, VQ_OP_sub, of_square, square(b, of_s));
  var = vq_make_2(b, VQ_OP_max, var, vq_make_k(b, 1e-10));  // of one kind: rounding
  return times(b, vq_make_1(b, VQ_OP_log, times(b, var, two_pi_e)), 0.5);
}

// Densities at the grid points, [pictures, GRID].
static vq_value *densities(vq_builder *b, vq_value *s, vq_value *lo, vq_value *span) {
  const double h = 0.01, n = (double)s->type->dim[1];
  vq_value *at[GRID];
  for (int k = 0; k < GRID; k++) {
    vq_value *x = vq_make_2(b, VQ_OP_add, lo, times(b, span, (double)k / (GRID - 1)));
    vq_value *z = times(b, vq_make_2(b, VQ_OP_sub, s, x), M_SQRT1_2 / h);
    vq_value *e = vq_make_1(b, VQ_OP_exp, vq_make_1(b, VQ_OP_neg, square(b, z)));
    at[k] = vq_make_sum(b, e, 1u << 1, true);
  }
  vq_attrs_concat a = {.axis = 1};
  vq_value *sum = vq_build1(b, VQ_OP_concat, at, GRID, &a, VQ_LIT(""));
  return times(b, sum, 1 / (n * h * sqrt(2 * M_PI)));
}

vq_value *vq_loss_density_entropy(vq_builder *b, vq_value *samples, vq_value *stop[2]) {
  vq_value *lo = stop[0] = reduce(b, VQ_OP_reduce_min, samples, 1, true);
  vq_value *hi = stop[1] = reduce(b, VQ_OP_reduce_max, samples, 1, true);
  vq_value *span = vq_make_2(b, VQ_OP_sub, hi, lo);
  if (!span) return NULL;
  vq_value *p = densities(b, samples, lo, span);
  p = vq_make_2(b, VQ_OP_add, p, vq_make_k(b, 1e-4));
  vq_value *f = vq_make_2(b, VQ_OP_mul, p, vq_make_1(b, VQ_OP_log, p));
  float weight[GRID];  // of the trapezoid rule, negative as f is p ln p
  for (int k = 0; k < GRID; k++)
    weight[k] = (k == 0 || k == GRID - 1 ? -0.5f : -1.0f) / (GRID - 1);
  vq_module *m = b->func->module;
  const vq_type *t = vq_type_tensor(m->ctx, VQ_f32, 1, (int64_t[]){GRID}, NULL);
  vq_value *w = &vq_const_new_copy(m, VQ_LIT("trapezoid"), t, weight)->value;
  vq_value *sum = vq_make_sum(b, vq_make_2(b, VQ_OP_mul, f, w), 1u << 1, true);
  return vq_make_reshape(b, vq_make_2(b, VQ_OP_mul, sum, span), 1, samples->type->dim);
}

vq_value *vq_loss_entropy_kde(vq_builder *b, const vq_patches *p, vq_value *stop[2]) {
  vq_value *u = unit_patches(b, p);
  vq_value *s = vq_make_matmul(b, u, u, true);
  if (!s) return NULL;
  int64_t dim[] = {p->pictures, vq_type_count(s->type) / p->pictures};
  return vq_loss_density_entropy(b, vq_make_reshape(b, s, 2, dim), stop);
}
