// Weights of four bits as weights of eight.
//
// A product reads its panels of weights once for each block of rows. So those of
// four bits (panel16x8) are unpacked to scratch when a group of columns begins, and
// tiles of any kind read bytes (panel16x4); what lies in memory is half as long.
#ifndef VQ_BACKEND_UNPACK_H
#define VQ_BACKEND_UNPACK_H

#include "emit.h"

// Scratch for `panels` panels of `k` elements of four codes.
int64_t vq_unpack_bytes(int64_t panels, int64_t k);
// Writes that many panels to `to`. At `from` each is (stride + 1) / 2 elements of eight
// codes long, of which the first are read.
void vq_unpack(const vq_emit *e, LLVMValueRef from, LLVMValueRef to, unsigned panels,
               int64_t stride, int64_t k);

#endif
