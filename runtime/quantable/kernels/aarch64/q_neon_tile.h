/* A tile of q_neon_gemm.h and q_neon_matrix.h: a few pixels times 4 * Q_VECTORS outputs.
 *
 * Template: Q_VECTORS, 1 to 4; the window: Q_ROWS x Q_COLUMNS runs of Q_RUN consecutive bytes,
 * Q_ROW and Q_COLUMN bytes apart; Q_SIGNED 0 where the second operand is unsigned; Q_SMALL 1 where
 * none of it is -128; Q_Y output type, Q_WORDS 1 where that is int16_t, else Q_SHIFTED 1 where there
 * is a zero point but 0, and Q_CLAMPED 1 where there is a clamp but that of the type; Q_TAG;
 * Q_SINGLE 1 where tiles have one pixel only. They stay defined.
 *
 * The second operand is packed [run][group of eight][4 * Q_VECTORS][8], filled up with zeros.
 */
#if Q_NEON

#if Q_NEON == Q_NEON_I8MM && !Q_SINGLE

/* One group of eight. */
Q_INLINE void Q_NAME(q_tile_group)(int32x4_t (*acc)[2 * Q_VECTORS], const uint8x16_t *x,
                                   const int8_t **w, const int pairs) {
  Q_UNROLL
  for (int j = 0; j < Q_VECTORS; j++) {
    int8x16_t first, second;
    q_load_rows(w, &first, &second);
    Q_UNROLL
    for (int i = 0; i < pairs; i++) {
      q_step_pair(&acc[i][2 * j], x[i], first, !Q_SIGNED);
    }
    Q_UNROLL
    for (int i = 0; i < pairs; i++) {
      q_step_pair(&acc[i][2 * j + 1], x[i], second, !Q_SIGNED);
    }
  }
}

Q_INLINE void Q_NAME(q_tile_load)(uint8x16_t *x, const uint8_t **p, const int pairs) {
  Q_UNROLL
  for (int i = 0; i < pairs; i++) {
    x[i] = q_load_pair(&p[2 * i], &p[2 * i + 1]);
  }
}

/* One run; pointers are left behind its last whole group. */
Q_INLINE void Q_NAME(q_tile_run)(int32x4_t (*acc)[2 * Q_VECTORS], const uint8_t **p,
                                 const int8_t **w, const int pairs) {
  uint8x16_t x[Q_TILE / 2];
  for (int k = 0; k < Q_RUN / 16; k++) {
    Q_NAME(q_tile_load)(x, p, pairs);
    Q_NAME(q_tile_group)(acc, x, w, pairs);
    Q_NAME(q_tile_load)(x, p, pairs);
    Q_NAME(q_tile_group)(acc, x, w, pairs);
  }
#if Q_RUN % 16 >= 8
  Q_NAME(q_tile_load)(x, p, pairs);
  Q_NAME(q_tile_group)(acc, x, w, pairs);
#endif
#if Q_RUN % 8
  Q_UNROLL
  for (int i = 0; i < pairs; i++) {
    const uint8x16_t first = q_bytes_at(p[2 * i], Q_RUN % 8);
    const uint8x16_t second = q_bytes_at(p[2 * i + 1], Q_RUN % 8);
    x[i] = vcombine_u8(vget_low_u8(first), vget_low_u8(second));
  }
  Q_NAME(q_tile_group)(acc, x, w, pairs);
#endif
}

/* Store two pixels; `both` is 0 where the second one is none. */
Q_INLINE void Q_NAME(q_tile_put)(const int32x4_t *acc, const int32_t *added,
                                 const float32x4_t *multiplier, const q_bounds *bounds, Q_Y *y,
                                 ptrdiff_t pitch, ptrdiff_t left, const int both) {
  int32x4_t steps[8];
  int32x4_t more = vdupq_n_s32(0);
  if (added) {
    more = vcombine_s32(vdup_n_s32(added[0]), vdup_n_s32(added[both]));
  }
  Q_UNROLL
  for (int j = 0; j < 8; j++) {
    const int held = j < 2 * Q_VECTORS ? j : 0;
    steps[j] = q_scaled(added ? vaddq_s32(acc[held], more) : acc[held], multiplier[held]);
  }
#if Q_WORDS
  Q_UNROLL
  for (int j = 0; j < Q_VECTORS; j += 2) {
    const int next = j + 1 < Q_VECTORS ? j + 1 : j;
    const uint32x4_t a =
        vreinterpretq_u32_s16(q_words_of(steps[2 * j], steps[2 * j + 1], bounds));
    const uint32x4_t b =
        vreinterpretq_u32_s16(q_words_of(steps[2 * next], steps[2 * next + 1], bounds));
    const int held = next > j ? 8 : 4;
    if (4 * j < left) {
      const ptrdiff_t count = left - 4 * j < held ? left - 4 * j : held;
      q_words_put(y + 4 * j, vreinterpretq_s16_u32(vuzp1q_u32(a, b)), count);
      if (both) {
        q_words_put(y + pitch + 4 * j, vreinterpretq_s16_u32(vuzp2q_u32(a, b)), count);
      }
    }
  }
#else
  const uint16x8_t a = vreinterpretq_u16_u8(q_bytes_of(steps, bounds, Q_SHIFTED, Q_CLAMPED));
#if Q_VECTORS > 2
  const uint16x8_t b = vreinterpretq_u16_u8(q_bytes_of(steps + 4, bounds, Q_SHIFTED, Q_CLAMPED));
#else
  const uint16x8_t b = a;
#endif
  q_outputs_put(y, vreinterpretq_u8_u16(vuzp1q_u16(a, b)), left, 4 * Q_VECTORS);
  if (both) {
    q_outputs_put(y + pitch, vreinterpretq_u8_u16(vuzp2q_u16(a, b)), left, 4 * Q_VECTORS);
  }
#endif
}

