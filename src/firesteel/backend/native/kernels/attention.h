// Attention over pages of keys and values, for few queries and for many: integer products, running softmax (as in
// Flash Attention, arXiv 2205.14135, a page at a time). A query's result does not depend on which others it is
// computed with: pages are taken in order and zeros added for what a query must not see.
#pragma once
#include "formats.h"
#include "pages.h"
#include "pointwise.h"

namespace FS_ISA {

using firesteel::Attend;
using firesteel::kChunk;
using firesteel::kPage;
using firesteel::PageShape;

constexpr float kNever = -1e30f;  // a score that no weight comes from
alignas(64) constexpr float kMask[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever,
    kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever};

// Brings memory into the caches while something else is computed, a piece at each call.
struct Ahead {
  const uint8_t* at;
  const uint8_t* end;
  size_t piece;

  FS_INLINE void fetch() {
    for (const uint8_t* to = at + piece < end ? at + piece : end; at < to; at += 64) prefetch(at);
  }
};

FS_INLINE int32_t pair_at(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return pair;
}

// sums[t] += vectors × pairs of query t, over `count` vectors that are `step` codes apart.
template <class Code, int T>
FS_INLINE void add_pairs(I (&sums)[T], const Code* vectors, size_t step, const int16_t* pairs, size_t stride, int count) {
  for (int i = 0; i < count; ++i) {
    const Pairs vector = load_pairs(vectors + static_cast<size_t>(i) * step);
    for (int t = 0; t < T; ++t) {
      multiply_add(sums[t], vector, pair_at(pairs + t * stride + 2 * i));
      settle(sums[t]);
    }
  }
}

// Scores of T queries with the 16 keys of one block.
template <class Code, int T>
FS_INLINE void block_scores(F (&scores)[T], const uint8_t* page, int block, const Attend& a, int query) {
  const int size = a.shape.head_size, chunks = size / kChunk;
  const Code* keys = reinterpret_cast<const Code*>(page) + static_cast<size_t>(block) * 16 * size;
  const float* scales = reinterpret_cast<const float*>(page + a.shape.key_scales()) + block * 16;
  for (int t = 0; t < T; ++t) scores[t] = splat(0.0f);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    I sums[T];
    for (int t = 0; t < T; ++t) sums[t] = zero();
    const int16_t* pairs = a.queries + static_cast<size_t>(query) * size + chunk * kChunk;
    add_pairs<Code, T>(sums, keys + static_cast<size_t>(chunk) * kChunk * 16, 32, pairs, size, kChunk / 2);
    const F key_scales = load(scales + chunk * kPage);
    for (int t = 0; t < T; ++t) {
      const F by = mul(key_scales, splat(a.query_scales[static_cast<size_t>(query + t) * chunks + chunk]));
      scores[t] = fma(to_float(sums[t]), by, scores[t]);
    }
  }
}

// Turns the scores of one query with a page into weights as codes, and returns their scale; updates sum and largest.
FS_INLINE float page_weights(float* scores, int16_t* codes, const float* value_scales, int blocks, float& most,
                             float& sum, float& kept) {
  F largest = splat(kNever);
  for (int b = 0; b < blocks; ++b) largest = max(largest, load(scores + 16 * b));
  const float now = __builtin_fmaxf(most, reduce_max(largest));
  F total = splat(0.0f), heaviest = splat(0.0f);
  for (int b = 0; b < blocks; ++b) {
    const F weights = exponential(sub(load(scores + 16 * b), splat(now)));
    total = add(total, weights);
    const F scaled = mul(weights, load(value_scales + 16 * b));
    heaviest = max(heaviest, scaled);
    store(scores + 16 * b, scaled);
  }
  float factor[16];
  store(factor, exponential(splat(most - now)));
  kept = factor[0];
  sum = sum * kept + reduce_add(total);
  most = now;
  const float limit = reduce_max(heaviest);
  const F inverse = splat(limit > 1e-30f ? firesteel::kWeightLimit / limit : 0.0f);
  for (int b = 0; b < blocks; ++b) store_words(codes + 16 * b, to_int(mul(load(scores + 16 * b), inverse)));
  return limit / firesteel::kWeightLimit;
}

