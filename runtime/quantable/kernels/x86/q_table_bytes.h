/* int.Table of bytes: 256 entries, by AVX512-VBMI 64 at a time.
 *
 * Entry i belongs to the byte i, so that signed bytes have their table turned by 128 entries.
 */
#ifndef QUANTABLE_Q_TABLE_BYTES_H
#define QUANTABLE_Q_TABLE_BYTES_H

#include "q_share.h"
#include "q_x86.h"

static inline void q_table_bytes(q_share share, ptrdiff_t count, const uint8_t *x,
                                 const uint8_t *table, uint8_t *y) {
  ptrdiff_t i = q_share_first(share, count);
  const ptrdiff_t last = q_share_last(share, count);
#if defined(Q_LOOKUP)
  const q_bytes t0 = q_bytes_at(table, 64), t1 = q_bytes_at(table + 64, 64);
  const q_bytes t2 = q_bytes_at(table + 128, 64), t3 = q_bytes_at(table + 192, 64);
  for (; i < last; i += 64) {
    const q_bytes at = q_bytes_at(x + i, last - i);
    const q_bytes low = _mm512_permutex2var_epi8(t0, at, t1);
    const q_bytes high = _mm512_permutex2var_epi8(t2, at, t3);
    const q_bytes found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
    q_bytes_put(y + i, found, last - i);
  }
#else
  for (; i < last; i++) {
    y[i] = table[x[i]];
  }
#endif
}

#endif
