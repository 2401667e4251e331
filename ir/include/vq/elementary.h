// Elementary functions that give the same bits on every machine.
//
// Those of a C library differ from one to the next, and within one by what the CPU has.
// These are made of additions, multiplications and divisions of binary64 in a stated
// order. Their relative error, of cos the absolute one, is below 1e-15.
#ifndef VQ_ELEMENTARY_H
#define VQ_ELEMENTARY_H

double vq_exp(double x);            // 0 below -700, infinite above 709
double vq_log(double x);            // x 0 or positive and normal
double vq_pow(double x, double y);  // the same x; its error grows with |y log x|
double vq_cos(double x);            // |x| <= 1e4

#endif
