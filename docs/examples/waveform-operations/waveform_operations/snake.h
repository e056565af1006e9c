/* Snake in integers: a table a channel. The definition is snake_integers of semantics.py. */
#ifndef WAVEFORM_SNAKE_H
#define WAVEFORM_SNAKE_H

#include <stddef.h>
#include <stdint.h>

#define WAVEFORM_SNAKE(NAME, X, Y, ENTRIES, VALUE)                                      \
  static inline void NAME(const X *x, const int32_t *table, Y *y, const int32_t *shape, \
                          int32_t rank, int32_t axis) {                                 \
    ptrdiff_t outer = 1, inner = 1;                                                     \
    for (int32_t i = 0; i < rank; i++) {                                                \
      outer *= i < axis ? shape[i] : 1;                                                 \
      inner *= i > axis ? shape[i] : 1;                                                 \
    }                                                                                   \
    for (ptrdiff_t i = 0; i < outer; i++) {                                             \
      for (ptrdiff_t c = 0; c < shape[axis]; c++) {                                     \
        const int32_t *t = table + c * (ENTRIES);                                       \
        for (ptrdiff_t k = 0; k < inner; k++, x++, y++) {                               \
          *y = (Y)VALUE(*x);                                                            \
        }                                                                               \
      }                                                                                 \
    }                                                                                   \
  }

#define WAVEFORM_ENTRY(X) t[X]
#define WAVEFORM_BETWEEN(X)         \
  (t[((X) + 32768) >> 7] +          \
   (((t[(((X) + 32768) >> 7) + 1] - \
      t[((X) + 32768) >> 7]) * (((X) + 32768) & 127) + 64) >> 7))

WAVEFORM_SNAKE(snake_u8_u8, uint8_t, uint8_t, 256, WAVEFORM_ENTRY)
WAVEFORM_SNAKE(snake_u8_i16, uint8_t, int16_t, 256, WAVEFORM_ENTRY)
WAVEFORM_SNAKE(snake_i16_u8, int16_t, uint8_t, 513, WAVEFORM_BETWEEN)
WAVEFORM_SNAKE(snake_i16_i16, int16_t, int16_t, 513, WAVEFORM_BETWEEN)

#endif
