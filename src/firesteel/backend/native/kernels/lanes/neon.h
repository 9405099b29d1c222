// Sixteen lanes on NEON with the dot product (ARMv8.2 dotprod, or I8MM). See portable.h for what each function means.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "../formats.h"

namespace FS_ISA {

constexpr int kQueryTile = 4;  // attention: queries whose sums fill the registers

struct F { float32x4_t v[4]; };
struct I { int32x4_t v[4]; };
struct Bytes { uint8x16_t v[4]; };
struct Pairs { int16x8_t v[4]; };
struct Sum { int32x4_t v[4]; };

template <class Result, class Function>
FS_INLINE Result each(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}

FS_INLINE F load(const float* p) { return each<F>([&](int i) { return vld1q_f32(p + 4 * i); }); }
FS_INLINE void store(float* p, F a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.v[i]);
}
FS_INLINE F splat(float a) { return each<F>([&](int) { return vdupq_n_f32(a); }); }
FS_INLINE F add(F a, F b) { return each<F>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F sub(F a, F b) { return each<F>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F mul(F a, F b) { return each<F>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F div(F a, F b) { return each<F>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F fma(F a, F b, F c) { return each<F>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); }); }
FS_INLINE F max(F a, F b) { return each<F>([&](int i) { return vmaxq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F min(F a, F b) { return each<F>([&](int i) { return vminq_f32(a.v[i], b.v[i]); }); }
FS_INLINE F absolute(F a) { return each<F>([&](int i) { return vabsq_f32(a.v[i]); }); }
FS_INLINE float reduce_add(F a) {
  const float32x4_t low = vaddq_f32(a.v[0], a.v[2]), high = vaddq_f32(a.v[1], a.v[3]);
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
FS_INLINE float reduce_max(F a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3])));
}
FS_INLINE F from_half(const uint16_t* p) {
  return each<F>([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
FS_INLINE F from_bfloat(const uint16_t* p) {
  return each<F>([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
}
FS_INLINE F from_unsigned(const uint8_t* p) {
  const uint8x16_t a = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(a)), high = vmovl_u8(vget_high_u8(a));
  return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
           vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))}};
}
FS_INLINE F from_signed(const uint8_t* p) {
  const int8x16_t a = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(a)), high = vmovl_s8(vget_high_s8(a));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
FS_INLINE F to_float(I a) { return each<F>([&](int i) { return vcvtq_f32_s32(a.v[i]); }); }
FS_INLINE I to_int(F a) { return each<I>([&](int i) { return vcvtnq_s32_f32(a.v[i]); }); }
FS_INLINE F power_of_two(I a) {
  return each<F>([&](int i) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(a.v[i], vdupq_n_s32(127)), 23)); });
}
FS_INLINE I zero() { return each<I>([](int) { return vdupq_n_s32(0); }); }
FS_INLINE I scaled_sum(I high, I low) {
  return each<I>([&](int i) { return vaddq_s32(vshlq_n_s32(high.v[i], 4), low.v[i]); });
}
FS_INLINE int16x8_t words(I a, int i) { return vcombine_s16(vqmovn_s32(a.v[i]), vqmovn_s32(a.v[i + 1])); }
FS_INLINE void store_words(int16_t* p, I a) {
  vst1q_s16(p, words(a, 0));
  vst1q_s16(p + 8, words(a, 2));
}
FS_INLINE void store_bytes(int8_t* p, I a) { vst1q_s8(p, vcombine_s8(vqmovn_s16(words(a, 0)), vqmovn_s16(words(a, 2)))); }

FS_INLINE Bytes load_bytes(const uint8_t* p) { return each<Bytes>([&](int i) { return vld1q_u8(p + 16 * i); }); }
template <int Shift>
FS_INLINE Bytes shifted(Bytes a) {
  return each<Bytes>([&](int i) { return vshlq_u8(a.v[i], vdupq_n_s8(Shift)); });
}
FS_INLINE Bytes masked(Bytes a, int mask) {
  return each<Bytes>([&](int i) { return vandq_u8(a.v[i], vdupq_n_u8(static_cast<uint8_t>(mask))); });
}
FS_INLINE Bytes either(Bytes a, Bytes b) { return each<Bytes>([&](int i) { return vorrq_u8(a.v[i], b.v[i]); }); }

template <int Times>
FS_INLINE Sum start(int32_t lanes) {
  const int32_t whole = Times * (static_cast<int16_t>(lanes) + (lanes >> 16));
  return each<Sum>([&](int) { return vdupq_n_s32(whole); });
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {  // codes are below 64, so signed is unsigned
  const int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
#ifdef FS_I8MM
  for (int i = 0; i < 4; ++i) sum.v[i] = vusdotq_s32(sum.v[i], codes.v[i], a);
#else
  for (int i = 0; i < 4; ++i) sum.v[i] = vdotq_s32(sum.v[i], vreinterpretq_s8_u8(codes.v[i]), a);
#endif
}
FS_INLINE I finish(Sum sum) { return {{sum.v[0], sum.v[1], sum.v[2], sum.v[3]}}; }

FS_INLINE Pairs load_pairs(const int16_t* p) { return each<Pairs>([&](int i) { return vld1q_s16(p + 8 * i); }); }
FS_INLINE Pairs load_pairs(const int8_t* p) {
  return each<Pairs>([&](int i) { return vmovl_s8(vld1_s8(p + 8 * i)); });
}
FS_INLINE void multiply_add(I& sum, Pairs a, int32_t pair) {
  const int16x8_t b = vreinterpretq_s16_s32(vdupq_n_s32(pair));
  for (int i = 0; i < 4; ++i) {
    const int32x4_t low = vmull_s16(vget_low_s16(a.v[i]), vget_low_s16(b)), high = vmull_high_s16(a.v[i], b);
    sum.v[i] = vaddq_s32(sum.v[i], vpaddq_s32(low, high));
  }
}
FS_INLINE void settle(Sum&) {}
FS_INLINE void settle(I&) {}
FS_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

}  // namespace FS_ISA
