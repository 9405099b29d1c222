// Products with weights that are floats in the model file: read as they are, row by row, times float activations.
#pragma once
#include "formats.h"

namespace FS_ISA {

using firesteel::Activations;
using firesteel::Format;
using firesteel::kGroup;
using firesteel::Matrix;

template <Format K>
FS_INLINE F load_weights(const uint8_t* p) {
  if constexpr (K == Format::f16) return from_half(reinterpret_cast<const uint16_t*>(p));
  if constexpr (K == Format::bf16) return from_bfloat(reinterpret_cast<const uint16_t*>(p));
  return load(reinterpret_cast<const float*>(p));
}

// One matrix row times T rows of activations.
template <Format K, int T>
FS_INLINE void float_row(float* out, size_t stride, const uint8_t* p, int columns, const Activations& a) {
  constexpr int kBytes = K == Format::f32 ? 4 : 2;
  const size_t row = static_cast<size_t>(a.groups) * kGroup;
  F sums[T];
  for (int t = 0; t < T; ++t) sums[t] = splat(0.0f);
  int column = 0;
  for (; column + 16 <= columns; column += 16) {
    const F weights = load_weights<K>(p + static_cast<size_t>(column) * kBytes);
    for (int t = 0; t < T; ++t) sums[t] = fma(weights, load(a.values + t * row + column), sums[t]);
  }
  if (column < columns) {  // activations are padded with zeros, weights are not
    alignas(64) uint8_t rest[64] = {};
    __builtin_memcpy(rest, p + static_cast<size_t>(column) * kBytes, static_cast<size_t>(columns - column) * kBytes);
    const F weights = load_weights<K>(rest);
    for (int t = 0; t < T; ++t) sums[t] = fma(weights, load(a.values + t * row + column), sums[t]);
  }
  for (int t = 0; t < T; ++t) out[t * stride] = reduce_add(sums[t]);
}

template <Format K>
void float_product(const Matrix& m, const Activations& a, int rows, int first, int end, float* out, size_t stride) {
  const size_t row_bytes = static_cast<size_t>(m.columns) * (K == Format::f32 ? 4 : 2);
  for (int at = first * firesteel::kRows; at < end * firesteel::kRows; ++at) {
    for (int t = 0; t < rows;) {
      float* to = out + t * stride + at;
      const Activations here = a.at(t);
      if (at >= m.rows) {
        *to = 0.0f;  // a block may end beyond the matrix
        ++t;
      } else if (rows - t >= 4) {
        float_row<K, 4>(to, stride, m.base + at * row_bytes, m.columns, here);
        t += 4;
      } else {
        float_row<K, 1>(to, stride, m.base + at * row_bytes, m.columns, here);
        ++t;
      }
    }
  }
}

}  // namespace FS_ISA
