// Norms, quantising, the activation function, the head's bounds.
#include "checks.h"
#include "problems.h"

namespace firesteel {
namespace {

constexpr int kSizes[] = {16, 48, 256, 4864};

// Only correctly rounded operations lie between values and codes: every set gets the same bits.
void check_quantise(const Kernels& k, const Kernels& reference, const std::vector<float>& values, Checks& checks) {
  const int columns = static_cast<int>(values.size());
  ActivationBuffer found(1, columns), expected(1, columns);
  std::copy(values.begin(), values.end(), found.values(0));
  std::copy(values.begin(), values.end(), expected.values(0));
  const Activations a = found.view(), b = expected.view();
  const int half = a.groups / 2;  // in two parts: a thread does some groups of a row
  k.quantise(a, half, a.groups - half);
  k.quantise(a, 0, half);
  reference.quantise(b, 0, b.groups);
  const size_t groups = static_cast<size_t>(a.groups);
  const std::string name = "quantise " + std::to_string(columns);
  checks.same(a.codes, b.codes, groups * kGroup, name + ", codes");
  checks.same(a.scales, b.scales, groups, name + ", scales");
  checks.same(a.sums, b.sums, groups, name + ", sums");
  checks.same(a.starts, b.starts, 3 * groups, name + ", starts");
  std::vector<float> restored, bounds;
  for (size_t i = 0; i < groups * kGroup; ++i) {
    restored.push_back(static_cast<float>(a.codes[i]) * a.scales[i / kGroup]);
    bounds.push_back(0.50001f * a.scales[i / kGroup] + 1e-30f);
  }
  checks.near(restored, std::vector<float>(a.values, a.values + groups * kGroup), bounds, name + ", values");
}

std::vector<float> scaled_bounds(const std::vector<float>& values, float tolerance) {
  std::vector<float> bounds;
  for (const float value : values) bounds.push_back(tolerance * std::fabs(value) + 1e-30f);
  return bounds;
}

void check_normalise(const Kernels& k, const Kernels& reference, Random& random, int n, Checks& checks) {
  const std::vector<float> x = random.floats(n, 5), weight = random.floats(n, 2);
  std::vector<float> found(n), expected(n);
  k.normalise(x.data(), weight.data(), 1e-6f, n, found.data());
  if (&k == &reference) {
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    for (int i = 0; i < n; ++i) expected[i] = static_cast<float>(x[i] / std::sqrt(squares / n + 1e-6) * weight[i]);
  } else {
    reference.normalise(x.data(), weight.data(), 1e-6f, n, expected.data());
  }
  checks.near(found, expected, scaled_bounds(expected, 1e-5f), "normalise " + std::to_string(n));
}

void check_gated(const Kernels& k, const Kernels& reference, Random& random, float most, int n, Checks& checks) {
  const std::vector<float> gate = random.floats(n, most), up = random.floats(n, 3);
  std::vector<float> found = gate, expected = gate;
  k.gated(found.data(), up.data(), n);
  if (&k == &reference)
    for (int i = 0; i < n; ++i) expected[i] = static_cast<float>(gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
  else
    reference.gated(expected.data(), up.data(), n);
  checks.near(found, expected, scaled_bounds(expected, 1e-5f), "gated " + std::to_string(n));
}

void check_accumulate(const Kernels& k, const Kernels& reference, Random& random, int n, Checks& checks) {
  const std::vector<float> to = random.floats(n, 5), from = random.floats(n, 5);
  std::vector<float> found = to, expected = to;
  k.accumulate(found.data(), from.data(), 0.7f, n);
  if (&k == &reference)
    for (int i = 0; i < n; ++i) expected[i] = static_cast<float>(to[i] + static_cast<double>(from[i]) * 0.7f);
  else
    reference.accumulate(expected.data(), from.data(), 0.7f, n);
  checks.near(found, expected, {1e-6f}, "accumulate " + std::to_string(n));
}

// The largest score, and what may be reached given scores and slacks; behind them lies what must not be read.
void check_bounds(const Kernels& k, Random& random, int n, Checks& checks) {
  constexpr float kNorm = 3.0f;
  std::vector<float> scores = random.floats(n, 20), slack = random.floats(n, 1);
  double largest = -1e30, possible = -1e30;
  for (int i = 0; i < n; ++i) {
    slack[i] = std::fabs(slack[i]);
    largest = std::fmax(largest, scores[i]);
    possible = std::fmax(possible, scores[i] + static_cast<double>(slack[i]) * kNorm);
  }
  scores.push_back(1e9f);
  slack.push_back(0.0f);
  const std::string name = "bounds " + std::to_string(n);
  checks.near({k.largest(scores.data(), n)}, {static_cast<float>(largest)}, {0.0f}, name);
  const float threshold = static_cast<float>(possible);
  checks.that(k.reaches(scores.data(), slack.data(), kNorm, threshold - 1e-4f, n), name + ": reached");
  checks.that(!k.reaches(scores.data(), slack.data(), kNorm, threshold + 1e-4f, n), name + ": not reached");
}

}  // namespace

void check_pointwise(const Kernels& k, const Kernels& reference, Checks& checks) {
  Random random(2);
  for (const int n : {1, 15, 16, 17, 37, 4864}) check_bounds(k, random, n, checks);
  for (const int n : kSizes) {
    for (const float most : {1e-35f, 1e-3f, 4.0f, 1e5f}) check_quantise(k, reference, random.floats(n, most), checks);
    check_quantise(k, reference, std::vector<float>(n, -2.0f), checks);
    check_normalise(k, reference, random, n, checks);
    for (const float most : {1e-3f, 10.0f, 85.0f, 1e4f}) check_gated(k, reference, random, most, n, checks);
    check_accumulate(k, reference, random, n, checks);
  }
}

}  // namespace firesteel
