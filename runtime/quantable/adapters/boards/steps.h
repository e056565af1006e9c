/* Included before model.c: counts the ticks of every step. */
#include "board.h"

#define QUANTABLE_STEP(number, call) \
  do { \
    const uint32_t began = board_ticks(); \
    call; \
    board_step_ticks[number] += board_ticks() - began; \
  } while (0)
