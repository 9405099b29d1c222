// Sixteen lanes on AVX2 (two registers), or AVX2 with AVX-VNNI. See portable.h for what each function means.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "../formats.h"

namespace FS_ISA {

constexpr int kQueryTile = 4;  // attention: queries whose sums fill the registers

struct F { __m256 v[2]; };        // 16 floats
struct I { __m256i v[2]; };       // 16 × int32
struct Bytes { __m256i v[2]; };   // 64 codes: 16 rows × 4 columns
struct Pairs { __m256i v[2]; };   // 16 × two int16
struct Sum { __m256i v[2]; };     // partial sums of a group

FS_INLINE F load(const float* p) { return {{_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}}; }
FS_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a.v[0]); _mm256_storeu_ps(p + 8, a.v[1]); }
FS_INLINE F splat(float a) { const __m256 v = _mm256_set1_ps(a); return {{v, v}}; }
FS_INLINE F add(F a, F b) { return {{_mm256_add_ps(a.v[0], b.v[0]), _mm256_add_ps(a.v[1], b.v[1])}}; }
FS_INLINE F sub(F a, F b) { return {{_mm256_sub_ps(a.v[0], b.v[0]), _mm256_sub_ps(a.v[1], b.v[1])}}; }
FS_INLINE F mul(F a, F b) { return {{_mm256_mul_ps(a.v[0], b.v[0]), _mm256_mul_ps(a.v[1], b.v[1])}}; }
FS_INLINE F div(F a, F b) { return {{_mm256_div_ps(a.v[0], b.v[0]), _mm256_div_ps(a.v[1], b.v[1])}}; }
FS_INLINE F fma(F a, F b, F c) {
  return {{_mm256_fmadd_ps(a.v[0], b.v[0], c.v[0]), _mm256_fmadd_ps(a.v[1], b.v[1], c.v[1])}};
}
FS_INLINE F max(F a, F b) { return {{_mm256_max_ps(a.v[0], b.v[0]), _mm256_max_ps(a.v[1], b.v[1])}}; }
FS_INLINE F min(F a, F b) { return {{_mm256_min_ps(a.v[0], b.v[0]), _mm256_min_ps(a.v[1], b.v[1])}}; }
FS_INLINE F absolute(F a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {{_mm256_andnot_ps(sign, a.v[0]), _mm256_andnot_ps(sign, a.v[1])}};
}
FS_INLINE float reduce_add(F a) {
  const __m256 s = _mm256_add_ps(a.v[0], a.v[1]);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
FS_INLINE float reduce_max(F a) {
  const __m256 s = _mm256_max_ps(a.v[0], a.v[1]);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
FS_INLINE F from_half(const uint16_t* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {{_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))}};
}
FS_INLINE F from_bfloat(const uint16_t* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  const auto widen = [](__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); };
  return {{widen(_mm_loadu_si128(q)), widen(_mm_loadu_si128(q + 1))}};
}
FS_INLINE F from_unsigned(const uint8_t* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {{_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)))}};
}
FS_INLINE F from_signed(const uint8_t* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))}};
}
FS_INLINE F to_float(I a) { return {{_mm256_cvtepi32_ps(a.v[0]), _mm256_cvtepi32_ps(a.v[1])}}; }
FS_INLINE I to_int(F a) { return {{_mm256_cvtps_epi32(a.v[0]), _mm256_cvtps_epi32(a.v[1])}}; }
FS_INLINE F power_of_two(I a) {
  const __m256i bias = _mm256_set1_epi32(127);
  return {{_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(a.v[0], bias), 23)),
           _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(a.v[1], bias), 23))}};
}
FS_INLINE I zero() { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
FS_INLINE I scaled_sum(I high, I low) {
  return {{_mm256_add_epi32(_mm256_slli_epi32(high.v[0], 4), low.v[0]),
           _mm256_add_epi32(_mm256_slli_epi32(high.v[1], 4), low.v[1])}};
}
FS_INLINE void store_words(int16_t* p, I a) {  // packs interleaves 128-bit lanes; the permutation puts them in order
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.v[0], a.v[1]), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), words);
}
FS_INLINE void store_bytes(int8_t* p, I a) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.v[0], a.v[1]), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

