/* Sums of products for scalar cores: as many as there are registers for.
 *
 * Weights lie in blocks of four output channels, [product][4]. On 32-bit RISC-V the loops are
 * assembly: gcc 12 moves loads away from their products until it has to keep sums in memory.
 */
#ifndef QUANTABLE_Q_SCALAR_TILE_H
#define QUANTABLE_Q_SCALAR_TILE_H

#include "q_runs.h"

#if defined(__riscv) && __riscv_xlen == 32 && defined(__riscv_mul) && !defined(__riscv_32e) && \
    !defined(__riscv_e)
#define Q_RV32 1
#else
#define Q_RV32 0
#endif

/* What both functions are told; `out` has room for 16 sums. */
typedef struct {
  const uint8_t *x[4];
  const int8_t *w[2];
  const int32_t *bias[2];
  q_runs runs;
  int32_t *out;
} q_tile;

#if Q_RV32

/* Offsets in q_tile. */
#define Q_TILE_X "0"
#define Q_TILE_W "16"
#define Q_TILE_BIAS "24"
#define Q_TILE_RUNS "32"
#define Q_TILE_RUN "36"
#define Q_TILE_SKIP "40"
#define Q_TILE_OUT "44"
_Static_assert(offsetof(q_tile, w) == 16 && offsetof(q_tile, bias) == 24, "see above");
_Static_assert(offsetof(q_tile, runs) == 32 && offsetof(q_tile, out) == 44, "see above");

/* The compiler may assume no more than the calling convention. */
#if defined(__clang__)
#define Q_TILE_FUNCTION __attribute__((naked, noinline, unused))
#else
#define Q_TILE_FUNCTION __attribute__((naked, noinline, noipa, unused))
#endif

/* Bytes of the stack that functions in assembly take, for `quantable size`. */
#define Q_STACK_q_tile_4x4 64
#define Q_STACK_q_tile_1x8 64
#define Q_SAVE \
  "addi sp, sp, -64\n" \
  "sw ra, 0(sp)\nsw s0, 4(sp)\nsw s1, 8(sp)\nsw s2, 12(sp)\nsw s3, 16(sp)\nsw s4, 20(sp)\n" \
  "sw s5, 24(sp)\nsw s6, 28(sp)\nsw s7, 32(sp)\nsw s8, 36(sp)\nsw s9, 40(sp)\nsw s10, 44(sp)\n" \
  "sw s11, 48(sp)\n"
#define Q_RETURN \
  "lw ra, 0(sp)\nlw s0, 4(sp)\nlw s1, 8(sp)\nlw s2, 12(sp)\nlw s3, 16(sp)\nlw s4, 20(sp)\n" \
  "lw s5, 24(sp)\nlw s6, 28(sp)\nlw s7, 32(sp)\nlw s8, 36(sp)\nlw s9, 40(sp)\nlw s10, 44(sp)\n" \
  "lw s11, 48(sp)\naddi sp, sp, 64\nret\n"

/* Macros of the assembler: sums of pixels 0 and 1, and of 2 and 3, of a channel. Values are in a2
 * to a5, the weight in a6; loads of what comes next stand between products and sums. */
