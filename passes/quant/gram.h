// Gram matrices of codes, and rounding of weights against them.
#ifndef VQ_PASSES_GRAM_H
#define VQ_PASSES_GRAM_H

#include <stdint.h>

// Codes enter in tiles of this many rows; none is larger than VQ_GRAM_MOST, so
// that products of a tile add up in i32.
enum { VQ_GRAM_TILE = 256, VQ_GRAM_MOST = 2895 };

// Adds a tile to the lower triangle of `h` (n x n): h_ij += sum_t x_it x_jt.
// `x` holds n columns of VQ_GRAM_TILE codes each. All sums are exact.
void vq_gram_add(double *h, int64_t n, const int16_t *x);

// Adds `damping` times the mean of the diagonal to it, and fills the upper triangle.
// Returns what was added: 1 where all was 0.
double vq_gram_damp(double *h, int64_t n, double damping);

// Columns by decreasing diagonal, equal ones by number.
void vq_gram_order(const double *h, int64_t n, int64_t *order);

// l (n x n), lower triangular with l^T l = P h P^T, where row i of P takes order[i].
// Pivots below `least`, which rounding alone can cause, are raised to it.
void vq_gram_factor(const double *h, int64_t n, const int64_t *order, double least,
                    double *l);

// A damped Gram matrix, an order of its columns and the factor for that order.
typedef struct vq_gram {
  int64_t n;
  const double *h, *l;
  const int64_t *order;
} vq_gram;

// Rows are taken so many at a time, in room for VQ_GRAM_ROOM * n numbers.
enum { VQ_GRAM_ROWS = 64, VQ_GRAM_ROOM = 3 * VQ_GRAM_ROWS };

// Rounds the `n_row` rows of n weights in `w` to multiples of their scales, `lo` to
// `hi` times it, so that (to - w) h (to - w)^T is small (gram.c).
void vq_gram_round(const vq_gram *g, const float *w, int64_t n_row, const float *scale,
                   double lo, double hi, double *room, float *to);

// Makes that smaller by changes of single codes and of the scales, and never larger.
// `to` has multiples of `scale` and gets multiples of the new ones.
void vq_gram_descend(const vq_gram *g, const float *w, int64_t n_row, float *scale,
                     double lo, double hi, double *room, float *to);

#endif
