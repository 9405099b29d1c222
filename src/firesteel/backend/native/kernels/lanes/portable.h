// Sixteen lanes in plain C++: the reference that every other instruction set is tested against, and what runs on
// processors that have none of them. The functions here define what those of the same name mean elsewhere.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../formats.h"

namespace FS_ISA {

constexpr int kQueryTile = 4;  // attention: queries whose sums fill the registers

struct F { float v[16]; };
struct I { int32_t v[16]; };
struct Bytes { uint8_t v[64]; };  // 4·r + b: row r, column b of four
struct Pairs { int16_t v[32]; };
struct Sum { int32_t v[16]; };

template <class Result, class Function>
FS_INLINE Result each(Function function) {
  Result result;
  for (int i = 0; i < 16; ++i) result.v[i] = function(i);
  return result;
}

FS_INLINE F load(const float* p) { return each<F>([&](int i) { return p[i]; }); }
FS_INLINE void store(float* p, F a) { std::memcpy(p, a.v, sizeof a.v); }
FS_INLINE F splat(float a) { return each<F>([&](int) { return a; }); }
FS_INLINE F add(F a, F b) { return each<F>([&](int i) { return a.v[i] + b.v[i]; }); }
FS_INLINE F sub(F a, F b) { return each<F>([&](int i) { return a.v[i] - b.v[i]; }); }
FS_INLINE F mul(F a, F b) { return each<F>([&](int i) { return a.v[i] * b.v[i]; }); }
FS_INLINE F div(F a, F b) { return each<F>([&](int i) { return a.v[i] / b.v[i]; }); }
FS_INLINE F fma(F a, F b, F c) { return each<F>([&](int i) { return a.v[i] * b.v[i] + c.v[i]; }); }
FS_INLINE F max(F a, F b) { return each<F>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
FS_INLINE F min(F a, F b) { return each<F>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
FS_INLINE F absolute(F a) { return each<F>([&](int i) { return std::fabs(a.v[i]); }); }
FS_INLINE float reduce_add(F a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) a.v[i] += a.v[i + width];
  return a.v[0];
}
FS_INLINE float reduce_max(F a) {
  float most = a.v[0];
  for (int i = 1; i < 16; ++i) most = a.v[i] > most ? a.v[i] : most;
  return most;
}
FS_INLINE float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
FS_INLINE float half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
  if (exponent == 0) {  // zero and subnormal: an integer times 2^-24
    const float value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  return float_of(sign | ((exponent == 31 ? 255 : exponent + 112) << 23) | (fraction << 13));
}
FS_INLINE F from_half(const uint16_t* p) { return each<F>([&](int i) { return half(p[i]); }); }
FS_INLINE F from_bfloat(const uint16_t* p) {
  return each<F>([&](int i) { return float_of(static_cast<uint32_t>(p[i]) << 16); });
}
FS_INLINE F from_unsigned(const uint8_t* p) { return each<F>([&](int i) { return static_cast<float>(p[i]); }); }
FS_INLINE F from_signed(const uint8_t* p) {
  return each<F>([&](int i) { return static_cast<float>(static_cast<int8_t>(p[i])); });
}
FS_INLINE F to_float(I a) { return each<F>([&](int i) { return static_cast<float>(a.v[i]); }); }
FS_INLINE I to_int(F a) {  // to nearest, ties to even
  return each<I>([&](int i) { return static_cast<int32_t>(std::lrint(a.v[i])); });
}
FS_INLINE F power_of_two(I a) {  // exponents −126 to 127
  return each<F>([&](int i) { return float_of(static_cast<uint32_t>(a.v[i] + 127) << 23); });
}
FS_INLINE I zero() { return each<I>([](int) { return 0; }); }
FS_INLINE I scaled_sum(I high, I low) { return each<I>([&](int i) { return 16 * high.v[i] + low.v[i]; }); }
FS_INLINE void store_words(int16_t* p, I a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(a.v[i]);
}
FS_INLINE void store_bytes(int8_t* p, I a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(a.v[i]);
}

FS_INLINE Bytes load_bytes(const uint8_t* p) {
  Bytes a;
  std::memcpy(a.v, p, 64);
  return a;
}
template <int Shift>  // positive: towards high bits; what crosses a byte is masked away by the caller
FS_INLINE Bytes shifted(Bytes a) {
  for (auto& byte : a.v) byte = static_cast<uint8_t>(Shift > 0 ? byte << (Shift > 0 ? Shift : 0) : byte >> (Shift < 0 ? -Shift : 0));
  return a;
}
FS_INLINE Bytes masked(Bytes a, int mask) {
  for (auto& byte : a.v) byte = static_cast<uint8_t>(byte & mask);
  return a;
}
FS_INLINE Bytes either(Bytes a, Bytes b) {
  for (int i = 0; i < 64; ++i) a.v[i] |= b.v[i];
  return a;
}

template <int Times>  // what the sums of a group start from, see Activations::starts
FS_INLINE Sum start(int32_t lanes) {
  const int32_t whole = Times * (static_cast<int16_t>(lanes) + (lanes >> 16));
  return each<Sum>([&](int) { return whole; });
}
FS_INLINE void dot(Sum& sum, Bytes codes, int32_t four) {  // four signed activations meet four columns of every row
  int8_t a[4];
  std::memcpy(a, &four, 4);
  for (int i = 0; i < 64; ++i) sum.v[i / 4] += codes.v[i] * a[i % 4];
}
FS_INLINE I finish(Sum sum) { return each<I>([&](int i) { return sum.v[i]; }); }

FS_INLINE Pairs load_pairs(const int16_t* p) {
  Pairs a;
  std::memcpy(a.v, p, sizeof a.v);
  return a;
}
FS_INLINE Pairs load_pairs(const int8_t* p) {
  Pairs a;
  for (int i = 0; i < 32; ++i) a.v[i] = p[i];
  return a;
}
FS_INLINE void multiply_add(I& sum, Pairs a, int32_t pair) {
  const int32_t low = static_cast<int16_t>(pair), high = pair >> 16;
  for (int i = 0; i < 16; ++i) sum.v[i] += a.v[2 * i] * low + a.v[2 * i + 1] * high;
}
FS_INLINE void settle(Sum&) {}
FS_INLINE void settle(I&) {}
FS_INLINE void prefetch(const void*) {}

}  // namespace FS_ISA