FS_INLINE Bytes load_bytes(const uint8_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {{_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)}};
}
template <int Shift>  // positive: towards high bits
FS_INLINE Bytes shifted(Bytes a) {
  if constexpr (Shift > 0) return {{_mm256_slli_epi16(a.v[0], Shift), _mm256_slli_epi16(a.v[1], Shift)}};
  if constexpr (Shift < 0) return {{_mm256_srli_epi16(a.v[0], -Shift), _mm256_srli_epi16(a.v[1], -Shift)}};
  return a;
}
FS_INLINE Bytes masked(Bytes a, int mask) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
  return {{_mm256_and_si256(a.v[0], m), _mm256_and_si256(a.v[1], m)}};
}
FS_INLINE Bytes either(Bytes a, Bytes b) { return {{_mm256_or_si256(a.v[0], b.v[0]), _mm256_or_si256(a.v[1], b.v[1])}}; }

#ifdef FS_VNNI  // 32-bit sums in one instruction
template <int Times>
FS_INLINE Sum start(int32_t lanes) {
  const int32_t whole = Times * (static_cast<int16_t>(lanes) + (lanes >> 16));
  const __m256i v = _mm256_set1_epi32(whole);
  return {{v, v}};
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {
  const __m256i a = _mm256_set1_epi32(four);
  sum.v[0] = _mm256_dpbusd_avx_epi32(sum.v[0], codes.v[0], a);
  sum.v[1] = _mm256_dpbusd_avx_epi32(sum.v[1], codes.v[1], a);
}
FS_INLINE I finish(Sum sum) { return {{sum.v[0], sum.v[1]}}; }
#else  // 16-bit sums, which may wrap on the way but end in range (formats.h: starts)
template <int Times>
FS_INLINE Sum start(int32_t lanes) {
  __m256i v = _mm256_set1_epi32(lanes);
  if constexpr (Times == 0) v = _mm256_setzero_si256();
  if constexpr (Times == 2) v = _mm256_slli_epi16(v, 1);
  return {{v, v}};
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {
  const __m256i a = _mm256_set1_epi32(four);
  sum.v[0] = _mm256_add_epi16(sum.v[0], _mm256_maddubs_epi16(codes.v[0], a));
  sum.v[1] = _mm256_add_epi16(sum.v[1], _mm256_maddubs_epi16(codes.v[1], a));
}
FS_INLINE I finish(Sum sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {{_mm256_madd_epi16(sum.v[0], ones), _mm256_madd_epi16(sum.v[1], ones)}};
}
#endif

FS_INLINE Pairs load_pairs(const int16_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {{_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)}};
}
FS_INLINE Pairs load_pairs(const int8_t* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {{_mm256_cvtepi8_epi16(_mm_loadu_si128(q)), _mm256_cvtepi8_epi16(_mm_loadu_si128(q + 1))}};
}
FS_INLINE void multiply_add(I& sum, Pairs a, int32_t pair) {
  const __m256i b = _mm256_set1_epi32(pair);
  sum.v[0] = _mm256_add_epi32(sum.v[0], _mm256_madd_epi16(a.v[0], b));
  sum.v[1] = _mm256_add_epi32(sum.v[1], _mm256_madd_epi16(a.v[1], b));
}
// Keeps the compiler from putting off the additions to the end of a group, which spills every product to the stack.
FS_INLINE void settle(Sum& sum) { asm volatile("" : "+x"(sum.v[0]), "+x"(sum.v[1])); }
FS_INLINE void settle(I& sum) { asm volatile("" : "+x"(sum.v[0]), "+x"(sum.v[1])); }
FS_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace FS_ISA
