// SHA-256, one whole message at a time.
#include "text/sha256.h"

#include "text/sha256_block.h"

const uint32_t vq_sha256_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotr(uint32_t x, unsigned n) {
  return x >> n | x << (32 - n);
}

static inline uint32_t load_be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
         p[3];
}

static void store_be32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

// One round; the caller rotates the names instead of the registers.
#define ROUND(a, b, c, d, e, f, g, h, i)                                  \
  do {                                                                    \
    uint32_t t = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +           \
                 (g ^ (e & (f ^ g))) + vq_sha256_constant[i] + w[i];          \
    d += t;                                                               \
    h = t + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +                    \
        ((a & b) | (c & (a | b)));                                        \
  } while (0)

static void compress(uint32_t s[8], const uint8_t *p) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++) w[i] = load_be32(p + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (rotr(x, 7) ^ rotr(x, 18) ^ x >> 3) +
           (rotr(y, 17) ^ rotr(y, 19) ^ y >> 10);
  }
  uint32_t a = s[0], b = s[1], c = s[2], d = s[3];
  uint32_t e = s[4], f = s[5], g = s[6], h = s[7];
  for (int i = 0; i < 64; i += 8) {
    ROUND(a, b, c, d, e, f, g, h, i);
    ROUND(h, a, b, c, d, e, f, g, i + 1);
    ROUND(g, h, a, b, c, d, e, f, i + 2);
    ROUND(f, g, h, a, b, c, d, e, i + 3);
    ROUND(e, f, g, h, a, b, c, d, i + 4);
    ROUND(d, e, f, g, h, a, b, c, i + 5);
    ROUND(c, d, e, f, g, h, a, b, i + 6);
    ROUND(b, c, d, e, f, g, h, a, i + 7);
  }
  s[0] += a, s[1] += b, s[2] += c, s[3] += d;
  s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}

void vq_sha256_c(uint32_t s[8], const uint8_t *p, size_t n_block) {
  for (; n_block; n_block--, p += 64) compress(s, p);
}

void vq_sha256(const void *p, size_t n, uint8_t digest[VQ_SHA256_BYTES]) {
  void (*blocks)(uint32_t[8], const uint8_t *, size_t) =
      vq_sha256_x86_usable() ? vq_sha256_x86 : vq_sha256_c;
  uint32_t s[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  blocks(s, p, n / 64);

  size_t left = n % 64;
  uint8_t tail[128] = {0};
  if (left) memcpy(tail, (const uint8_t *)p + n - left, left);
  tail[left] = 0x80;
  size_t end = left < 56 ? 64 : 128;
  store_be32(tail + end - 8, (uint32_t)((uint64_t)n >> 29));
  store_be32(tail + end - 4, (uint32_t)((uint64_t)n << 3));
  blocks(s, tail, end / 64);
  for (int i = 0; i < 8; i++) store_be32(digest + 4 * i, s[i]);
}

void vq_sha256_to_hex(const uint8_t digest[VQ_SHA256_BYTES],
                      char hex[VQ_SHA256_HEX + 1]) {
  static const char digit[] = "0123456789abcdef";
  for (int i = 0; i < VQ_SHA256_BYTES; i++) {
    hex[2 * i] = digit[digest[i] >> 4];
    hex[2 * i + 1] = digit[digest[i] & 15];
  }
  hex[VQ_SHA256_HEX] = '\0';
}

void vq_sha256_hex(const void *p, size_t n, char hex[VQ_SHA256_HEX + 1]) {
  uint8_t digest[VQ_SHA256_BYTES];
  vq_sha256(p, n, digest);
  vq_sha256_to_hex(digest, hex);
}