// values[t] = values[t] × kept[t] + weights × the page's values.
template <class Code, int T>
FS_INLINE void add_values(const uint8_t* page, const Attend& a, int query, const int16_t* codes, int blocks,
                          const float* scale, const float* kept, Ahead& ahead) {
  const int size = a.shape.head_size;
  const Code* values = reinterpret_cast<const Code*>(page + a.shape.codes_bytes());
  for (int d = 0; d < size; d += 16) {
    I sums[T];
    for (int t = 0; t < T; ++t) sums[t] = zero();
    ahead.fetch();
    add_pairs<Code, T>(sums, values + 2 * d, 2 * static_cast<size_t>(size), codes, kPage, 8 * blocks);
    for (int t = 0; t < T; ++t) {
      float* to = a.values + static_cast<size_t>(query + t) * size + d;
      store(to, fma(load(to), splat(kept[t]), mul(to_float(sums[t]), splat(scale[t]))));
    }
  }
}

// T queries with one page. The page that `ahead` points to comes next.
template <class Code, int T>
void attend_page(const Attend& a, int query, int page_index, Ahead ahead) {
  const uint8_t* page = a.pages[page_index] + a.part;
  const int seen = a.positions[query + T - 1] - page_index * kPage + 1;  // positions ascend: the last sees most
  if (seen <= 0) return;
  const int blocks = seen >= kPage ? kPage / 16 : (seen + 15) / 16;
  alignas(64) float scores[T][kPage];
  alignas(64) int16_t codes[T][kPage];
  for (int b = 0; b < blocks; ++b) {
    F block[T];
    ahead.fetch();
    block_scores<Code, T>(block, page, b, a, query);
    for (int t = 0; t < T; ++t) {
      const int visible = a.positions[query + t] - page_index * kPage + 1 - 16 * b;
      const F mask = load(kMask + (visible >= 16 ? 0 : visible <= 0 ? 16 : 16 - visible));
      store(scores[t] + 16 * b, add(block[t], mask));
    }
  }
  const float* value_scales = reinterpret_cast<const float*>(page + a.shape.value_scales());
  float scale[T], kept[T];
  for (int t = 0; t < T; ++t) {
    if (a.positions[query + t] < page_index * kPage) {  // sees nothing here
      for (int i = 0; i < 16 * blocks; ++i) codes[t][i] = 0;
      scale[t] = 0.0f;
      kept[t] = 1.0f;
    } else {
      scale[t] = page_weights(scores[t], codes[t], value_scales, blocks, a.most[query + t], a.sums[query + t], kept[t]);
    }
  }
  add_values<Code, T>(page, a, query, codes[0], blocks, scale, kept, ahead);
}

// The `count` queries, at most T, that are computed together.
template <class Code, int T>
FS_INLINE void attend_tile(const Attend& a, int query, int count, int page_index, Ahead ahead) {
  if constexpr (T > 1)
    if (count < T) return attend_tile<Code, T - 1>(a, query, count, page_index, ahead);
  attend_page<Code, T>(a, query, page_index, ahead);
}

template <class Code>
void attend_pages(const Attend& a) {
  const size_t size = static_cast<size_t>(a.shape.head_size);
  __builtin_memset(a.values, 0, a.num_queries * size * sizeof(float));
  for (int q = 0; q < a.num_queries; ++q) {
    a.most[q] = kNever;
    a.sums[q] = 0.0f;
  }
  for (int page = a.first_page; page < a.end_page; ++page) {
    Ahead ahead{};
    if (page + 1 < a.end_page) {
      ahead.at = a.pages[page + 1] + a.part;
      ahead.end = ahead.at + a.shape.bytes();
      ahead.piece = (a.shape.bytes() / (kPage / 16 + a.shape.head_size / 16) + 63) & ~size_t{63};
    }
    for (int q = 0; q < a.num_queries; q += kQueryTile) {
      const int left = a.num_queries - q;
      attend_tile<Code, kQueryTile>(a, q, left < kQueryTile ? left : kQueryTile, page, ahead);
      ahead = {};  // the first queries have fetched it
    }
  }
}

inline void attend(const Attend& a) {
  if (a.shape.code_bytes == 2) attend_pages<int16_t>(a);
  else attend_pages<int8_t>(a);
}

