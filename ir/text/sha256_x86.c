// SHA-256 with the SHA instructions of x86, several times as fast as in C.
//
// The instructions keep the state as (a b e f) and (c d g h), high lane first.
// Message words are made four at a time: with x0..x3 the last sixteen,
//   next = sha256msg2(sha256msg1(x0, x1) + alignr(x3, x2), x3).
#include "text/sha256_block.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

bool vq_sha256_x86_usable(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
    return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

__attribute__((target("sha,sse4.1,ssse3")))
static inline __m128i next_words(__m128i x0, __m128i x1, __m128i x2,
                                 __m128i x3) {
  __m128i t = _mm_add_epi32(_mm_sha256msg1_epu32(x0, x1),
                            _mm_alignr_epi8(x3, x2, 4));
  return _mm_sha256msg2_epu32(t, x3);
}

__attribute__((target("sha,sse4.1,ssse3")))
void vq_sha256_x86(uint32_t s[8], const uint8_t *p, size_t n_block) {
  const __m128i swap =
      _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)s), 0xb1);
  __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)(s + 4)), 0x1b);
  __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, dcba, 0xf0);
  for (; n_block; n_block--, p += 64) {
    __m128i x[4], abef0 = abef, cdgh0 = cdgh;
    for (int i = 0; i < 4; i++)
      x[i] = _mm_shuffle_epi8(
          _mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
      if (i >= 4)
        x[i & 3] = next_words(x[i & 3], x[(i + 1) & 3], x[(i + 2) & 3],
                              x[(i + 3) & 3]);
      __m128i k = _mm_add_epi32(
          x[i & 3],
          _mm_loadu_si128((const __m128i *)(vq_sha256_constant + 4 * i)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef0);
    cdgh = _mm_add_epi32(cdgh, cdgh0);
  }
  __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)s, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128((__m128i *)(s + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else

bool vq_sha256_x86_usable(void) { return false; }

void vq_sha256_x86(uint32_t s[8], const uint8_t *p, size_t n_block) {
  (void)s, (void)p, (void)n_block;
}

#endif
