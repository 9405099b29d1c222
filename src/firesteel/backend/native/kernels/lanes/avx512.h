// Sixteen lanes on AVX-512 (F, BW, VL), with or without VNNI. See portable.h for what each function means.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "../formats.h"

namespace FS_ISA {

constexpr int kQueryTile = 8;  // attention: queries whose sums fill the registers

struct F { __m512 v; };
struct I { __m512i v; };
struct Bytes { __m512i v; };
struct Pairs { __m512i v; };
struct Sum { __m512i v; };

FS_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
FS_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
FS_INLINE F splat(float a) { return {_mm512_set1_ps(a)}; }
FS_INLINE F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
FS_INLINE F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
FS_INLINE F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
FS_INLINE F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
FS_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
FS_INLINE F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
FS_INLINE F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
FS_INLINE F absolute(F a) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff)))};
}
FS_INLINE __m256 upper_half(__m512 a) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}
FS_INLINE float reduce_add(F a) {
  const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
FS_INLINE float reduce_max(F a) { return _mm512_reduce_max_ps(a.v); }
FS_INLINE F from_half(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
FS_INLINE F from_bfloat(const uint16_t* p) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(words, 16))};
}
FS_INLINE F from_unsigned(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
FS_INLINE F from_signed(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
FS_INLINE F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
FS_INLINE I to_int(F a) { return {_mm512_cvtps_epi32(a.v)}; }
FS_INLINE F power_of_two(I a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(a.v, _mm512_set1_epi32(127)), 23))};
}
FS_INLINE I zero() { return {_mm512_setzero_si512()}; }
FS_INLINE I scaled_sum(I high, I low) { return {_mm512_add_epi32(_mm512_slli_epi32(high.v, 4), low.v)}; }
FS_INLINE void store_words(int16_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(a.v));
}
FS_INLINE void store_bytes(int8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v));
}

FS_INLINE Bytes load_bytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
template <int Shift>
FS_INLINE Bytes shifted(Bytes a) {
  if constexpr (Shift > 0) return {_mm512_slli_epi16(a.v, Shift)};
  if constexpr (Shift < 0) return {_mm512_srli_epi16(a.v, -Shift)};
  return a;
}
FS_INLINE Bytes masked(Bytes a, int mask) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi8(static_cast<char>(mask)))};
}
FS_INLINE Bytes either(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }

#ifdef FS_VNNI
template <int Times>
FS_INLINE Sum start(int32_t lanes) {
  return {_mm512_set1_epi32(Times * (static_cast<int16_t>(lanes) + (lanes >> 16)))};
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {
  sum.v = _mm512_dpbusd_epi32(sum.v, codes.v, _mm512_set1_epi32(four));
}
FS_INLINE I finish(Sum sum) { return {sum.v}; }
#else
template <int Times>
FS_INLINE Sum start(int32_t lanes) {
  if constexpr (Times == 0) return {_mm512_setzero_si512()};
  if constexpr (Times == 2) return {_mm512_slli_epi16(_mm512_set1_epi32(lanes), 1)};
  return {_mm512_set1_epi32(lanes)};
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {
  sum.v = _mm512_add_epi16(sum.v, _mm512_maddubs_epi16(codes.v, _mm512_set1_epi32(four)));
}
FS_INLINE I finish(Sum sum) { return {_mm512_madd_epi16(sum.v, _mm512_set1_epi16(1))}; }
#endif

FS_INLINE Pairs load_pairs(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
FS_INLINE Pairs load_pairs(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
FS_INLINE void multiply_add(I& sum, Pairs a, int32_t pair) {
#ifdef FS_VNNI
  sum.v = _mm512_dpwssd_epi32(sum.v, a.v, _mm512_set1_epi32(pair));
#else
  sum.v = _mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, _mm512_set1_epi32(pair)));
#endif
}
#ifdef __AVX512F__
FS_INLINE void settle(Sum& sum) { asm volatile("" : "+v"(sum.v)); }
FS_INLINE void settle(I& sum) { asm volatile("" : "+v"(sum.v)); }
#else  // emulated: testing/simde_lanes.h
FS_INLINE void settle(Sum&) {}
FS_INLINE void settle(I&) {}
#endif
FS_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace FS_ISA
