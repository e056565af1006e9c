/* int.Add of signed bytes of one shape.
 *
 * `constant` is what the zero points count; no sum leaves int32, nor does a sum times the
 * multiplier. The output may be an input.
 */
#ifndef QUANTABLE_Q_MVE_ADD_H
#define QUANTABLE_Q_MVE_ADD_H

#include "q_mve.h"

typedef struct {
  int32_t count, a_factor, b_factor, constant;
  float multiplier;
  q_output out;
} q_mve_add_params;

static inline void q_mve_add(const q_mve_add_params *p, const int8_t *a, const int8_t *b,
                             int8_t *y) {
#if Q_MVE
  const float32x4_t multiplier = vdupq_n_f32(p->multiplier);
  for (int32_t left = p->count; left > 0; left -= 4, a += 4, b += 4, y += 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)left);
    int32x4_t acc = vmulq_n_s32(vldrbq_z_s32(a, lanes), p->a_factor);
    acc = vmlaq_n_s32(acc, vldrbq_z_s32(b, lanes), p->b_factor);
    acc = vaddq_n_s32(acc, p->constant);
    vstrbq_p_s32(y, q_mve_scaled(acc, multiplier, &p->out), lanes);
  }
#else
  for (int32_t i = 0; i < p->count; i++) {
    const int32_t acc = a[i] * p->a_factor + b[i] * p->b_factor + p->constant;
    y[i] = (int8_t)q_requantize(acc, p->multiplier, &p->out);
  }
#endif
}

#endif