Q_INLINE void Q_NAME(q_tile)(const q_output *out, const uint8_t *const *pixel, const int8_t *w,
                             const int32_t *start, const int32_t *added, const float *multiplier,
                             Q_Y *y, ptrdiff_t pitch, ptrdiff_t left, const int pixels) {
  int32x4_t acc[Q_TILE / 2][2 * Q_VECTORS];
  const int pairs = (pixels + 1) / 2;
  const uint8_t *p[Q_TILE];
  Q_UNROLL
  for (int i = 0; i < 2 * pairs; i++) {
    p[i] = pixel[i < pixels ? i : i - 1];
  }
  Q_UNROLL
  for (int j = 0; j < 2 * Q_VECTORS; j++) {
    const int32x2_t two = vld1_s32(start + 2 * j);
    Q_UNROLL
    for (int i = 0; i < pairs; i++) {
      acc[i][j] = vcombine_s32(two, two);
    }
  }
  for (int row = 0; row < Q_ROWS; row++) {
    for (int column = 0; column < Q_COLUMNS; column++) {
      Q_NAME(q_tile_run)(acc, p, &w, pairs);
      const ptrdiff_t next = column + 1 < Q_COLUMNS
                                 ? (ptrdiff_t)Q_COLUMN
                                 : Q_ROW - (Q_COLUMNS - 1) * (ptrdiff_t)Q_COLUMN;
      Q_UNROLL
      for (int i = 0; i < 2 * pairs; i++) {
        p[i] += next - Q_RUN / 8 * 8;
      }
    }
  }
  const q_bounds bounds = q_bounds_of(out);
  float32x4_t factors[2 * Q_VECTORS];
  Q_UNROLL
  for (int j = 0; j < 2 * Q_VECTORS; j++) {
    const float32x2_t two = vld1_f32(multiplier + 2 * j);
    factors[j] = vcombine_f32(two, two);
  }
  Q_UNROLL
  for (int i = 0; i < pairs; i++) {
    Q_NAME(q_tile_put)(acc[i], added ? added + 2 * i : NULL, factors, &bounds,
                       y + 2 * i * pitch, pitch, left, 2 * i + 1 < pixels);
  }
}

#else

#if Q_NEON != Q_NEON_PLAIN
#define Q_PARTS 1
#else
#define Q_PARTS 2 /* vectors of an accumulator */
#endif

/* Up to two groups of eight; `count` bytes are there. */
Q_INLINE void Q_NAME(q_tile_groups)(int32x4_t (*acc)[Q_VECTORS][Q_PARTS], const uint8x16_t *x,
                                    const int8_t **w, const int pixels, const int count) {
  Q_UNROLL
  for (int quad = 0; 4 * quad < count; quad += 2) {
    const int has_second = 4 * quad + 4 < count;
#if Q_NEON == Q_NEON_PLAIN
    uint8x16_t values[Q_TILE][2];
    Q_UNROLL
    for (int i = 0; i < pixels; i++) {
      values[i][0] = q_spread(x[i], quad);
      values[i][1] = has_second ? q_spread(x[i], quad + 1) : values[i][0];
    }
#endif
    Q_UNROLL
    for (int j = 0; j < Q_VECTORS; j++) {
      int8x16_t first, second;
      q_load_weights(w, &first, &second);
#if Q_NEON != Q_NEON_PLAIN
      Q_UNROLL
      for (int i = 0; i < pixels; i++) {
        q_step(acc[i][j], x[i], first, quad, !Q_SIGNED);
      }
      Q_UNROLL
      for (int i = 0; i < pixels; i++) {
        if (has_second) {
          q_step(acc[i][j], x[i], second, quad + 1, !Q_SIGNED);
        }
      }
#else
      Q_UNROLL
      for (int i = 0; i < pixels; i++) {
        if (Q_SMALL && Q_SIGNED && has_second) {
          q_step_twice(acc[i][j], values[i][0], first, values[i][1], second);
        } else {
          q_step(acc[i][j], values[i][0], first, !Q_SIGNED);
          if (has_second) {
            q_step(acc[i][j], values[i][1], second, !Q_SIGNED);
          }
        }
      }
#endif
    }
  }
}

