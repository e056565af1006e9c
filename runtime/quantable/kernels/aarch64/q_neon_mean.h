/* The mean over all positions of an image, channels last, of unsigned bytes: int.ReduceMean over
 * height and width, and int.AveragePool with a window as large as the image.
 */
#ifndef QUANTABLE_Q_NEON_MEAN_H
#define QUANTABLE_Q_NEON_MEAN_H

#include "q_neon.h"
#include "q_plain_mean.h"

#if Q_NEON

/* The means of up to 16 channels; `left` of them are there. */
Q_INLINE uint8x16_t q_mean_of(const q_mean_params *p, const uint8_t *x, ptrdiff_t left) {
  uint32x4_t acc[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    acc[j] = vdupq_n_u32((uint32_t)p->constant);
  }
  for (ptrdiff_t i = 0; i < p->positions;) {
    /* As many as are sure to fit 16 bits. */
    const ptrdiff_t end = p->positions - i < 256 ? p->positions : i + 256;
    uint16x8_t low = vdupq_n_u16(0), high = vdupq_n_u16(0);
    for (; i < end; i++) {
      const uint8x16_t bytes = q_bytes_at(x + i * p->channels, left);
      low = vaddw_u8(low, vget_low_u8(bytes));
      high = vaddw_high_u8(high, bytes);
    }
    acc[0] = vaddw_u16(acc[0], vget_low_u16(low));
    acc[1] = vaddw_high_u16(acc[1], low);
    acc[2] = vaddw_u16(acc[2], vget_low_u16(high));
    acc[3] = vaddw_high_u16(acc[3], high);
  }
  int32x4_t steps[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    steps[j] = q_scaled(vreinterpretq_s32_u32(acc[j]), vdupq_n_f32(p->multiplier));
  }
  const q_bounds bounds = q_bounds_of(&p->out);
  return q_bytes_of(steps, &bounds, 1, 1);
}

static inline void q_mean_bytes(q_share share, const q_mean_params *p, const uint8_t *x,
                                uint8_t *y) {
  const ptrdiff_t channels = p->channels, groups = (channels + 15) / 16;
  const ptrdiff_t end = q_share_last(share, groups) * 16;
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->positions * channels, y += channels) {
    for (ptrdiff_t c = q_share_first(share, groups) * 16; c < end; c += 16) {
      const ptrdiff_t left = channels - c;
      if (left >= 16) {
        vst1q_u8(y + c, q_mean_of(p, x + c, 16));
      } else {
        q_bytes_put(y + c, q_mean_of(p, x + c, left), left);
      }
    }
  }
}

#else

static inline void q_mean_bytes(q_share share, const q_mean_params *p, const uint8_t *x,
                                uint8_t *y) {
  q_plain_mean(share, p, x, y);
}

#endif

#endif
