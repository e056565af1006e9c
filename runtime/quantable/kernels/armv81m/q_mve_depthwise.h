/* int.Conv with one input and one output channel a group, channels last, on signed bytes.
 *
 * Sixteen channels at a time: products of bytes are widened to 16 bits, where two of them fit, and
 * their sums to 32 bits. Widening parts even from odd lanes, twice, so that four vectors of sums
 * hold channels 0 4 8 12, 2 6 10 14, 1 5 9 13 and 3 7 11 15; narrowing brings them back. Sixteen
 * channels are one run of words: biases, 16 bytes of weights a tap, multipliers; biases and
 * multipliers lie in the order of the sums. The bias is bias - x_zero_point * sum(weights). There
 * are whole fours of channels. Taps in the padding read `border`, as many bytes of the zero point
 * as there are channels. No product of a sum and its multiplier leaves int32. `taps` has room for
 * two tables of all taps. If `is_run`, neighbouring windows are one pixel apart and 4 or 8 channels
 * fill the sixteen by repetition, so that pixels side by side are as many channels of one pixel.
 */
#ifndef QUANTABLE_Q_MVE_DEPTHWISE_H
#define QUANTABLE_Q_MVE_DEPTHWISE_H

#include "q_mve.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, channels, is_run;
  q_output out;
} q_mve_depthwise_params;

/* Pixels side by side, `step` bytes apart in the input: what the assembly below works on. */
typedef struct {
  const uintptr_t *taps;
  const uint32_t *blocks;
  uintptr_t first;
  int8_t *y;
  int32_t channels, pairs, is_odd, zero_point, count, step;
  int32_t back; /* added to the place of the constants behind sixteen channels */
} q_mve_pixels_side_by_side;

/* Tables hold where taps lie, counted from where the first tap of the window would lie if the rows
 * above it were all there; numbers, since those in the padding lie in another array. */
static inline void q_mve_inside_taps(const q_mve_depthwise_params *p, const q_places *places,
                                     int32_t top, uintptr_t *taps) {
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = kh * p->h.dilation;
    const int32_t down = row - (top + row < places->turn ? 0 : places->ring);
    for (int32_t kw = 0; kw < p->w.kernel; kw++) {
      const int32_t pixels = down * p->w.in + kw * p->w.dilation;
      *taps++ = (uintptr_t)((ptrdiff_t)pixels * p->channels);
    }
  }
}

static inline void q_mve_edge_taps(const q_mve_depthwise_params *p, int32_t top, int32_t left,
                                   uintptr_t outside, const uintptr_t *inside, uintptr_t *taps) {
  const uint32_t rows = (uint32_t)p->h.in, columns = (uint32_t)p->w.in;
  for (int32_t kh = 0; kh < p->h.kernel; kh++, top += p->h.dilation) {
    const uint32_t end = (uint32_t)top < rows ? columns : 0; /* negative ones are large */
    int32_t column = left;
    for (int32_t kw = 0; kw < p->w.kernel; kw++, column += p->w.dilation, inside++) {
      *taps++ = (uint32_t)column < end ? *inside : outside;
    }
  }
}

#if Q_MVE

_Static_assert(offsetof(q_mve_pixels_side_by_side, y) == 12, "read in assembly");
_Static_assert(offsetof(q_mve_pixels_side_by_side, channels) == 16, "read in assembly");
_Static_assert(offsetof(q_mve_pixels_side_by_side, back) == 40, "read in assembly");

/* Read all parameters, whose place is r0, and begin pixels and their sixteens of channels: tables
 * of taps from r10, constants from r1, the input from r2, the output from r3. */
#define Q_BEGIN \
  "mov r12, r0\n" \
  "ldrd r4, r9, [r12, #20]\n" \
  "ldr r8, [r12, #28]\n" \
  "ldr r10, [r12]\n" \
  "ldr r11, [r12, #40]\n" \
  "5:\n" \
  "ldr r5, [r12, #16]\n" \
  "ldr r1, [r12, #4]\n" \
  "ldrd r2, r3, [r12, #8]\n" \
  "dlstp.8 lr, r5\n" \
  "1:\n" \
  "vldrw.32 q0, [r1], #16\n" \
  "vldrw.32 q1, [r1], #16\n" \
  "vldrw.32 q2, [r1], #16\n" \
  "vldrw.32 q3, [r1], #16\n"
/* Add sums of 16 bits in q4 and q5 to those of 32 bits. */
#define Q_WIDEN \
  "vmovlb.s16 q6, q4\n" \
  "vmovlt.s16 q7, q4\n" \
  "vadd.i32 q0, q0, q6\n" \
  "vadd.i32 q1, q1, q7\n" \
  "vmovlb.s16 q6, q5\n" \
  "vmovlt.s16 q7, q5\n" \
  "vadd.i32 q2, q2, q6\n" \
  "vadd.i32 q3, q3, q7\n"
