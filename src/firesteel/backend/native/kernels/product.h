// Matrix products for few rows: one template over lanes (instruction set), layout (format) and number of rows.
//
// Every output is summed in one order, whatever the number of rows, the tile or the thread: results are the same to
// the last bit. Weights are read once for up to four rows; codes of a group are summed exactly in integers.
#pragma once
#include <utility>

#include "formats.h"
#include "product_float.h"
#include "scales.h"

namespace FS_ISA {

using firesteel::Activations;
using firesteel::kGroup;
using firesteel::kNibbleBytes;
using firesteel::kRows;
using firesteel::kVectors;
using firesteel::Matrix;

constexpr int kTile = 4;             // activation rows that share one reading of the weights
constexpr int kPrefetchBytes = 4608;  // ahead in the stream of weights

FS_INLINE int32_t four_codes(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return four;
}

// Code vector `Index` of the group at `p`: unsigned codes of four columns of 16 rows.
template <const Layout& L, int Index>
FS_INLINE Bytes codes_of(const uint8_t* p) {
  const Bytes nibbles = load_bytes(p + 64 * (Index % 4));
  const Bytes low = Index < 4 ? masked(nibbles, 15) : masked(shifted<-4>(nibbles), 15);
  if constexpr (L.more_bits() == 1) {
    const Bytes bits = load_bytes(p + kNibbleBytes);
    return either(low, masked(shifted<4 - Index>(bits), 0x10));
  } else if constexpr (L.more_bits() == 2) {
    const Bytes bits = load_bytes(p + kNibbleBytes + 64 * (Index / 4));
    return either(low, masked(shifted<4 - 2 * (Index % 4)>(bits), 0x30));
  } else {
    return low;
  }
}

// Adds the products of one code vector to the sums of T rows.
template <const Layout& L, int Index, int T>
FS_INLINE void add_vector(Sum (&sums)[T], const uint8_t* p, const Activations& a, int group) {
  const Bytes codes = codes_of<L, Index>(p);
  const int8_t* at = a.codes + group * kGroup + 4 * Index;
  for (int t = 0; t < T; ++t) {
    dot(sums[t], codes, four_codes(at + static_cast<size_t>(t) * a.groups * kGroup));
    settle(sums[t]);
  }
}

template <const Layout& L, int T, int First, int... Steps>
FS_INLINE void add_vectors(Sum (&sums)[T], const uint8_t* p, const Activations& a, int group,
                        std::integer_sequence<int, Steps...>) {
  if constexpr (First < 0) {  // low and high nibbles of one load in turn
    (add_vector<L, (Steps % 2) * 4 + Steps / 2, T>(sums, p, a, group), ...);
  } else {
    (add_vector<L, First + Steps, T>(sums, p, a, group), ...);
  }
}

// The integer sums of one group for T rows. `First`, `Count`: which code vectors; -1: all.
template <const Layout& L, int T, int First, int Count, int Times>
FS_INLINE void group_sums(I (&result)[T], const uint8_t* p, const Activations& a, int group, int which) {
  Sum sums[T];
  for (int t = 0; t < T; ++t) sums[t] = start<Times>(a.starts[(static_cast<size_t>(t) * a.groups + group) * 3 + which]);
  add_vectors<L, T, First>(sums, p, a, group, std::make_integer_sequence<int, Count>{});
  for (int t = 0; t < T; ++t) result[t] = finish(sums[t]);
}

template <int T>
FS_INLINE void scale_sums(F (&out)[T], const I (&sums)[T], F scale, const Activations& a, int group) {
  for (int t = 0; t < T; ++t) {
    const F by = mul(scale, splat(a.scales[static_cast<size_t>(t) * a.groups + group]));
    out[t] = fma(to_float(sums[t]), by, out[t]);
  }
}

template <const Layout& L, int T>
FS_INLINE void add_group(F (&out)[T], const uint8_t* header, const uint8_t* p, const uint8_t* plane, const Activations& a,
                      int group) {
  const GroupScales s = group_scales<L>(header, p + kNibbleBytes + L.bits_bytes());
  I sums[T];
  if constexpr (L.split()) {
    group_sums<L, T, 0, 4, 1>(sums, p, a, group, 1);
    scale_sums(out, sums, s.scale[0], a, group);
    group_sums<L, T, 4, 4, 1>(sums, p, a, group, 2);
    scale_sums(out, sums, s.scale[1], a, group);
  } else {
    group_sums<L, T, -1, kVectors, L.zero / 8>(sums, p, a, group, 0);
    if constexpr (L.bits == 8) {
      I low[T];
      group_sums<L, T, -1, kVectors, 0>(low, plane, a, group, 0);
      for (int t = 0; t < T; ++t) sums[t] = scaled_sum(sums[t], low[t]);
    }
    scale_sums(out, sums, s.scale[0], a, group);
  }
  if constexpr (L.has_min()) {
    for (int t = 0; t < T; ++t)
      out[t] = fma(s.minimum, splat(a.sums[static_cast<size_t>(t) * a.groups + group]), out[t]);
  }
}

// One block of 16 rows times T rows of activations.
template <const Layout& L, int T>
FS_INLINE void tile(F (&out)[T], const uint8_t* p, const uint8_t* plane, const Activations& a) {
  for (int t = 0; t < T; ++t) out[t] = splat(0.0f);
  for (int super = 0; super < a.groups; super += L.groups_per_super) {
    const uint8_t* header = p;
    p += L.header_bytes;
    for (int g = 0; g < L.groups_per_super; ++g, p += L.group_bytes(), plane += L.plane_bytes()) {
      for (int line = 0; line < L.group_bytes(); line += 64) prefetch(p + kPrefetchBytes + line);
      for (int line = 0; line < L.plane_bytes(); line += 64) prefetch(plane + kPrefetchBytes + line);
      add_group<L, T>(out, header, p, plane, a, super + g);
    }
  }
}

template <const Layout& L, int T>
FS_INLINE void tile_to(float* out, size_t stride, const uint8_t* p, const uint8_t* plane, const Activations& a) {
  F sums[T];
  tile<L, T>(sums, p, plane, a);
  for (int t = 0; t < T; ++t) store(out + t * stride, sums[t]);
}

FS_INLINE int tile_rows(int left) { return left == 5 || left == 6 ? 3 : left < kTile ? left : kTile; }

// Blocks `first` to `end` of the matrix times `rows` rows of activations, to out[row × stride + matrix row].
template <const Layout& L>
void product(const Matrix& m, const Activations& a, int rows, int first, int end, float* out, size_t stride) {
  for (int block = first; block < end; ++block) {
    const uint8_t* p = m.base + block * m.block_bytes();
    const uint8_t* plane = m.plane + block * m.plane_block_bytes();
    for (int row = 0; row < rows;) {
      float* to = out + row * stride + static_cast<size_t>(block) * kRows;
      const int count = tile_rows(rows - row);
      const Activations here = a.at(row);
      if (count == 4) tile_to<L, 4>(to, stride, p, plane, here);
      else if (count == 3) tile_to<L, 3>(to, stride, p, plane, here);
      else if (count == 2) tile_to<L, 2>(to, stride, p, plane, here);
      else tile_to<L, 1>(to, stride, p, plane, here);
      row += count;
    }
  }
}

// The same for any format.
inline void any_product(const Matrix& m, const Activations& a, int rows, int first, int end, float* out,
                        size_t stride) {
  using firesteel::Format;
  switch (m.format) {
    case Format::q4_0: return product<firesteel::kQ4_0>(m, a, rows, first, end, out, stride);
    case Format::q4_1: return product<firesteel::kQ4_1>(m, a, rows, first, end, out, stride);
    case Format::q5_0: return product<firesteel::kQ5_0>(m, a, rows, first, end, out, stride);
    case Format::q5_1: return product<firesteel::kQ5_1>(m, a, rows, first, end, out, stride);
    case Format::q8_0: return product<firesteel::kQ8_0>(m, a, rows, first, end, out, stride);
    case Format::q4_k: return product<firesteel::kQ4_K>(m, a, rows, first, end, out, stride);
    case Format::q5_k: return product<firesteel::kQ5_K>(m, a, rows, first, end, out, stride);
    case Format::q6_k: return product<firesteel::kQ6_K>(m, a, rows, first, end, out, stride);
    case Format::f16: return float_product<Format::f16>(m, a, rows, first, end, out, stride);
    case Format::bf16: return float_product<Format::bf16>(m, a, rows, first, end, out, stride);
    case Format::f32: return float_product<Format::f32>(m, a, rows, first, end, out, stride);
  }
}

// What the first plane of 8-bit weights says of the products: the low nibbles count as 7.5, see head.h.
inline void coarse_product(const Matrix& m, const Activations& a, int rows, int first, int end, float* out,
                           size_t stride) {
  product<firesteel::kHead>(m, a, rows, first, end, out, stride);
}

}  // namespace FS_ISA
