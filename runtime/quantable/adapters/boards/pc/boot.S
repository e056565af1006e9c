/* What a reset of a PC starts: from 16 bits to 64, with vectors of every length, and on to board_main.
 * All of its 64 KB lie below 4 GB, where a processor begins; the program itself lies in memory.
 */
  .section .rom, "ax", @progbits
  .code16
board_rom:
  cli
  cld
  movw %cs, %ax
  movw %ax, %ds
  lgdtl %cs:(rom_gdt_pointer - board_rom)
  movl %cr0, %eax
  orl $1, %eax
  movl %eax, %cr0
  ljmpl $8, $rom_32
  .code32
rom_32:
  movw $16, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movl $0x80000, %esp
  /* The first sector of the disk says how many the program has, and its inputs. */
  movl $0x4000, %edi
  xorl %esi, %esi
  movl $1, %ebp
  call rom_read
  movl $0x100000, %edi
  movl 0x4000, %ebp
  call rom_read
  movl $board_given, %edi
  movl 0x4004, %ebp
  call rom_read
  /* Tables of pages at 0x1000: four of a gigabyte each, that are where they say. */
  xorl %eax, %eax
  movl $0x1000, %edi
  movl $0x800, %ecx
  rep stosl
  movl $0x2003, 0x1000
  movl $0x00000083, 0x2000
  movl $0x40000083, 0x2008
  movl $0x80000083, 0x2010
  movl $0xc0000083, 0x2018
  movl $0x1000, %eax
  movl %eax, %cr3
  movl $0x40620, %eax /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
  movl %eax, %cr4
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x100, %eax
  wrmsr
  movl %cr0, %eax
  andl $0xfffffffb, %eax
  orl $0x80000002, %eax
  movl %eax, %cr0
  ljmpl $24, $board_reset
/* Read %ebp sectors from %esi on to %edi, one at a time; all three move on. */
rom_read:
  testl %ebp, %ebp
  jz 3f
  movw $0x1f2, %dx
  movb $1, %al
  outb %al, %dx
  movl %esi, %eax
  movl $3, %ecx
1: incw %dx
  outb %al, %dx
  shrl $8, %eax
  loop 1b
  incw %dx
  orb $0xe0, %al /* by number of sector, the first disk */
  outb %al, %dx
  incw %dx
  movb $0x20, %al
  outb %al, %dx
2: inb %dx, %al
  andb $0x88, %al
  cmpb $8, %al /* not busy, and data are there */
  jne 2b
  movw $0x1f0, %dx
  movl $256, %ecx
  rep insw
  incl %esi
  decl %ebp
  jmp rom_read
3: ret
  .balign 8
rom_gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
rom_gdt_pointer:
  .word 31
  .long rom_gdt
  .org 0xfff0
  .code16
  ljmpw $0xf000, $0
  .org 0x10000

  .section .start, "ax", @progbits
  .code64
  .globl board_reset
board_reset:
  xorl %ecx, %ecx
  xgetbv
  movl $0xe7, %eax /* x87, SSE, AVX, masks, both halves of what AVX-512 adds */
  xorl %edx, %edx
  xsetbv
  movl $board_bss, %edi
  movl $board_bss_end, %ecx
  subl %edi, %ecx
  xorl %eax, %eax
  rep stosb
  movl $board_stack, %edi
  movl $board_stack_top, %ecx
  subl %edi, %ecx
  shrl $2, %ecx
  movl $0xDEADBEEF, %eax
  rep stosl
  movl $board_stack_top, %esp
  call board_main

  .section .note.GNU-stack, "", @progbits
