/* The mean over all positions of an image, channels last, of unsigned bytes: int.ReduceMean over
 * height and width, and int.AveragePool with a window as large as the image.
 */
#ifndef QUANTABLE_Q_MEAN_H
#define QUANTABLE_Q_MEAN_H

#include "q_plain_mean.h"
#include "q_x86.h"

#if Q_LANES

static inline void q_mean_bytes(q_share share, const q_mean_params *p, const uint8_t *x,
                                uint8_t *y) {
  static const int8_t ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const q_quads one = q_quads_at(ones);
  const ptrdiff_t channels = p->channels;
  const ptrdiff_t groups = (channels + 4 * Q_LANES - 1) / (4 * Q_LANES);
  const ptrdiff_t first = q_share_first(share, groups) * 4 * Q_LANES;
  const ptrdiff_t end = q_share_last(share, groups) * 4 * Q_LANES;
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->positions * channels, y += channels) {
    for (ptrdiff_t c = first; c < end; c += 4 * Q_LANES) {
      const ptrdiff_t left = channels - c;
      q_lanes acc[4];
      for (int j = 0; j < 4; j++) {
        acc[j] = q_lanes_of(p->constant);
      }
      for (ptrdiff_t i = 0; i < p->positions; i += 4) {
        q_bytes rows[4], quads[4];
        Q_UNROLL
        for (int r = 0; r < 4; r++) {
          const int is_there = i + r < p->positions;
          rows[r] = q_bytes_at(x + (is_there ? i + r : i) * channels + c, is_there ? left : 0);
        }
        q_interleave(rows[0], rows[1], rows[2], rows[3], quads);
        Q_UNROLL
        for (int j = 0; j < 4; j++) {
          acc[j] = q_dot(acc[j], q_values_of(quads[j]), one);
        }
      }
      for (int j = 0; j < 4; j++) {
        acc[j] = q_scaled_by(acc[j], p->multiplier);
      }
      q_put_bytes(acc, 4, &p->out, y + c, left);
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
