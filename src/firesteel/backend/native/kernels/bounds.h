// Which logits may matter, given what the first plane of the head's weights says of them; see runtime/head.h.
#pragma once
#include "formats.h"

namespace FS_ISA {

// The largest score − slack × norm of n.
inline float certain(const float* scores, const float* slack, float norm, int n) {
  F most = splat(-3e38f);
  int i = 0;
  for (; i + 16 <= n; i += 16) most = max(most, fma(load(slack + i), splat(-norm), load(scores + i)));
  float result = reduce_max(most);
  for (; i < n; ++i) result = __builtin_fmaxf(result, scores[i] - slack[i] * norm);
  return result;
}

// Whether score + slack × norm reaches the threshold for any of n.
inline bool reaches(const float* scores, const float* slack, float norm, float threshold, int n) {
  F most = splat(-3e38f);
  int i = 0;
  for (; i + 16 <= n; i += 16) most = max(most, fma(load(slack + i), splat(norm), load(scores + i)));
  float result = reduce_max(most);
  for (; i < n; ++i) result = __builtin_fmaxf(result, scores[i] + slack[i] * norm);
  return result >= threshold;
}

}  // namespace FS_ISA