#define Q_TILE_MACROS \
  ".macro q_01 s, t\nmul a7, a2, a6\nmul ra, a3, a6\nadd \\s, \\s, a7\nadd \\t, \\t, ra\n.endm\n" \
  ".macro q_23 s, t, w\nmul a7, a4, a6\nmul ra, a5, a6\nlb a6, \\w(a1)\n" \
  "add \\s, \\s, a7\nadd \\t, \\t, ra\n.endm\n" \
  ".macro q_first\nlb a6, 0(a1)\nlbu a2, 0(t0)\nlbu a3, 0(t1)\nlbu a4, 0(t2)\nlbu a5, 0(a0)\n" \
  ".endm\n" \
  ".macro q_three i\nq_01 s0, s4\nq_23 s8, t3, 4*\\i+1\nq_01 s1, s5\nq_23 s9, t4, 4*\\i+2\n" \
  "q_01 s2, s6\nq_23 s10, t5, 4*\\i+3\n.endm\n" \
  ".macro q_step i\nq_three \\i\nmul a7, a2, a6\nmul ra, a3, a6\n" \
  "lbu a2, \\i+1(t0)\nlbu a3, \\i+1(t1)\nadd s3, s3, a7\nadd s7, s7, ra\n" \
  "mul a7, a4, a6\nmul ra, a5, a6\nlb a6, 4*\\i+4(a1)\nlbu a4, \\i+1(t2)\nlbu a5, \\i+1(a0)\n" \
  "add s11, s11, a7\nadd t6, t6, ra\n.endm\n" \
  ".macro q_last i\nq_three \\i\nq_01 s3, s7\nmul a7, a4, a6\nmul ra, a5, a6\n" \
  "add s11, s11, a7\nadd t6, t6, ra\n.endm\n" \
  /* Two channels of each of two blocks; eight channels of a value. */ \
  ".macro q_two s, t, w\nlb a3, \\w(a1)\nlb a4, \\w(a7)\nmul a3, a3, a2\nmul a4, a4, a2\n" \
  "add \\s, \\s, a3\nadd \\t, \\t, a4\n.endm\n" \
  ".macro q_eight i\nlbu a2, \\i(t0)\nq_two s0, s4, 4*\\i\nq_two s1, s5, 4*\\i+1\n" \
  "q_two s2, s6, 4*\\i+2\nq_two s3, s7, 4*\\i+3\n.endm\n"
#define Q_TILE_MACROS_END \
  ".purgem q_01\n.purgem q_23\n.purgem q_first\n.purgem q_three\n.purgem q_step\n" \
  ".purgem q_last\n.purgem q_two\n.purgem q_eight\n"

/* Four pixels times the four channels of a block: out[4 * pixel + channel]. */
Q_TILE_FUNCTION static void q_tile_4x4(const q_tile *tile __attribute__((unused))) {
  __asm__(
      Q_TILE_MACROS Q_SAVE
      "sw a0, 52(sp)\n"
      "lw a2, " Q_TILE_RUNS "(a0)\nsw a2, 56(sp)\n"
      "lw a1, " Q_TILE_W "(a0)\n"
      "lw a2, " Q_TILE_BIAS "(a0)\n"
      "lw s0, 0(a2)\nlw s1, 4(a2)\nlw s2, 8(a2)\nlw s3, 12(a2)\n"
      "mv s4, s0\nmv s5, s1\nmv s6, s2\nmv s7, s3\n"
      "mv s8, s0\nmv s9, s1\nmv s10, s2\nmv s11, s3\n"
      "mv t3, s0\nmv t4, s1\nmv t5, s2\nmv t6, s3\n"
      "lw t0, 0(a0)\nlw t1, 4(a0)\nlw t2, 8(a0)\nlw a0, 12(a0)\n"
      /* A run: whole fours of products, then single ones. */
      "1:\n"
      "lw a2, 52(sp)\nlw a2, " Q_TILE_RUN "(a2)\n"
      "slli a3, a2, 2\nadd a3, a3, a1\nsw a3, 60(sp)\n"
      "andi a2, a2, -4\nslli a2, a2, 2\nadd a7, a1, a2\n"
      "beq a7, a1, 3f\n"
      "2: q_first\nq_step 0\nq_step 1\nq_step 2\nq_last 3\n"
      "addi a1, a1, 16\naddi t0, t0, 4\naddi t1, t1, 4\naddi t2, t2, 4\naddi a0, a0, 4\n"
      "lw a7, 60(sp)\naddi a7, a7, -15\nbltu a1, a7, 2b\n"
      "3:\n"
      "lw a7, 60(sp)\nbeq a1, a7, 5f\n"
      "4: q_first\nq_last 0\n"
      "addi a1, a1, 4\naddi t0, t0, 1\naddi t1, t1, 1\naddi t2, t2, 1\naddi a0, a0, 1\n"
      "lw a7, 60(sp)\nbne a1, a7, 4b\n"
      "5:\n"
      "lw a2, 56(sp)\naddi a2, a2, -1\nsw a2, 56(sp)\n"
      "lw a3, 52(sp)\nlw a3, " Q_TILE_SKIP "(a3)\n"
      "add t0, t0, a3\nadd t1, t1, a3\nadd t2, t2, a3\nadd a0, a0, a3\n"
      "bnez a2, 1b\n"
      "lw a0, 52(sp)\nlw a0, " Q_TILE_OUT "(a0)\n"
      "sw s0, 0(a0)\nsw s1, 4(a0)\nsw s2, 8(a0)\nsw s3, 12(a0)\n"
      "sw s4, 16(a0)\nsw s5, 20(a0)\nsw s6, 24(a0)\nsw s7, 28(a0)\n"
      "sw s8, 32(a0)\nsw s9, 36(a0)\nsw s10, 40(a0)\nsw s11, 44(a0)\n"
      "sw t3, 48(a0)\nsw t4, 52(a0)\nsw t5, 56(a0)\nsw t6, 60(a0)\n"
      Q_RETURN Q_TILE_MACROS_END);
}

