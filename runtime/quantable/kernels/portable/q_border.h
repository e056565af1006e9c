/* int.Quantize and int.Dequantize: the conversions at the border of a network. */
#ifndef QUANTABLE_Q_BORDER_H
#define QUANTABLE_Q_BORDER_H

#include "q_base.h"

/* clamp(RNE(x / scale) + zero_point); NaN gives clamp_min. */
static inline int32_t q_quantize(float x, float scale, const q_output *out) {
  return q_saturate(x / scale, out);
}

static inline float q_dequantize(int32_t x, float scale, int32_t zero_point) {
  return (float)(x - zero_point) * scale;
}

#endif
