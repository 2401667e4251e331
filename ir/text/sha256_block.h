// Inside of SHA-256: the block functions and what they share.
#ifndef VQ_TEXT_SHA256_BLOCK_H
#define VQ_TEXT_SHA256_BLOCK_H

#include "vq/base.h"

extern const uint32_t vq_sha256_constant[64];

// Advance state `s` by `n_block` blocks of 64 bytes.
void vq_sha256_c(uint32_t s[8], const uint8_t *p, size_t n_block);
bool vq_sha256_x86_usable(void);
void vq_sha256_x86(uint32_t s[8], const uint8_t *p, size_t n_block);

#endif