/* One pixel times the channels of two blocks: out[4 * block + channel]. */
Q_TILE_FUNCTION static void q_tile_1x8(const q_tile *tile __attribute__((unused))) {
  __asm__(
      Q_TILE_MACROS Q_SAVE
      "lw t0, " Q_TILE_X "(a0)\nlw a1, " Q_TILE_W "(a0)\nlw a7, " Q_TILE_W "+4(a0)\n"
      "lw a2, " Q_TILE_BIAS "(a0)\nlw a3, " Q_TILE_BIAS "+4(a0)\n"
      "lw s0, 0(a2)\nlw s1, 4(a2)\nlw s2, 8(a2)\nlw s3, 12(a2)\n"
      "lw s4, 0(a3)\nlw s5, 4(a3)\nlw s6, 8(a3)\nlw s7, 12(a3)\n"
      "lw t1, " Q_TILE_RUNS "(a0)\nlw t2, " Q_TILE_RUN "(a0)\nlw t3, " Q_TILE_SKIP "(a0)\n"
      "andi t4, t2, -4\n"
      "1:\n"
      "add t5, t0, t2\nadd t6, t0, t4\n"
      "beq t0, t6, 3f\n"
      "2: q_eight 0\nq_eight 1\nq_eight 2\nq_eight 3\n"
      "addi t0, t0, 4\naddi a1, a1, 16\naddi a7, a7, 16\n"
      "bne t0, t6, 2b\n"
      "3: beq t0, t5, 5f\n"
      "4: q_eight 0\n"
      "addi t0, t0, 1\naddi a1, a1, 4\naddi a7, a7, 4\n"
      "bne t0, t5, 4b\n"
      "5: add t0, t0, t3\naddi t1, t1, -1\nbnez t1, 1b\n"
      "lw a0, " Q_TILE_OUT "(a0)\n"
      "sw s0, 0(a0)\nsw s1, 4(a0)\nsw s2, 8(a0)\nsw s3, 12(a0)\n"
      "sw s4, 16(a0)\nsw s5, 20(a0)\nsw s6, 24(a0)\nsw s7, 28(a0)\n"
      Q_RETURN Q_TILE_MACROS_END);
}

#else

static inline void q_tile_4x4(const q_tile *tile) {
  for (int i = 0; i < 16; i++) {
    const uint8_t *x = tile->x[i / 4];
    const int8_t *w = tile->w[0] + i % 4;
    int32_t sum = tile->bias[0][i % 4];
    for (int32_t run = 0; run < tile->runs.count; run++, x += tile->runs.skip) {
      for (int32_t k = 0; k < tile->runs.length; k++, w += 4) {
        sum = q_add_wrapping(sum, *x++ * *w);
      }
    }
    tile->out[i] = sum;
  }
}

static inline void q_tile_1x8(const q_tile *tile) {
  for (int i = 0; i < 8; i++) {
    const uint8_t *x = tile->x[0];
    const int8_t *w = tile->w[i / 4] + i % 4;
    int32_t sum = tile->bias[i / 4][i % 4];
    for (int32_t run = 0; run < tile->runs.count; run++, x += tile->runs.skip) {
      for (int32_t k = 0; k < tile->runs.length; k++, w += 4) {
        sum = q_add_wrapping(sum, *x++ * *w);
      }
    }
    tile->out[i] = sum;
  }
}

#endif

#endif
