// SHA-256 (FIPS 180-4): names the contents of constant data.
#ifndef VQ_TEXT_SHA256_H
#define VQ_TEXT_SHA256_H

#include "vq/base.h"

#define VQ_SHA256_BYTES 32
#define VQ_SHA256_HEX (2 * VQ_SHA256_BYTES)

void vq_sha256(const void *p, size_t n, uint8_t digest[VQ_SHA256_BYTES]);

// Lower-case hex with a NUL behind it: of a digest, of a message's digest.
void vq_sha256_to_hex(const uint8_t digest[VQ_SHA256_BYTES],
                      char hex[VQ_SHA256_HEX + 1]);
void vq_sha256_hex(const void *p, size_t n, char hex[VQ_SHA256_HEX + 1]);

#endif