// Puts the ranges of one query together: values[range × stride …] with their largest scores and sums, to out.
inline void combine(const float* values, const float* most, const float* sums, int ranges, size_t stride,
                    size_t scalar_stride, int size, float* out) {
  float now = kNever, total = 0.0f;
  for (int r = 0; r < ranges; ++r) now = __builtin_fmaxf(now, most[r * scalar_stride]);
  for (int d = 0; d < size; d += 16) store(out + d, splat(0.0f));
  for (int r = 0; r < ranges; ++r) {
    float factor[16];
    store(factor, exponential(splat(most[r * scalar_stride] - now)));
    total += sums[r * scalar_stride] * factor[0];
    for (int d = 0; d < size; d += 16)
      store(out + d, fma(load(values + r * stride + d), splat(factor[0]), load(out + d)));
  }
  const F inverse = splat(1.0f / total);
  for (int d = 0; d < size; d += 16) store(out + d, mul(load(out + d), inverse));
}

// Quantises 32 floats to codes of at most `limit`; returns the scale, which is invalid where one of them is.
FS_INLINE float chunk_codes(const float* x, int limit, int16_t* codes) {
  const float most = reduce_max(max(absolute(load(x)), absolute(load(x + 16))));
  const F inverse = splat(most > 1e-30f ? static_cast<float>(limit) / most : 0.0f);
  store_words(codes, to_int(mul(load(x), inverse)));
  store_words(codes + 16, to_int(mul(load(x + 16), inverse)));
  return most / static_cast<float>(limit) + invalid_among(add(load(x), load(x + 16)));
}

// Quantises the query `x` of `size` dimensions; `factor` goes into the scales.
inline void write_query(const float* x, int size, float factor, int16_t* codes, float* scales) {
  for (int chunk = 0; chunk < size / kChunk; ++chunk)
    scales[chunk] = factor * chunk_codes(x + chunk * kChunk, firesteel::kQueryLimit, codes + chunk * kChunk);
}

template <class Code>
bool write_codes(uint8_t* page, const PageShape& shape, int position, const float* key, const float* value) {
  Code* keys = reinterpret_cast<Code*>(page);
  Code* values = reinterpret_cast<Code*>(page + shape.codes_bytes());
  float* key_scales = reinterpret_cast<float*>(page + shape.key_scales());
  int16_t codes[kChunk];
  F largest = splat(0.0f), sum = splat(0.0f);
  for (int d = 0; d < shape.head_size; d += 16) {
    largest = max(largest, absolute(load(value + d)));
    sum = add(sum, add(load(value + d), load(key + d)));
  }
  const float most = reduce_max(largest);
  const bool is_valid = invalid_among(sum) == 0.0f;
  const int limit = firesteel::value_limit(sizeof(Code));
  const F inverse = splat(most > 1e-30f ? static_cast<float>(limit) / most : 0.0f);
  reinterpret_cast<float*>(page + shape.value_scales())[position] = most / static_cast<float>(limit);
  for (int d = 0; d < shape.head_size; d += kChunk) {
    key_scales[d / kChunk * kPage + position] = chunk_codes(key + d, firesteel::key_limit(sizeof(Code)), codes);
    for (int i = 0; i < kChunk; ++i) keys[shape.key_code(position, d + i)] = static_cast<Code>(codes[i]);
    store_words(codes, to_int(mul(load(value + d), inverse)));
    store_words(codes + 16, to_int(mul(load(value + d + 16), inverse)));
    for (int i = 0; i < kChunk; ++i) values[shape.value_code(position, d + i)] = static_cast<Code>(codes[i]);
    if (!is_valid) key_scales[d / kChunk * kPage + position] = 0.0f;
  }
  if (!is_valid) reinterpret_cast<float*>(page + shape.value_scales())[position] = 0.0f;
  return is_valid;
}

// Writes key and value of one position (0 to 63) of a page. False when a number is infinite or none: then zeros stand
// there, since whoever gets the page next must not inherit it.
inline bool write_position(uint8_t* page, const PageShape& shape, int position, const float* key, const float* value) {
  if (shape.code_bytes == 2) return write_codes<int16_t>(page, shape, position, key, value);
  return write_codes<int8_t>(page, shape, position, key, value);
}

}  // namespace FS_ISA