/* The run that begins `at` bytes behind each pixel. */
Q_INLINE void Q_NAME(q_tile_run)(int32x4_t (*acc)[Q_VECTORS][Q_PARTS],
                                 const uint8_t *const *pixel, ptrdiff_t at, const int8_t **w,
                                 const int pixels) {
  uint8x16_t x[Q_TILE];
  const ptrdiff_t end = at + Q_RUN / 16 * 16;
  for (; at < end; at += 16) {
    Q_UNROLL
    for (int i = 0; i < pixels; i++) {
      x[i] = q_load(pixel[i], at);
    }
#if Q_SIGNED && Q_NEON != Q_NEON_I8MM
    Q_SHIFT_SIGN(x, pixels);
#endif
    Q_NAME(q_tile_groups)(acc, x, w, pixels, 16);
  }
#if Q_RUN % 16
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    x[i] = q_bytes_at(pixel[i] + at, Q_RUN % 16);
  }
#if Q_SIGNED && Q_NEON != Q_NEON_I8MM
  Q_SHIFT_SIGN(x, pixels);
#endif
  Q_NAME(q_tile_groups)(acc, x, w, pixels, Q_RUN % 16);
#endif
}

/* Store one pixel. */
Q_INLINE void Q_NAME(q_tile_put)(const int32x4_t *sums, const float32x4_t *multiplier,
                                 const q_bounds *bounds, Q_Y *y, ptrdiff_t left) {
  int32x4_t steps[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    const int held = j < Q_VECTORS ? j : Q_VECTORS - 1;
    steps[j] = q_scaled(sums[held], multiplier[held]);
  }
#if Q_WORDS
  Q_UNROLL
  for (int j = 0; j < Q_VECTORS; j += 2) {
    if (4 * j < left) {
      const int held = j + 1 < Q_VECTORS ? 8 : 4;
      q_words_put(y + 4 * j, q_words_of(steps[j], steps[j + 1], bounds),
                  left - 4 * j < held ? left - 4 * j : held);
    }
  }
#else
  const uint8x16_t bytes = q_bytes_of(steps, bounds, Q_SHIFTED, Q_CLAMPED);
  q_outputs_put(y, bytes, left, 4 * Q_VECTORS);
#endif
}

Q_INLINE void Q_NAME(q_tile)(const q_output *out, const uint8_t *const *pixel, const int8_t *w,
                             const int32_t *start, const int32_t *added, const float *multiplier,
                             Q_Y *y, ptrdiff_t pitch, ptrdiff_t left, const int pixels) {
  int32x4_t acc[Q_TILE][Q_VECTORS][Q_PARTS];
  Q_UNROLL
  for (int j = 0; j < Q_VECTORS; j++) {
    const int32x4_t four = Q_PARTS == 1 ? vld1q_s32(start + 4 * j) : vdupq_n_s32(0);
    Q_UNROLL
    for (int i = 0; i < pixels; i++) {
      acc[i][j][0] = four;
      acc[i][j][Q_PARTS - 1] = four;
    }
  }
  for (int row = 0; row < Q_ROWS; row++) {
    for (int column = 0; column < Q_COLUMNS; column++) {
      const ptrdiff_t at = row * (ptrdiff_t)Q_ROW + column * (ptrdiff_t)Q_COLUMN;
      Q_NAME(q_tile_run)(acc, pixel, at, &w, pixels);
    }
  }
  const q_bounds bounds = q_bounds_of(out);
  float32x4_t factors[Q_VECTORS];
  Q_UNROLL
  for (int j = 0; j < Q_VECTORS; j++) {
    factors[j] = vld1q_f32(multiplier + 4 * j);
  }
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    int32x4_t sums[Q_VECTORS];
    Q_UNROLL
    for (int j = 0; j < Q_VECTORS; j++) {
      sums[j] = acc[i][j][0];
      if (Q_PARTS == 2) {
        sums[j] = vaddq_s32(vpaddq_s32(sums[j], acc[i][j][Q_PARTS - 1]), vld1q_s32(start + 4 * j));
      }
      if (added) {
        sums[j] = vaddq_s32(sums[j], vdupq_n_s32(added[i]));
      }
    }
    Q_NAME(q_tile_put)(sums, factors, &bounds, y + i * pitch, left);
  }
}

#undef Q_PARTS

#endif

#endif
