// What happens between matrix products: norms, quantising, the activation function, rotation.
#pragma once
#include "formats.h"

namespace FS_ISA {

// exp(x) to 2 units in the last place, for x of at most 88; below −87 it is that of −87 (1.6e-38). Cephes' polynomial.
FS_INLINE F exponential(F x) {
  x = max(min(x, splat(88.0f)), splat(-87.0f));
  const I n = to_int(mul(x, splat(1.44269504088896341f)));
  const F whole = to_float(n);
  F r = fma(whole, splat(-0.693359375f), x);
  r = fma(whole, splat(2.12194440e-4f), r);
  F y = splat(1.9875691500e-4f);
  y = fma(y, r, splat(1.3981999507e-3f));
  y = fma(y, r, splat(8.3334519073e-3f));
  y = fma(y, r, splat(4.1665795894e-2f));
  y = fma(y, r, splat(1.6666665459e-1f));
  y = fma(y, r, splat(5.0000001201e-1f));
  return mul(fma(y, mul(r, r), add(r, splat(1.0f))), power_of_two(n));
}

// Root mean square norm (arXiv 1910.07467): out = x / rms(x) × weight; n is a multiple of 16.
inline void normalise(const float* x, const float* weight, float epsilon, int n, float* out) {
  F squares = splat(0.0f);
  for (int i = 0; i < n; i += 16) squares = fma(load(x + i), load(x + i), squares);
  const float scale = 1.0f / __builtin_sqrtf(reduce_add(squares) / static_cast<float>(n) + epsilon);
  for (int i = 0; i < n; i += 16) store(out + i, mul(mul(load(x + i), splat(scale)), load(weight + i)));
}

// The sums of a group's codes as two 16-bit lanes: of the columns 4·j, 4·j + 1, and of 4·j + 2, 4·j + 3.
FS_INLINE int32_t lane_sums(const int8_t* codes, int count, int times) {
  int32_t low = 0, high = 0;
  for (int i = 0; i < count; i += 4) {
    low += codes[i] + codes[i + 1];
    high += codes[i + 2] + codes[i + 3];
  }
  return static_cast<int32_t>(static_cast<uint16_t>(times * low) | static_cast<uint32_t>(times * high) << 16);
}

// 0, or not a number where one of 16 is infinite or none: maxima and integers would lose it, and a damaged model would
// answer as if nothing were wrong.
FS_INLINE float invalid_among(F x) { return reduce_add(mul(x, splat(0.0f))); }

// Quantises `groups` groups of 32 from a.values + 32 × first on: one scale a group, codes of at most 127.
inline void quantise(const firesteel::Activations& a, int first, int groups) {
  for (int g = first; g < first + groups; ++g) {
    const float* x = a.values + g * firesteel::kGroup;
    int8_t* codes = a.codes + g * firesteel::kGroup;
    const F low = load(x), high = load(x + 16);
    const float most = reduce_max(max(absolute(low), absolute(high)));
    const F inverse = splat(most > 1e-30f ? 127.0f / most : 0.0f);
    const I low_codes = to_int(mul(low, inverse)), high_codes = to_int(mul(high, inverse));
    store_bytes(codes, low_codes);
    store_bytes(codes + 16, high_codes);
    a.scales[g] = most / 127.0f + invalid_among(add(low, high));
    a.sums[g] = reduce_add(add(to_float(low_codes), to_float(high_codes))) * a.scales[g];
    a.starts[3 * g] = lane_sums(codes, 32, -8);
    a.starts[3 * g + 1] = lane_sums(codes, 16, -32);
    a.starts[3 * g + 2] = lane_sums(codes + 16, 16, -32);
  }
}

// gate = silu(gate) × up; n is a multiple of 16.
inline void gated(float* gate, const float* up, int n) {
  for (int i = 0; i < n; i += 16) {
    const F x = load(gate + i);
    const F sigmoid = div(splat(1.0f), add(splat(1.0f), exponential(sub(splat(0.0f), x))));
    store(gate + i, mul(mul(x, sigmoid), load(up + i)));
  }
}

// to += from × weight; n is a multiple of 16.
inline void accumulate(float* to, const float* from, float weight, int n) {
  for (int i = 0; i < n; i += 16) store(to + i, fma(load(from + i), splat(weight), load(to + i)));
}

}  // namespace FS_ISA
