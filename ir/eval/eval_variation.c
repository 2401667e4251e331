// variation and its gradient: differences of the pixels of a picture to their neighbours.
#include <stdlib.h>

#include "eval/eval_ops.h"

static const int step[4][2] = {{0, 1}, {1, 0}, {1, -1}, {1, 1}};

typedef struct picture {
  int64_t planes, h, w;
  double *x, *d;  // pixels and their gradients
} picture;

// The sum of squares of steps `k`; with d also adds their gradient, of `g` for a square.
static double steps(const picture *p, unsigned k, double g) {
  int64_t di = step[k][0], dj = step[k][1], far = di * p->w + dj;
  double sum = 0;
  for (int64_t c = 0; c < p->planes; c++)
    for (int64_t i = 0; i + di < p->h; i++)
      for (int64_t j = dj < 0 ? 1 : 0; j < p->w && j + dj < p->w; j++) {
        int64_t at = (c * p->h + i) * p->w + j;
        double a = p->x[at + far] - p->x[at];
        sum += a * a;
        if (p->d) p->d[at + far] += 2 * g * a, p->d[at] -= 2 * g * a;
      }
  return sum;
}

static picture load(const vq_tensor *x, int64_t n, bool gradient) {
  const int64_t *t = x->type->dim;
  int64_t size = t[1] * t[2] * t[3];
  picture p = {t[1], t[2], t[3], vq_eval_alloc((size_t)size, sizeof(double)), NULL};
  vq_load_f64_n(x->type->dtype, x->data, n * size, 1, size, p.x);
  if (gradient) p.d = vq_eval_alloc((size_t)size, sizeof(double));
  for (int64_t i = 0; gradient && i < size; i++) p.d[i] = 0;
  return p;
}

vq_status vq_eval_variation(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                            vq_diag *diag) {
  (void)op, (void)diag;
  for (int64_t n = 0; n < in[0].type->dim[0]; n++) {
    picture p = load(&in[0], n, false);
    double y[4];
    for (unsigned k = 0; k < 4; k++) y[k] = steps(&p, k, 0);
    vq_store_f64_n(out->type->dtype, out->data, n * 4, 1, 4, y);
    free(p.x);
  }
  return VQ_OK;
}

vq_status vq_eval_variation_grad(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                                 vq_diag *diag) {
  (void)op, (void)diag;
  for (int64_t n = 0; n < in[0].type->dim[0]; n++) {
    picture p = load(&in[0], n, true);
    double g[4];
    vq_load_f64_n(in[1].type->dtype, in[1].data, n * 4, 1, 4, g);
    for (unsigned k = 0; k < 4; k++) steps(&p, k, g[k]);
    int64_t size = p.planes * p.h * p.w;
    vq_store_f64_n(out->type->dtype, out->data, n * size, 1, size, p.d);
    free(p.x), free(p.d);
  }
  return VQ_OK;
}
