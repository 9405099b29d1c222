// Attention over pages: writing keys and values, queries, and what comes of them.
#include <algorithm>

#include "checks.h"
#include "problems.h"

namespace firesteel {
namespace {

constexpr int kCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33};  // queries
constexpr int kMostQueries = 33;
constexpr float kValue = 2.0f;      // largest magnitude of a value
constexpr float kWeights = 4e-3f;   // what weights as integers of 13 bits may do to a mean of values
constexpr float kRounding = 1e-3f;  // what they may do where two sets round a few of them differently

using Page = std::vector<uint8_t>;

// Keys, values and queries of one head, as codes; `positions` ascend.
struct Problem {
  Problem(const Kernels& k, const PageShape& shape, int num_keys, uint64_t seed) : shape(shape), num_keys(num_keys) {
    Random random(seed);
    const int size = shape.head_size;
    pages.assign((num_keys + kPage - 1) / kPage, Page(shape.bytes()));
    for (int i = 0; i < num_keys; ++i) {
      const std::vector<float> key = random.floats(size, i % 7 ? 3.0f : 9.0f), value = random.floats(size, kValue);
      k.write_position(pages[i / kPage].data(), shape, i % kPage, key.data(), value.data());
    }
    codes.resize(kMostQueries * size + 32);
    scales.resize(kMostQueries * chunks());
    for (int q = 0; q < kMostQueries; ++q) {
      positions.push_back(random.below(num_keys));
      const std::vector<float> query = random.floats(size, 2);
      k.write_query(query.data(), size, 1 / std::sqrt(static_cast<float>(size)), &codes[q * size], &scales[q * chunks()]);
    }
    std::sort(positions.begin(), positions.end());
    for (const Page& page : pages) addresses.push_back(page.data());
  }

  size_t chunks() const { return static_cast<size_t>(shape.head_size) / kChunk; }
  std::string name(const char* what, int count) const {
    return std::string(what) + " " + std::to_string(shape.code_bytes) + " bytes, size " + std::to_string(shape.head_size) +
           ", " + std::to_string(num_keys) + " keys, " + std::to_string(count) + " queries";
  }

  PageShape shape;
  int num_keys;
  std::vector<Page> pages;
  std::vector<const uint8_t*> addresses;
  std::vector<int16_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> positions;
};

// The results of `count` queries from `first` on, in ranges of `range_pages` pages that are put together.
std::vector<float> run(const Kernels& k, const Problem& p, int first, int count, int range_pages) {
  const int size = p.shape.head_size, pages = static_cast<int>(p.pages.size());
  const int ranges = (pages + range_pages - 1) / range_pages;
  const size_t n = static_cast<size_t>(count);
  std::vector<float> values(ranges * n * size), most(ranges * n), sums(ranges * n), out(n * size);
  for (int r = 0; r < ranges; ++r)
    k.attend({p.shape, p.addresses.data(), 0, r * range_pages, std::min((r + 1) * range_pages, pages), count,
              &p.codes[first * size], &p.scales[first * p.chunks()], &p.positions[first], &values[r * n * size],
              &most[r * n], &sums[r * n]});
  for (size_t q = 0; q < n; ++q)
    k.combine(&values[q * size], &most[q], &sums[q], ranges, n * size, n, size, &out[q * size]);
  return out;
}

float value_at(const Problem& p, int position, int dimension, bool is_key) {
  const uint8_t* page = p.pages[position / kPage].data();
  const int at = position % kPage;
  const size_t index = is_key ? p.shape.key_code(at, dimension) : p.shape.value_code(at, dimension);
  const uint8_t* codes = page + (is_key ? 0 : p.shape.codes_bytes());
  const int code = p.shape.code_bytes == 2 ? reinterpret_cast<const int16_t*>(codes)[index]
                                           : reinterpret_cast<const int8_t*>(codes)[index];
  const float* scales = reinterpret_cast<const float*>(page + (is_key ? p.shape.key_scales() : p.shape.value_scales()));
  return static_cast<float>(code) * scales[is_key ? dimension / kChunk * kPage + at : at];
}

// Softmax attention in doubles, of one query.
void define(const Problem& p, int query, float* out) {
  const int size = p.shape.head_size;
  std::vector<double> scores(static_cast<size_t>(p.positions[query]) + 1), result(static_cast<size_t>(size));
  for (size_t i = 0; i < scores.size(); ++i)
    for (int d = 0; d < size; ++d)
      scores[i] += static_cast<double>(p.codes[query * size + d]) * p.scales[query * p.chunks() + d / kChunk] *
                   value_at(p, static_cast<int>(i), d, true);
  const double most = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - most);
    total += weight;
    for (int d = 0; d < size; ++d) result[d] += weight * value_at(p, static_cast<int>(i), d, false);
  }
  for (int d = 0; d < size; ++d) out[d] = static_cast<float>(result[d] / total);
}