/* Two taps, whose places `load` brings to r6 and r7. */
#define Q_TWO_TAPS(load) \
  load \
  "add r6, r2\n" \
  "add r7, r2\n" \
  "vldrb.8 q6, [r6]\n" \
  "vldrb.8 q7, [r1], #32\n" \
  "vmullb.s8 q4, q6, q7\n" \
  "vmullt.s8 q5, q6, q7\n" \
  "vldrb.8 q6, [r7]\n" \
  "vldrb.8 q7, [r1, #-16]\n" \
  "vmullb.s8 q7, q6, q7\n" \
  "vadd.i16 q4, q4, q7\n" \
  "vldrb.8 q7, [r1, #-16]\n" /* once more: there is no ninth register */ \
  "vmullt.s8 q7, q6, q7\n" \
  "vadd.i16 q5, q5, q7\n" \
  Q_WIDEN
#define Q_ONE_TAP(load) \
  load \
  "add r6, r2\n" \
  "vldrb.8 q6, [r6]\n" \
  "vldrb.8 q7, [r1], #16\n" \
  "vmullb.s8 q4, q6, q7\n" \
  "vmullt.s8 q5, q6, q7\n" \
  Q_WIDEN
#define Q_SCALE(sums) \
  "vldrw.32 q4, [r1], #16\n" \
  "vcvt.f32.s32 " sums ", " sums "\n" \
  "vmul.f32 " sums ", " sums ", q4\n" \
  "vcvtn.s32.f32 " sums ", " sums "\n"
#define Q_END \
  "add r2, #16\n" \
  Q_SCALE("q0") Q_SCALE("q1") Q_SCALE("q2") Q_SCALE("q3") \
  "vqmovnb.s32 q4, q0\n" \
  "vqmovnt.s32 q4, q1\n" \
  "vqmovnb.s32 q5, q2\n" \
  "vqmovnt.s32 q5, q3\n" \
  "vqadd.s16 q4, q4, r8\n" \
  "vqadd.s16 q5, q5, r8\n" \
  "vqmovnb.s16 q6, q4\n" \
  "vqmovnt.s16 q6, q5\n" \
  "vstrb.8 q6, [r3], #16\n" \
  "add r1, r11\n" \
  "letp lr, 1b\n" \
  "ldrd r2, r3, [r12, #8]\n" \
  "ldr r5, [r12, #16]\n" \
  "ldrd r6, r7, [r12, #32]\n" \
  "add r2, r7\n" \
  "add r3, r5\n" \
  "subs r6, #1\n" \
  "strd r2, r3, [r12, #8]\n" \
  "str r6, [r12, #32]\n" \
  "bne 5b\n" \
  "vpop {d8, d9, d10, d11, d12, d13, d14, d15}\n" \
  "pop {r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n"

/* All channels of `count` pixels, not clamped but to the type: `pairs` of taps, one more if odd. */
Q_ASSEMBLY static void q_mve_taps(q_mve_pixels_side_by_side *p Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "vpush {d8, d9, d10, d11, d12, d13, d14, d15}\n"
      Q_BEGIN
      "mov r0, r10\n"
      "mov r5, r4\n"
      "cmp r5, #0\n"
      "beq 3f\n"
      "2:\n"
      Q_TWO_TAPS("ldrd r6, r7, [r0], #8\n")
      "subs r5, #1\n"
      "bne 2b\n"
      "3:\n"
      "cmp r9, #0\n"
      "beq 4f\n"
      Q_ONE_TAP("ldr r6, [r0]\n")
      "4:\n"
      Q_END);
}

/* The same for nine taps. */
Q_ASSEMBLY static void q_mve_nine_taps(q_mve_pixels_side_by_side *p Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "vpush {d8, d9, d10, d11, d12, d13, d14, d15}\n"
      Q_BEGIN
      Q_TWO_TAPS("ldrd r6, r7, [r10]\n")
      Q_TWO_TAPS("ldrd r6, r7, [r10, #8]\n")
      Q_TWO_TAPS("ldrd r6, r7, [r10, #16]\n")
      Q_TWO_TAPS("ldrd r6, r7, [r10, #24]\n")
      Q_ONE_TAP("ldr r6, [r10, #32]\n")
      Q_END);
}

/* A clamp that is narrower than the type: a pass of its own, since it is rare. */
static inline void q_mve_clamp(const q_output *out, int8_t *y, ptrdiff_t count) {
  if (out->clamp_min <= INT8_MIN && out->clamp_max >= INT8_MAX) {
    return;
  }
  const int8x16_t low = vdupq_n_s8((int8_t)out->clamp_min);
  const int8x16_t high = vdupq_n_s8((int8_t)out->clamp_max);
  for (; count > 0; count -= Q_LANES, y += Q_LANES) {
    const mve_pred16_t lanes = vctp8q((uint32_t)count);
    const int8x16_t v = vmaxq_s8(vldrbq_z_s8(y, lanes), low);
    vstrbq_p_s8(y, vminq_s8(v, high), lanes);
  }
}

#else

/* The place of channel i of sixteen among biases and multipliers. */
static inline int32_t q_mve_place(int32_t i) {
  return i % 2 * 8 + i / 2 % 2 * 4 + i / 4;
}

