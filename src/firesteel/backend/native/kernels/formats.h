// How weights lie in memory once packed.
//
// A matrix is cut into blocks of 16 rows, a block into groups of 32 columns. A group holds, for its 16 rows, first
// 256 bytes with the low (of 8 bits: the high) nibbles of all codes, then the fifth or fifth and sixth bits, then
// the scales. Byte 64·j + 4·r + b of the nibbles holds row r: column 4·j + b in its low half, 16 + 4·j + b in its
// high half; so one vector holds four columns of every row, and four activations are broadcast to meet it.
// Eight-bit codes keep their low nibbles in a plane of their own, so that a reader may leave it out.
#pragma once
#include <cstddef>
#include <cstdint>

// Kernels only pay when all of a tile ends up in one function; GCC stops inlining at a budget otherwise.
#define FS_INLINE inline __attribute__((always_inline))

namespace firesteel {

constexpr int kRows = 16;
constexpr int kGroup = 32;
constexpr int kVectors = 8;       // code vectors of a group: 0 to 3 are columns 0 to 15
constexpr int kNibbleBytes = 256;  // of a group

enum class Format : int32_t { q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k, f16, bf16, f32 };
constexpr int kFormats = 11;

enum class Scales { half, half_min, six_bit, split, half_plane };  // see scales.h

// What distinguishes one packed format from another. `zero` is the code of the value 0 (8-bit codes: of the high
// nibble); `split`: two scales a group, one for each 16 columns.
struct Layout {
  int bits, zero, groups_per_super, header_bytes;
  Scales scales;

  constexpr bool split() const { return scales == Scales::split; }
  constexpr bool has_min() const { return scales != Scales::half && scales != Scales::split; }
  constexpr int more_bits() const { return bits == 8 ? 0 : bits - 4; }
  constexpr int bits_bytes() const { return 64 * more_bits(); }
  constexpr int scale_bytes() const { return scales == Scales::half_min ? 64 : 32; }
  constexpr int group_bytes() const { return kNibbleBytes + bits_bytes() + scale_bytes(); }
  constexpr int super_bytes() const { return header_bytes + groups_per_super * group_bytes(); }
  constexpr int plane_bytes() const { return bits == 8 ? kNibbleBytes : 0; }  // a group's share of the second plane
};

inline constexpr Layout kQ4_0{4, 8, 1, 0, Scales::half};       // scale × (code − 8)
inline constexpr Layout kQ4_1{4, 0, 1, 0, Scales::half_min};   // scale × code + minimum
inline constexpr Layout kQ5_0{5, 16, 1, 0, Scales::half};
inline constexpr Layout kQ5_1{5, 16, 1, 0, Scales::half_min};  // centred while summing; the minimum makes up for it
inline constexpr Layout kQ8_0{8, 8, 1, 0, Scales::half};       // scale × (16 × (high − 8) + low)
inline constexpr Layout kQ4_K{4, 0, 8, 64, Scales::six_bit};   // outer scale × scale × code − outer minimum × minimum
inline constexpr Layout kQ5_K{5, 16, 8, 64, Scales::six_bit};
inline constexpr Layout kQ6_K{6, 32, 8, 32, Scales::split};    // outer scale × scale × (code − 32)

inline constexpr Layout kHead{4, 8, 1, 0, Scales::half_plane};  // the first plane of q8_0 alone

constexpr Layout kLayouts[] = {kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K};  // in the order of Format

constexpr bool is_quantized(Format format) { return static_cast<int>(format) <= static_cast<int>(Format::q6_k); }
constexpr const Layout& layout(Format format) { return kLayouts[static_cast<int>(format)]; }

// One weight matrix [rows, columns]. Quantised: `base` points at the packed blocks and `plane` at the second plane
// (8 bits only). Otherwise `base` points at the rows themselves, as the model file has them.
struct Matrix {
  Format format;
  int32_t rows, columns;
  const uint8_t* base;
  const uint8_t* plane;
  const float* slack;  // [rows padded] of a head, see head.h; else null

  int groups() const { return (columns + kGroup - 1) / kGroup; }
  int blocks() const { return (rows + kRows - 1) / kRows; }
  size_t block_bytes() const {
    const Layout& l = layout(format);
    return static_cast<size_t>(groups()) / l.groups_per_super * l.super_bytes();
  }
  size_t plane_block_bytes() const { return static_cast<size_t>(groups()) * layout(format).plane_bytes(); }
};

// Activations of some rows, quantised in groups of 32 and as they were. `starts` holds, for each group, what its sums
// start from, as two 16-bit lanes each: −8 × the sums of the codes; −32 × those of columns 0 to 15; of 16 to 31.
struct Activations {
  int8_t* codes;    // [rows, groups × 32]
  float* scales;    // [rows, groups]
  float* sums;      // [rows, groups]: scale × sum of the codes
  int32_t* starts;  // [rows, groups × 3]
  float* values;    // [rows, groups × 32]
  int32_t groups;

  Activations at(int row) const {
    const size_t r = static_cast<size_t>(row), g = static_cast<size_t>(groups);
    return {codes + r * g * kGroup, scales + r * g, sums + r * g, starts + r * g * 3, values + r * g * kGroup, groups};
  }
};

}  // namespace firesteel
