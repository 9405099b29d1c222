// Random weights as model files hold them, and activations to meet them.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "../../runtime/buffers.h"
#include "../source.h"
#include "../table.h"
#include "random.h"

namespace firesteel {

// What codes and activations are. The constant ones are the worst that sums of 16 bits can meet.
enum class Fill { random, lowest, highest };
constexpr Fill kFills[] = {Fill::random, Fill::lowest, Fill::highest};

constexpr const char* kFormatNames[kFormats] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k",
                                                "q5_k", "q6_k", "f16",  "bf16", "f32"};
constexpr float kMostScale = 1.0f / 64, kMostFloat = 2.0f;

// The largest magnitude of anything that is added for one column of a row, scales being at most kMostScale.
inline float most_weight(Format format) {
  constexpr float kMost[kFormats] = {8, 31, 16, 64, 128, 63 * 15 + 63, 63 * 32 + 63, 128 * 32, 0, 0, 0};
  return is_quantized(format) ? kMost[static_cast<int>(format)] * kMostScale : kMostFloat;
}

// A half float: of either sign, mostly between 1/128 and 1/64, now and then zero or subnormal.
inline uint16_t random_half(Random& random) {
  const int exponent = random.below(16) ? 8 : 0;
  return static_cast<uint16_t>((random.bits() & 0x83ff) | static_cast<uint64_t>(exponent) << 10);
}

inline void random_float(Random& random, Format format, uint8_t* to) {
  const float value = random.uniform(-kMostFloat, kMostFloat);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t bfloat = static_cast<uint16_t>(bits >> 16), half = random_half(random);
  if (format == Format::f32) std::memcpy(to, &bits, 4);
  else std::memcpy(to, format == Format::f16 ? &half : &bfloat, 2);
}

inline std::vector<uint8_t> random_source(Random& random, Format format, int rows, int columns, Fill fill) {
  struct Block { size_t bytes, first, second; };  // where its half floats lie
  constexpr Block kBlocks[] = {{18, 0, 0}, {20, 0, 2}, {22, 0, 0}, {24, 0, 2}, {34, 0, 0}, {144, 0, 2}, {176, 0, 2}, {210, 208, 208}};
  std::vector<uint8_t> source(rows * source_row_bytes(format, columns));
  if (!is_quantized(format)) {
    const size_t bytes = format == Format::f32 ? 4 : 2;
    for (size_t at = 0; at < source.size(); at += bytes) random_float(random, format, &source[at]);
    return source;
  }
  const uint8_t low = format == Format::q8_0 ? 0x81 : 0, high = format == Format::q8_0 ? 0x7f : 0xff;
  for (auto& byte : source)
    byte = fill == Fill::random ? static_cast<uint8_t>(random.bits()) : fill == Fill::lowest ? low : high;
  const Block& block = kBlocks[static_cast<int>(format)];
  for (size_t at = 0; at < source.size(); at += block.bytes) {
    const uint16_t first = random_half(random), second = random_half(random);
    std::memcpy(&source[at + block.second], &second, 2);
    std::memcpy(&source[at + block.first], &first, 2);
  }
  return source;
}

// A matrix and the bytes that it was packed from.
struct Weights {
  Weights(Random& random, Format format, int rows, int columns, Fill fill)
      : source(random_source(random, format, rows, columns, fill)),
        matrix{format, rows, columns, source.data(), nullptr, nullptr} {
    if (!is_quantized(format)) return;
    base.resize(matrix.block_bytes() * matrix.blocks());
    plane.resize(matrix.plane_block_bytes() * matrix.blocks());
    slack.resize(static_cast<size_t>(matrix.blocks()) * kRows);
    pack(format, rows, columns, source.data(), base.data(), plane.data(), format == Format::q8_0 ? slack.data() : nullptr);
    matrix.base = base.data();
    matrix.plane = plane.data();
    matrix.slack = slack.data();
  }
  Weights(const Weights&) = delete;

  std::vector<float> row(int index) const {
    std::vector<float> values(static_cast<size_t>(matrix.columns));
    const size_t bytes = source_row_bytes(matrix.format, matrix.columns);
    decode_row(matrix.format, source.data() + index * bytes, matrix.columns, values.data());
    return values;
  }

  std::vector<uint8_t> source;
  Matrix matrix;
  std::vector<uint8_t> base, plane;
  std::vector<float> slack;
};

inline void fill_activations(Random& random, ActivationBuffer& to, int rows, int columns, Fill fill) {
  for (int row = 0; row < rows; ++row)
    for (int i = 0; i < columns; ++i) {
      const float value = random.uniform(-3, 3);
      to.values(row)[i] = fill == Fill::random ? value : fill == Fill::lowest ? -1.0f : 1.0f;
    }
}

inline std::string name_of(const Matrix& m, const char* what, int tokens) {
  return std::string(what) + " " + kFormatNames[static_cast<int>(m.format)] + " " + std::to_string(m.rows) + "×" +
         std::to_string(m.columns) + ", " + std::to_string(tokens) + " rows";
}

}  // namespace firesteel
