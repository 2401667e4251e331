// How near the numbers of one model are to those of another: what eval, reports and
// score-quant say is summed here.
#ifndef VQ_COMPARE_H
#define VQ_COMPARE_H

#include <stdint.h>

// Sums over pairs of numbers, in binary64. Zero-initialise.
typedef struct vq_sums {
  double signal, other, dot, noise;  // of a^2, b^2, a b and (a - b)^2
} vq_sums;

void vq_sums_add(vq_sums *s, const float *want, const float *got, int64_t n);
// 10 log10(signal / noise), in dB: infinite without noise, -infinite without signal.
double vq_sums_sqnr(const vq_sums *s);
// dot / sqrt(signal other): 1 when all numbers are 0, 0 when those of one side are.
double vq_sums_cosine(const vq_sums *s);

// Rows, as the logits of a sample are. Zero-initialise.
typedef struct vq_rows {
  int64_t n, agree;        // rows; of these, with the same largest element
  double cosine_sum;       // of rows
  double cosine_least, difference;  // the least of a row, the largest of two elements
  vq_sums all;
} vq_rows;

// What is no number counts as the worst there is.
void vq_rows_add(vq_rows *r, const float *want, const float *got, int64_t n);
double vq_rows_agreement(const vq_rows *r);  // share of rows; without any 1
double vq_rows_cosine(const vq_rows *r);     // mean; without any 1
// The first of the largest elements; what is no number is none.
int64_t vq_largest(const float *x, int64_t n);

#endif
