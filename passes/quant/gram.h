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

// Columns by decreasing diagonal, equal ones by number.
void vq_gram_order(const double *h, int64_t n, int64_t *order);

// l (n x n), lower triangular with l^T l = P (h + d I) P^T, where row i of P
// takes order[i] and d is `damping` times the mean of the diagonal.
void vq_gram_factor(const double *h, int64_t n, const int64_t *order,
                    double damping, double *l);

// Rounds the `n_row` rows of n weights in `w` to multiples of their scales, `lo` to
// `hi` times it, so that (to - w) h (to - w)^T is small (gram.c). `l` and
// `order` are those of vq_gram_factor, `d` is room for n * VQ_GRAM_ROWS numbers.
enum { VQ_GRAM_ROWS = 64 };
void vq_gram_round(const double *l, int64_t n, const int64_t *order,
                   const float *w, int64_t n_row, const float *scale, double lo, double hi,
                   double *d, float *to);

#endif