std::vector<float> definition(const Problem& p) {
  std::vector<float> out(kMostQueries * static_cast<size_t>(p.shape.head_size));
  for (int q = 0; q < kMostQueries; ++q) define(p, q, &out[q * static_cast<size_t>(p.shape.head_size)]);
  return out;
}

// Only correctly rounded operations lie between values and codes: every set gets the same bits.
void check_codes(const Problem& found, const Problem& expected, Checks& checks) {
  for (size_t i = 0; i < found.pages.size(); ++i)
    checks.same(found.pages[i].data(), expected.pages[i].data(), found.shape.bytes(), found.name("page", 0));
  checks.same(found.codes.data(), expected.codes.data(), found.codes.size(), found.name("query codes", kMostQueries));
  checks.same(found.scales.data(), expected.scales.data(), found.scales.size(), found.name("query scales", kMostQueries));
}

// What is written stands for what was given, up to half a step of the codes.
void check_values(const Kernels& k, const PageShape& shape, Checks& checks) {
  Random random(5);
  Problem p(k, shape, kPage, 6);
  std::vector<float> found, expected, bounds;
  for (int position = 0; position < kPage; ++position) {
    const std::vector<float> key = random.floats(shape.head_size, 7), value = random.floats(shape.head_size, 3);
    k.write_position(p.pages[0].data(), shape, position, key.data(), value.data());
    for (int d = 0; d < shape.head_size; ++d) {
      found.insert(found.end(), {value_at(p, position, d, true), value_at(p, position, d, false)});
      expected.insert(expected.end(), {key[d], value[d]});
      const float steps[] = {static_cast<float>(key_limit(shape.code_bytes)), static_cast<float>(value_limit(shape.code_bytes))};
      bounds.insert(bounds.end(), {0.5001f * 7 / steps[0], 0.5001f * 3 / steps[1]});
    }
  }
  checks.near(found, expected, bounds, p.name("written", 0));
}

void check_problem(const Kernels& k, const Kernels& reference, const PageShape& shape, int num_keys, Checks& checks) {
  const uint64_t seed = static_cast<uint64_t>(num_keys) * 1000 + shape.head_size;
  const Problem p(k, shape, num_keys, seed);
  check_codes(p, Problem(reference, shape, num_keys, seed), checks);
  for (const int range_pages : {1, 2, 8}) {
    const bool defined = &k == &reference;
    const std::vector<float> expected = defined ? definition(p) : run(reference, p, 0, kMostQueries, range_pages);
    std::vector<float> alone;
    for (int q = 0; q < kMostQueries; ++q) {
      const std::vector<float> one = run(k, p, q, 1, range_pages);
      alone.insert(alone.end(), one.begin(), one.end());
    }
    for (const int count : kCounts) {
      const std::vector<float> found = run(k, p, 0, count, range_pages);
      checks.near(found, expected, {(defined ? kWeights : kRounding) * kValue}, p.name("attention", count));
      checks.same(found.data(), alone.data(), found.size(), p.name("attention as alone", count));
    }
  }
}

}  // namespace

void check_attention(const Kernels& k, const Kernels& reference, Checks& checks) {
  for (const int code_bytes : {2, 1}) {
    for (const int head_size : {32, 64, 96, 128}) {
      const PageShape shape{head_size, code_bytes};
      check_values(k, shape, checks);
      for (const int num_keys : {1, 15, 64, 65, 200}) check_problem(k, reference, shape, num_keys, checks);
    }
  }
}

}  // namespace firesteel
