#include "source.h"

#include <cmath>
#include <cstring>

namespace firesteel {
namespace {

struct Block { int columns, bytes; };
constexpr Block kBlocks[kFormats] = {{32, 18}, {32, 20}, {32, 22}, {32, 24}, {32, 34}, {256, 144},
                                     {256, 176}, {256, 210}, {1, 2}, {1, 2}, {1, 4}};

uint16_t half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, 2);
  return half;
}

void read_nibbles(const uint8_t* p, SourceGroup& g) {  // columns 0 to 15 are the low nibbles
  for (int i = 0; i < 16; ++i) {
    g.codes[i] = p[i] & 15;
    g.codes[i + 16] = p[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t* p, SourceGroup& g) {
  uint32_t bits;
  std::memcpy(&bits, p, 4);
  for (int i = 0; i < kGroup; ++i) g.codes[i] |= static_cast<uint8_t>((bits >> i & 1) << 4);
}

// 8-bit codes become unsigned: 128 stands for 0.
void read_bytes(const uint8_t* p, SourceGroup& g) {
  for (int i = 0; i < kGroup; ++i) g.codes[i] = static_cast<uint8_t>(p[i] + 128);
}

// Scale and minimum, six bits each, of group `j` of a Q4_K or Q5_K super-block.
void read_six_bits(const uint8_t* p, int j, SourceGroup& g) {
  if (j < 4) {
    g.small_scale[0] = p[j] & 63;
    g.small_minimum = p[j + 4] & 63;
  } else {
    g.small_scale[0] = static_cast<uint8_t>((p[j + 4] & 15) | (p[j - 4] >> 6) << 4);
    g.small_minimum = static_cast<uint8_t>(p[j + 4] >> 4 | (p[j] >> 6) << 4);
  }
}

void read_k(const uint8_t* p, int j, bool fifth, SourceGroup& g) {
  g.outer = half_at(p);
  g.outer_minimum = half_at(p + 2);
  read_six_bits(p + 4, j, g);
  const uint8_t* high = p + 16;
  const uint8_t* nibbles = high + (fifth ? 32 : 0) + j / 2 * 32;
  for (int i = 0; i < kGroup; ++i) {
    g.codes[i] = j % 2 ? nibbles[i] >> 4 : nibbles[i] & 15;
    if (fifth) g.codes[i] |= static_cast<uint8_t>((high[i] >> j & 1) << 4);
  }
}

void read_q6_k(const uint8_t* p, int j, SourceGroup& g) {
  const int half = j / 4, part = j % 4;  // each half of 128 columns: two nibble rows, twice
  const uint8_t* nibbles = p + half * 64 + part % 2 * 32;
  const uint8_t* bits = p + 128 + half * 32;
  for (int i = 0; i < kGroup; ++i) {
    const int low = part < 2 ? nibbles[i] & 15 : nibbles[i] >> 4;
    g.codes[i] = static_cast<uint8_t>(low | (bits[i] >> 2 * part & 3) << 4);
  }
  g.small_scale[0] = p[192 + 2 * j];
  g.small_scale[1] = p[192 + 2 * j + 1];
  g.outer = half_at(p + 208);
}

void place_codes(const SourceGroup& g, const Layout& l, int row, uint8_t* group, uint8_t* plane) {
  for (int k = 0; k < kGroup; ++k) {
    const int vector = k / 4, at = 4 * row + k % 4;  // vectors 4 to 7 are high nibbles
    const int code = l.bits == 8 ? g.codes[k] >> 4 : g.codes[k] & 15;
    group[64 * (vector % 4) + at] |= static_cast<uint8_t>(vector < 4 ? code : code << 4);
    if (l.bits == 8) {
      const int low = g.codes[k] & 15;
      plane[64 * (vector % 4) + at] |= static_cast<uint8_t>(vector < 4 ? low : low << 4);
    } else if (l.more_bits() == 1) {
      group[kNibbleBytes + at] |= static_cast<uint8_t>((g.codes[k] >> 4) << vector);
    } else if (l.more_bits() == 2) {
      group[kNibbleBytes + 64 * (vector / 4) + at] |= static_cast<uint8_t>((g.codes[k] >> 4) << 2 * (vector % 4));
    }
  }
}

void place_scales(const SourceGroup& g, const Layout& l, int row, uint8_t* header, uint8_t* scales) {
  if (l.scales == Scales::half || l.scales == Scales::half_min) {
    std::memcpy(scales + 2 * row, &g.scale, 2);
    if (l.scales == Scales::half_min) std::memcpy(scales + 32 + 2 * row, &g.minimum, 2);
    return;
  }
  std::memcpy(header + 2 * row, &g.outer, 2);
  scales[row] = g.small_scale[0];
  if (l.scales == Scales::six_bit) {
    std::memcpy(header + 32 + 2 * row, &g.outer_minimum, 2);
    scales[16 + row] = g.small_minimum;
  } else {
    scales[16 + row] = g.small_scale[1];
  }
}

float value_of(Format format, const SourceGroup& g, int i) {
  const int code = g.codes[i];
  switch (format) {
    case Format::q4_0: return half_to_float(g.scale) * static_cast<float>(code - 8);
    case Format::q5_0: return half_to_float(g.scale) * static_cast<float>(code - 16);
    case Format::q8_0: return half_to_float(g.scale) * static_cast<float>(code - 128);
    case Format::q4_1:
    case Format::q5_1: return half_to_float(g.scale) * static_cast<float>(code) + half_to_float(g.minimum);
    case Format::q6_k: {
      const int scale = static_cast<int8_t>(g.small_scale[i / 16]);
      return half_to_float(g.outer) * static_cast<float>(scale) * static_cast<float>(code - 32);
    }
    default:
      return half_to_float(g.outer) * static_cast<float>(g.small_scale[0]) * static_cast<float>(code) -
             half_to_float(g.outer_minimum) * static_cast<float>(g.small_minimum);
  }
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 0) return std::ldexp(static_cast<float>(fraction), -24) * (sign ? -1.0f : 1.0f);
  const uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

size_t source_row_bytes(Format format, int columns) {
  const Block& block = kBlocks[static_cast<int>(format)];
  return columns % block.columns ? 0 : static_cast<size_t>(columns / block.columns) * block.bytes;
}

SourceGroup read_group(Format format, const uint8_t* row, int group) {
  SourceGroup g{};
  const Block& block = kBlocks[static_cast<int>(format)];
  const int each = block.columns / kGroup;
  const uint8_t* p = row + static_cast<size_t>(group / each) * block.bytes;
  switch (format) {
    case Format::q4_k: read_k(p, group % each, false, g); return g;
    case Format::q5_k: read_k(p, group % each, true, g); return g;
    case Format::q6_k: read_q6_k(p, group % each, g); return g;
    default: break;
  }
  g.scale = half_at(p);
  const bool has_minimum = format == Format::q4_1 || format == Format::q5_1;
  if (has_minimum) g.minimum = half_at(p + 2);
  p += has_minimum ? 4 : 2;
  if (format == Format::q8_0) {
    read_bytes(p, g);
  } else if (format == Format::q5_0 || format == Format::q5_1) {
    read_nibbles(p + 4, g);
    add_fifth_bits(p, g);
  } else {
    read_nibbles(p, g);
  }
  return g;
}

void decode_row(Format format, const uint8_t* row, int columns, float* out) {
  if (format == Format::f32) {
    std::memcpy(out, row, static_cast<size_t>(columns) * 4);
  } else if (format == Format::f16) {
    for (int i = 0; i < columns; ++i) out[i] = half_to_float(half_at(row + 2 * i));
  } else if (format == Format::bf16) {
    for (int i = 0; i < columns; ++i) {
      const uint32_t bits = static_cast<uint32_t>(half_at(row + 2 * i)) << 16;
      std::memcpy(out + i, &bits, 4);
    }
  } else {
    for (int group = 0; group < columns / kGroup; ++group) {
      const SourceGroup g = read_group(format, row, group);
      for (int i = 0; i < kGroup; ++i) out[group * kGroup + i] = value_of(format, g, i);
    }
  }
}

namespace {

// How far a product with 8-bit weights can be from what their first plane says of it, for activations of norm 1: by
// the norm of what the plane leaves out (Cauchy and Schwarz), and the rounding of both sums, 60 operations each.
float slack_of(const uint8_t* row, int groups) {
  double left_out = 0, whole = 0;
  for (int group = 0; group < groups; ++group) {
    const SourceGroup g = read_group(Format::q8_0, row, group);
    const double scale = half_to_float(g.scale);
    for (const uint8_t code : g.codes) {
      left_out += scale * scale * ((code & 15) - 7.5) * ((code & 15) - 7.5);
      whole += scale * scale * (code - 128.0) * (code - 128.0);
    }
  }
  return static_cast<float>(1.00001 * std::sqrt(left_out) + 2e-5 * (std::sqrt(whole) + 2 * std::sqrt(left_out)));
}

}  // namespace

void pack(Format format, int rows, int columns, const uint8_t* source, uint8_t* base, uint8_t* plane, float* slack) {
  const Matrix m{format, rows, columns, base, plane, slack};
  const Layout& l = layout(format);
  const size_t row_bytes = source_row_bytes(format, columns);
  for (int row = 0; row < rows; ++row) {
    const uint8_t* from = source + row * row_bytes;
    uint8_t* block = base + row / kRows * m.block_bytes();
    uint8_t* planes = plane + row / kRows * m.plane_block_bytes();
    for (int group = 0; group < m.groups(); ++group) {
      uint8_t* header = block + static_cast<size_t>(group / l.groups_per_super) * l.super_bytes();
      uint8_t* to = header + l.header_bytes + group % l.groups_per_super * l.group_bytes();
      const SourceGroup g = read_group(format, from, group);
      place_codes(g, l, row % kRows, to, planes + static_cast<size_t>(group) * l.plane_bytes());
      place_scales(g, l, row % kRows, header, to + kNibbleBytes + l.bits_bytes());
    }
    if (slack) slack[row] = slack_of(from, m.groups());
  }
}

}  // namespace firesteel
