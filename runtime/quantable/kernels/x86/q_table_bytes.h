/* int.Table of bytes: 256 entries, by AVX512-VBMI 64 at a time, by AVX2 16 at a time.
 *
 * Entry i belongs to the byte i, so that signed bytes have their table turned by 128 entries.
 */
#ifndef QUANTABLE_Q_TABLE_BYTES_H
#define QUANTABLE_Q_TABLE_BYTES_H

#include "q_share.h"
#include "q_x86.h"

#if defined(Q_LOOKUP)

static inline ptrdiff_t q_look_up(ptrdiff_t i, ptrdiff_t last, const uint8_t *x,
                                  const uint8_t *table, uint8_t *y) {
  const q_bytes t0 = q_bytes_at(table, 64), t1 = q_bytes_at(table + 64, 64);
  const q_bytes t2 = q_bytes_at(table + 128, 64), t3 = q_bytes_at(table + 192, 64);
  for (; i < last; i += 64) {
    const q_bytes at = q_bytes_at(x + i, last - i);
    const q_bytes low = _mm512_permutex2var_epi8(t0, at, t1);
    const q_bytes high = _mm512_permutex2var_epi8(t2, at, t3);
    const q_bytes found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
    q_bytes_put(y + i, found, last - i);
  }
  return last;
}

#elif Q_LANES == 8

/* An instruction finds 16 entries, by the lower bits of an index, and gives 0 where that is
 * negative. Of 128 entries, each 16 are kept as what differs from those before: an index finds its
 * entry as the difference of all that it does not lie below. */
static inline ptrdiff_t q_look_up(ptrdiff_t i, ptrdiff_t last, const uint8_t *x,
                                  const uint8_t *table, uint8_t *y) {
  __m256i differs[16];
  for (int k = 0; k < 16; k++) {
    const __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(table + 16 * k));
    const int before = k % 8 > 0 ? k - 1 : k;
    const __m128i less = _mm_loadu_si128((const __m128i *)(const void *)(table + 16 * before));
    differs[k] = _mm256_broadcastsi128_si256(k % 8 > 0 ? _mm_xor_si128(some, less) : some);
  }
  const __m256i step = _mm256_set1_epi8(16);
  for (; i + 64 <= last; i += 64) {
    __m256i at[2], found[2];
    for (int j = 0; j < 2; j++) {
      at[j] = _mm256_loadu_si256((const __m256i *)(const void *)(x + i + 32 * j));
      found[j] = _mm256_setzero_si256();
    }
    for (int half = 0; half < 2; half++) {
      __m256i index[2] = {at[0], at[1]};
      Q_UNROLL
      for (int k = 0; k < 8; k++) {
        for (int j = 0; j < 2; j++) {
          const __m256i part = _mm256_shuffle_epi8(differs[8 * half + k], index[j]);
          found[j] = _mm256_xor_si256(found[j], part);
          index[j] = _mm256_subs_epi8(index[j], step);
        }
      }
      for (int j = 0; j < 2; j++) {
        at[j] = _mm256_xor_si256(at[j], _mm256_set1_epi8(-128));
      }
    }
    for (int j = 0; j < 2; j++) {
      _mm256_storeu_si256((__m256i *)(void *)(y + i + 32 * j), found[j]);
    }
  }
  return i;
}

#endif

static inline void q_table_bytes(q_share share, ptrdiff_t count, const uint8_t *x,
                                 const uint8_t *table, uint8_t *y) {
  ptrdiff_t i = q_share_first(share, count);
  const ptrdiff_t last = q_share_last(share, count);
#if defined(Q_LOOKUP) || Q_LANES == 8
  i = q_look_up(i, last, x, table, y);
#endif
  for (; i < last; i++) {
    y[i] = table[x[i]];
  }
}

#endif
