// Forced into llama.cpp's compilation by scripts/setup.sh; see docs/decisions/0010.
// GCC's _tile_loadconfig (seen in 12.2) tells the optimiser that it reads 8 bytes of the 64-byte configuration,
// so the stores to the other 56 are dropped and the processor faults on garbage. Say that all 64 are read.
#pragma once
#if defined(__cplusplus) && defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" : : "m"(*(const char(*)[64])(config)))
#endif
