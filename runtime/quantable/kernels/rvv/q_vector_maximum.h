/* int.MaxPool of unsigned bytes, channels last, with vectors of RISC-V. */
#ifndef QUANTABLE_Q_VECTOR_MAXIMUM_H
#define QUANTABLE_Q_VECTOR_MAXIMUM_H

#include "q_plain_maximum.h"
#include "q_vector.h"

#if Q_VECTORS

/* All channels of one output pixel. */
static inline void q_maximum_pixel(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
  const ptrdiff_t channels = p->channels;
  size_t vl;
  for (ptrdiff_t c = 0; c < channels; c += (ptrdiff_t)vl) {
    vl = __riscv_vsetvl_e8m8((size_t)(channels - c));
    vuint8m8_t most = __riscv_vmv_v_x_u8m8(0, vl);
    for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
      for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
        const ptrdiff_t row = th.origin + kh * p->h.dilation, at = tw.origin + kw * p->w.dilation;
        const uint8_t *pixel = x + (row * p->w.in + at) * channels + c;
        most = __riscv_vmaxu_vv_u8m8(most, __riscv_vle8_v_u8m8(pixel, vl), vl);
      }
    }
    __riscv_vse8_v_u8m8(y + c, most, vl);
  }
}

#else

static inline void q_maximum_pixel(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
  q_plain_maximum(p, x, th, tw, y);
}

#endif

#include "q_maximum_pixels.h"

#endif
