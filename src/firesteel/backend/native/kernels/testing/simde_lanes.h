// AVX-512 and AVX-VNNI without a processor that has them: the intrinsics that lanes/ uses, as SIMDe implements them.
// CMake's FIRESTEEL_SIMDE puts this in front of lanes/avx512.h and lanes/avx2.h; scripts/emulate.sh builds so.
#pragma once
#include <immintrin.h>  // first: what the lanes then include is this, and its names are replaced below

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

// What Debian 12's SIMDe (0.7.4) lacks or has wrong, each as two halves of 256 bits.
static inline __m512i fs_join(__m256i low, __m256i high) {
  __m512i whole;
  __builtin_memcpy(&whole, &low, 32);
  __builtin_memcpy(reinterpret_cast<char*>(&whole) + 32, &high, 32);
  return whole;
}
static inline __m512 fs_join(__m256 low, __m256 high) {
  return _mm512_castsi512_ps(fs_join(_mm256_castps_si256(low), _mm256_castps_si256(high)));
}
template <class Whole>
static inline __m256i fs_half(Whole whole, int index) {
  __m256i half;
  __builtin_memcpy(&half, reinterpret_cast<const char*>(&whole) + 32 * index, 32);
  return half;
}
static inline __m512i fs_cvtepu8_epi32(__m128i a) {
  return fs_join(_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)));
}
static inline __m512i fs_cvtepi8_epi32(__m128i a) {
  return fs_join(_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8)));
}
static inline __m512i fs_cvtepu16_epi32(__m256i a) {
  return fs_join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)));
}
static inline __m512 fs_cvtepi32_ps(__m512i a) {
  return fs_join(_mm256_cvtepi32_ps(fs_half(a, 0)), _mm256_cvtepi32_ps(fs_half(a, 1)));
}
static inline __m512i fs_cvtps_epi32(__m512 a) {
  return fs_join(_mm256_cvtps_epi32(_mm256_castsi256_ps(fs_half(a, 0))), _mm256_cvtps_epi32(_mm256_castsi256_ps(fs_half(a, 1))));
}
static inline __m512 fs_cvtph_ps(__m256i a) {
  return fs_join(_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}
static inline float fs_reduce_max_ps(__m512 a) {
  float values[16], most;
  __builtin_memcpy(values, &a, sizeof values);
  most = values[0];
  for (const float value : values) most = value > most ? value : most;
  return most;
}
#define _mm512_cvtepu8_epi32 fs_cvtepu8_epi32
#define _mm512_cvtepi8_epi32 fs_cvtepi8_epi32
#define _mm512_cvtepu16_epi32 fs_cvtepu16_epi32
#define _mm512_cvtepi32_ps fs_cvtepi32_ps
#define _mm512_cvtps_epi32 fs_cvtps_epi32
#define _mm512_cvtph_ps fs_cvtph_ps
#define _mm512_reduce_max_ps fs_reduce_max_ps
#undef _mm512_madd_epi16  // SIMDe 0.7.4 defines it with four parameters
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
