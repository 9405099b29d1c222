// How keys and values lie in memory.
//
// A page holds 64 positions of a sequence. The part of one layer and one key-value head is: keys as codes, in four
// blocks of 16 positions, [block][pair of dimensions][position][2]; values as codes, [pair of positions][dimension][2];
// scales of the keys, [32 dimensions][position]; scales of the values, [position]. A vector of 32 codes is thus two
// terms of 16 sums, for the scores (16 positions) and for the values (16 dimensions) alike.
//
// Codes are integers of 16 bits (`f16`: 15 bits of a key and 13 of a value are used, as exact as half floats over a
// head, whose error grows with its largest number either way) or of 8 bits (`q8_0`). Sums of products stay exact and
// below 2^31: 32 × 16383 × 4095 for scores, 64 × 8191 × 4095 for values.
#pragma once
#include <cstddef>
#include <cstdint>

namespace firesteel {

constexpr int kPage = 64;    // positions
constexpr int kChunk = 32;   // dimensions that share a scale
constexpr int kQueryLimit = 4095, kWeightLimit = 8191;
constexpr int key_limit(int code_bytes) { return code_bytes == 2 ? 16383 : 127; }
constexpr int value_limit(int code_bytes) { return code_bytes == 2 ? 4095 : 127; }

struct PageShape {
  int32_t head_size;   // a multiple of 32
  int32_t code_bytes;  // 2 or 1

  size_t codes_bytes() const { return static_cast<size_t>(kPage) * head_size * code_bytes; }
  size_t key_scales() const { return 2 * codes_bytes(); }
  size_t value_scales() const { return key_scales() + sizeof(float) * kPage * (head_size / kChunk); }
  size_t bytes() const { return value_scales() + sizeof(float) * kPage; }  // a multiple of 64

  // Where the codes of one position begin and how far apart they are, in codes.
  size_t key_code(int position, int dimension) const {
    return (static_cast<size_t>(position / 16) * (head_size / 2) + dimension / 2) * 32 + position % 16 * 2 + dimension % 2;
  }
  size_t value_code(int position, int dimension) const {
    return (static_cast<size_t>(position / 2) * head_size + dimension) * 2 + position % 2;
  }
};

// Queries of one key-value head over a range of pages. Results are not yet divided by the sums of their weights, so
// that ranges can be put together: `most` is the largest score, weights are e^(score − most).
struct Attend {
  PageShape shape;
  const uint8_t* const* pages;  // of the sequence
  size_t part;                  // where this layer's head lies in a page, in bytes
  int32_t first_page, end_page;
  int32_t num_queries;
  const int16_t* queries;       // [query, head_size]
  const float* query_scales;    // [query, head_size / 32]; the softmax's scale is in them
  const int32_t* positions;     // [query]: keys up to this position are seen; ascending
  float* values;                // [query, head_size]
  float* most;                  // [query]
  float* sums;                  // [query]
};

}  // namespace firesteel
