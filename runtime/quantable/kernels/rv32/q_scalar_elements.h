/* int.Add of unsigned bytes of one shape, and means over all positions of an image, for scalar
 * cores. Multipliers are floats, of which only the representation is looked at (q_fixed.h).
 */
#ifndef QUANTABLE_Q_SCALAR_ELEMENTS_H
#define QUANTABLE_Q_SCALAR_ELEMENTS_H

#include "q_fixed.h"

/* The sum is a * a_multiplier + b * b_multiplier + constant; the output may be one of the inputs. */
typedef struct {
  int32_t count, a_multiplier, b_multiplier, constant;
  float multiplier;
  q_fixed fixed;
} q_scalar_add_params;

Q_ONE_COPY static void q_scalar_add(const q_scalar_add_params *p, const uint8_t *a, const uint8_t *b,
                                uint8_t *y) {
  const uint32_t bits = q_representation(p->multiplier);
  const q_fixed point = p->fixed; /* bytes that are written could be anything */
  const int32_t fixed = q_fixed_multiplier(&point, bits);
  const int32_t first = p->a_multiplier, second = p->b_multiplier, constant = p->constant;
  for (ptrdiff_t i = 0, count = p->count; i < count; i++) {
    const int32_t sum = a[i] * first + b[i] * second + constant;
    y[i] = (uint8_t)q_fixed_requantize(&point, sum, fixed, bits);
  }
}

/* Channels last; `constant` is -positions * x_zero_point. */
typedef struct {
  int32_t images, positions, channels, constant;
  float multiplier;
  q_fixed fixed;
} q_scalar_mean_params;

Q_ONE_COPY static void q_scalar_mean(const q_scalar_mean_params *p, const uint8_t *x, uint8_t *y) {
  const uint32_t bits = q_representation(p->multiplier);
  const q_fixed point = p->fixed; /* bytes that are written could be anything */
  const int32_t fixed = q_fixed_multiplier(&point, bits);
  const ptrdiff_t channels = p->channels;
  for (int32_t n = 0; n < p->images; n++, x += p->positions * channels) {
    for (ptrdiff_t c = 0; c < channels; c++) {
      const uint8_t *value = x + c;
      int32_t sum = p->constant;
      for (int32_t i = 0; i < p->positions; i++, value += channels) {
        sum += *value;
      }
      *y++ = (uint8_t)q_fixed_requantize(&point, sum, fixed, bits);
    }
  }
}

#endif
