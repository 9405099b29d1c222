// Single kernels of any instruction set through plain arrays: for tests, which compare them with the portable ones,
// and for benchmarks. The product itself does not call these.
#include <algorithm>
#include <cstring>
#include <vector>

#include "../kernels/source.h"
#include "../kernels/table.h"
#include "buffers.h"

using firesteel::ActivationBuffer;
using firesteel::Format;
using firesteel::Kernels;
using firesteel::Matrix;

namespace {

// A matrix packed from a model file's bytes, which it owns.
struct PackedMatrix {
  PackedMatrix(Format format, int rows, int columns, const uint8_t* source)
      : matrix{format, rows, columns, source, nullptr, nullptr} {
    if (!firesteel::is_quantized(format)) return;
    base.resize(matrix.block_bytes() * matrix.blocks());
    plane.resize(matrix.plane_block_bytes() * matrix.blocks());
    slack.resize(static_cast<size_t>(matrix.blocks()) * firesteel::kRows);
    firesteel::pack(format, rows, columns, source, base.data(), plane.data(), format == Format::q8_0 ? slack.data() : nullptr);
    matrix.base = base.data();
    matrix.plane = plane.data();
    matrix.slack = slack.data();
  }
  Matrix matrix;
  std::vector<uint8_t> base, plane;
  std::vector<float> slack;
};

void fill(ActivationBuffer& buffer, const Kernels& k, const float* x, int rows, int columns) {
  for (int row = 0; row < rows; ++row) {
    std::memcpy(buffer.values(row), x + static_cast<size_t>(row) * columns, sizeof(float) * columns);
    k.quantise(buffer.view().at(row), 0, buffer.view().groups);
  }
}

}  // namespace

extern "C" {

// out[row × rows padded to 16 + matrix row] of `tokens` rows x[tokens, columns] times a matrix given as in a model
// file. `coarse`: only what the first plane of 8-bit weights says. Returns 0 where the processor lacks the set.
int fs_probe_product(const char* set, int32_t format, int32_t rows, int32_t columns, const uint8_t* source,
                     int32_t tokens, const float* x, int32_t coarse, float* out, float* slack) {
  const Kernels* k = firesteel::kernels(set);
  if (!k) return 0;
  const PackedMatrix packed(static_cast<Format>(format), rows, columns, source);
  ActivationBuffer activations(tokens, columns);
  fill(activations, *k, x, tokens, columns);
  const Matrix& m = packed.matrix;
  const auto product = coarse ? k->coarse_product : k->product;
  product(m, activations.view(), tokens, 0, m.blocks(), out, static_cast<size_t>(m.blocks()) * firesteel::kRows);
  if (slack && m.slack) std::memcpy(slack, m.slack, sizeof(float) * rows);
  return 1;
}

// What `columns` activations of one row become when quantised and taken back: codes × scales.
int fs_probe_quantise(const char* set, int32_t columns, const float* x, float* out) {
  const Kernels* k = firesteel::kernels(set);
  if (!k) return 0;
  ActivationBuffer activations(1, columns);
  fill(activations, *k, x, 1, columns);
  for (int i = 0; i < columns; ++i) out[i] = activations.view().codes[i] * activations.view().scales[i / 32];
  return 1;
}

int fs_probe_normalise(const char* set, int32_t n, const float* x, const float* weight, float epsilon, float* out) {
  const Kernels* k = firesteel::kernels(set);
  if (k) k->normalise(x, weight, epsilon, n, out);
  return k != nullptr;
}

int fs_probe_gated(const char* set, int32_t n, float* gate, const float* up) {
  const Kernels* k = firesteel::kernels(set);
  if (k) k->gated(gate, up, n);
  return k != nullptr;
}

// Attention of `queries` [count, head_size] at `positions` (ascending) over keys and values [num_keys, head_size],
// in ranges of `range_pages` pages that are then put together.
int fs_probe_attend(const char* set, int32_t code_bytes, int32_t head_size, int32_t num_keys, const float* keys,
                    const float* values, int32_t count, const float* queries, const int32_t* positions, float factor,
                    int32_t range_pages, float* out) {
  const Kernels* k = firesteel::kernels(set);
  if (!k) return 0;
  const firesteel::PageShape shape{head_size, code_bytes};
  const int pages = (num_keys + firesteel::kPage - 1) / firesteel::kPage, ranges = (pages + range_pages - 1) / range_pages;
  std::vector<uint8_t> memory(shape.bytes() * pages);
  std::vector<const uint8_t*> addresses;
  for (int page = 0; page < pages; ++page) addresses.push_back(memory.data() + page * shape.bytes());
  for (int i = 0; i < num_keys; ++i)
    k->write_position(memory.data() + i / firesteel::kPage * shape.bytes(), shape, i % firesteel::kPage,
                      keys + static_cast<size_t>(i) * head_size, values + static_cast<size_t>(i) * head_size);
  const size_t n = static_cast<size_t>(count);
  std::vector<int16_t> codes(n * head_size + 32);
  std::vector<float> scales(n * (head_size / 32)), partial(n * ranges * head_size), most(n * ranges), sums(n * ranges);
  for (size_t q = 0; q < n; ++q)
    k->write_query(queries + q * head_size, head_size, factor, &codes[q * head_size], &scales[q * (head_size / 32)]);
  for (int r = 0; r < ranges; ++r)
    k->attend({shape, addresses.data(), 0, r * range_pages, std::min((r + 1) * range_pages, pages), count, codes.data(),
               scales.data(), positions, &partial[r * n * head_size], &most[r * n], &sums[r * n]});
  for (size_t q = 0; q < n; ++q)
    k->combine(&partial[q * head_size], &most[q], &sums[q], ranges, n * head_size, n, head_size, out + q * head_size);
  return 1;
}

}  // extern "C"