static inline void q_mve_plain_taps(const q_mve_depthwise_params *p, const uintptr_t *taps,
                                    const uint32_t *blocks, uintptr_t first, int8_t *y) {
  const ptrdiff_t count = (ptrdiff_t)p->h.kernel * p->w.kernel;
  const ptrdiff_t words = 2 * Q_LANES + count * (Q_LANES / 4);
  for (int32_t c = 0; c < p->channels; c++) {
    const uint32_t *block = blocks + c / Q_LANES * words;
    const int32_t i = c % Q_LANES;
    int32_t acc = (int32_t)block[q_mve_place(i)];
    for (ptrdiff_t tap = 0; tap < count; tap++) {
      const int8_t *x = (const int8_t *)(first + taps[tap]);
      acc = q_add_wrapping(acc, x[c] * q_weight(block + Q_LANES, tap * Q_LANES + i));
    }
    float multiplier;
    memcpy(&multiplier, block + words - Q_LANES + q_mve_place(i), sizeof(multiplier));
    y[c] = (int8_t)q_requantize(acc, multiplier, &p->out);
  }
}

#endif

/* Pixels side by side whose taps lie alike. */
static inline void q_mve_pixels_of(const q_mve_depthwise_params *p, const uintptr_t *taps,
                                   const uint32_t *blocks, uintptr_t first, int8_t *y,
                                   int32_t count) {
  const int32_t step = p->w.stride * p->channels;
#if Q_MVE
  const int32_t all = p->h.kernel * p->w.kernel;
  const int32_t words = 2 * Q_LANES + all * (Q_LANES / 4);
  q_mve_pixels_side_by_side at = {taps, blocks, first, y, p->channels, all / 2, all % 2,
                                  p->out.zero_point, count, step,
                                  p->is_run ? -words * (int32_t)sizeof(uint32_t) : 0};
  if (p->is_run) {
    at.channels *= count;
    at.count = 1;
  }
  if (count > 0 && all == 9) {
    q_mve_nine_taps(&at);
  } else if (count > 0) {
    q_mve_taps(&at);
  }
#else
  for (; count > 0; count--, first += (uintptr_t)step, y += p->channels) {
    q_mve_plain_taps(p, taps, blocks, first, y);
  }
#endif
}

/* Output columns [begin, end) of a row whose windows reach over the border. */
static inline void q_mve_edges(const q_mve_depthwise_params *p, uintptr_t row, int32_t top,
                               int32_t begin, int32_t end, const uint32_t *blocks,
                               const int8_t *border, const uintptr_t *taps, uintptr_t *edge,
                               int8_t *y) {
  for (int32_t ow = begin; ow < end; ow++) {
    const int32_t left = ow * p->w.stride - p->w.pad_begin;
    const uintptr_t first = row + (uintptr_t)((ptrdiff_t)left * p->channels);
    q_mve_edge_taps(p, top, left, (uintptr_t)border - first, taps, edge);
    q_mve_pixels_of(p, edge, blocks, first, y + (ptrdiff_t)ow * p->channels, 1);
  }
}

static inline void q_mve_depthwise(const q_mve_depthwise_params *p, const q_rows *rows,
                                   const int8_t *x, const uint32_t *blocks, const int8_t *border,
                                   uintptr_t *taps, int8_t *y) {
  uintptr_t *edge = taps + p->h.kernel * p->w.kernel;
  const int32_t bottom = (p->h.kernel - 1) * p->h.dilation;
  const int32_t room = p->w.in - 1 - (p->w.kernel - 1) * p->w.dilation + p->w.pad_begin;
  /* Output columns [begin, end) lie inside. */
  int32_t begin = (p->w.pad_begin + p->w.stride - 1) / p->w.stride;
  int32_t end = room < 0 ? 0 : room / p->w.stride + 1;
  begin = begin < p->w.out ? begin : p->w.out;
  end = end < p->w.out ? end : p->w.out;
  end = end > begin ? end : begin;
#if Q_MVE
  int8_t *const output = y;
#endif
  for (int32_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const int32_t top = oh * p->h.stride - p->h.pad_begin;
      const q_places places = q_places_of(rows, top);
      const ptrdiff_t place = (ptrdiff_t)(top + places.shift) * p->w.in * p->channels;
      const uintptr_t row = (uintptr_t)x + (uintptr_t)place;
      int8_t *const to = y;
      y += (ptrdiff_t)p->w.out * p->channels;
      q_mve_inside_taps(p, &places, top, taps);
      if (top < 0 || top + bottom >= p->h.in) {
        q_mve_edges(p, row, top, 0, p->w.out, blocks, border, taps, edge, to);
        continue;
      }
      const int32_t left = begin * p->w.stride - p->w.pad_begin;
      const uintptr_t first = row + (uintptr_t)((ptrdiff_t)left * p->channels);
      q_mve_edges(p, row, top, 0, begin, blocks, border, taps, edge, to);
      q_mve_pixels_of(p, taps, blocks, first, to + (ptrdiff_t)begin * p->channels, end - begin);
      q_mve_edges(p, row, top, end, p->w.out, blocks, border, taps, edge, to);
    }
  }
#if Q_MVE
  q_mve_clamp(&p->out, output, y - output);
#endif
}

#endif
