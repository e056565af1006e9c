/* int.MaxPool and int.AveragePool on signed bytes, channels last.
 *
 * No sum of a window times its multiplier leaves int32.
 */
#ifndef QUANTABLE_Q_MVE_POOL_H
#define QUANTABLE_Q_MVE_POOL_H

#include "q_mve.h"
#include "q_pool_params.h"

/* The taps of a window that lie inside: rows and columns of them, and where they lie. */
typedef struct {
  const int8_t *x;
  q_taps th;
  q_places places;
  int32_t columns, dilation;
  ptrdiff_t row, column;
} q_mve_inside;

static inline q_mve_inside q_mve_inside_of(const q_pool *p, const q_rows *rows, const int8_t *x,
                                           q_taps th, q_taps tw) {
  const ptrdiff_t left = tw.origin + tw.first * p->w.dilation;
  q_mve_inside at;
  at.x = x + left * p->channels;
  at.th = th;
  at.places = q_places_of(rows, th.origin);
  at.columns = tw.last - tw.first;
  at.dilation = p->h.dilation;
  at.row = (ptrdiff_t)p->w.in * p->channels;
  at.column = (ptrdiff_t)p->w.dilation * p->channels;
  return at;
}

/* Row `kh` of the window. */
static inline const int8_t *q_mve_row(const q_mve_inside *at, int32_t kh) {
  return at->x + q_place(&at->places, at->th.origin + kh * at->dilation) * at->row;
}

static inline void q_mve_max_pixel(const q_pool *p, const q_mve_inside *at, int8_t *y) {
#if Q_MVE
  for (int32_t c = 0; c < p->channels; c += Q_LANES) {
    const mve_pred16_t lanes = vctp8q((uint32_t)(p->channels - c));
    int8x16_t most = vdupq_n_s8(INT8_MIN);
    for (int32_t kh = at->th.first; kh < at->th.last; kh++) {
      const int8_t *x = q_mve_row(at, kh) + c;
      for (int32_t kw = 0; kw < at->columns; kw++, x += at->column) {
        most = vmaxq_s8(most, vldrbq_z_s8(x, lanes));
      }
    }
    vstrbq_p_s8(y + c, most, lanes);
  }
#else
  for (int32_t c = 0; c < p->channels; c++) {
    int8_t most = INT8_MIN;
    for (int32_t kh = at->th.first; kh < at->th.last; kh++) {
      const int8_t *x = q_mve_row(at, kh) + c;
      for (int32_t kw = 0; kw < at->columns; kw++, x += at->column) {
        most = *x > most ? *x : most;
      }
    }
    y[c] = most;
  }
#endif
}

static inline void q_mve_mean_pixel(const q_pool *p, const q_mve_inside *at, float multiplier,
                                    int8_t *y) {
  const int32_t taken = (at->th.last - at->th.first) * at->columns * -p->x_zero_point;
#if Q_MVE
  const float32x4_t m = vdupq_n_f32(multiplier);
  for (int32_t c = 0; c < p->channels; c += 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)(p->channels - c));
    int32x4_t acc = vdupq_n_s32(taken);
    for (int32_t kh = at->th.first; kh < at->th.last; kh++) {
      const int8_t *x = q_mve_row(at, kh) + c;
      for (int32_t kw = 0; kw < at->columns; kw++, x += at->column) {
        acc = vaddq_s32(acc, vldrbq_z_s32(x, lanes));
      }
    }
    vstrbq_p_s32(y + c, q_mve_scaled(acc, m, &p->out), lanes);
  }
#else
  for (int32_t c = 0; c < p->channels; c++) {
    int32_t acc = taken;
    for (int32_t kh = at->th.first; kh < at->th.last; kh++) {
      const int8_t *x = q_mve_row(at, kh) + c;
      for (int32_t kw = 0; kw < at->columns; kw++, x += at->column) {
        acc += *x;
      }
    }
    y[c] = (int8_t)q_requantize(acc, multiplier, &p->out);
  }
#endif
}

static inline void q_mve_max_pool(const q_pool *p, const q_rows *rows, const int8_t *x,
                                  int8_t *y) {
  for (int32_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
        const q_mve_inside at = q_mve_inside_of(p, rows, x, th, q_taps_of(&p->w, ow));
        q_mve_max_pixel(p, &at, y);
      }
    }
  }
}

static inline void q_mve_average_pool(const q_pool *p, const q_rows *rows, const int8_t *x,
                                      const float *multiplier, int8_t *y) {
  for (int32_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
        const q_taps tw = q_taps_of(&p->w, ow);
        const q_mve_inside at = q_mve_inside_of(p, rows, x, th, tw);
        q_mve_mean_pixel(p, &at, multiplier[q_counted(p, oh, ow, th, tw) - 1], y);
      }
    }
  }
}

#endif
