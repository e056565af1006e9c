/* Start-up code of an emulated RISC-V machine (`virt`). A tick is an instruction. */
#include "semihosting.h"

/* Of mstatus: floats and vectors are off after a reset. */
#define UNITS "0x6600"

_Noreturn void board_fault(void);

uint32_t board_ticks(void) {
  uintptr_t ticks;
  __asm__ volatile("csrr %0, minstret" : "=r"(ticks));
  return (uint32_t)ticks;
}

_Noreturn void board_fault(void) {
  machine_quit(BOARD_FAULT);
}

/* Mark the stack and clear what starts as zero before the first frame. */
__asm__(
    ".section .start, \"ax\"\n"
    ".globl board_reset\n"
    ".option push\n.option norelax\n"
    "board_reset:\n"
    "la t0, board_trap\ncsrw mtvec, t0\n"
    "li t0, " UNITS "\ncsrs mstatus, t0\n"
    "la t0, board_bss\nla t1, board_bss_end\n"
    "1: bgeu t0, t1, 2f\nsw zero, 0(t0)\naddi t0, t0, 4\nj 1b\n"
    "2: la t0, board_stack\nla sp, board_stack_top\nli t1, 0xDEADBEEF\n"
    "3: bgeu t0, sp, 4f\nsw t1, 0(t0)\naddi t0, t0, 4\nj 3b\n"
    "4: j board_main\n"
    ".balign 4\nboard_trap: j board_fault\n"
    /* The three instructions that make a call to the host, in one page. */
    ".option norvc\n.balign 16\n"
    "semihost: slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\nret\n"
    ".option pop\n.text\n");
