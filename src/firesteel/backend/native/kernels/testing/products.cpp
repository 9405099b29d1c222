// Matrix products, exact and coarse.
#include "checks.h"
#include "problems.h"

namespace firesteel {
namespace {

constexpr int kCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33};  // rows of activations
constexpr int kMostRows = 33;
constexpr float kUntouched = 12345.0f;
constexpr float kRounding = 1e-6f;  // of a sum, for each unit that its terms can add up to

using Product = void (*)(const Matrix&, const Activations&, int, int, int, float*, size_t);

// One problem: `product` of the kernels under test and the same of the reference.
struct Case {
  const Weights& weights;
  const Activations activations;
  const char* what;
  Product product, reference;

  const Matrix& matrix() const { return weights.matrix; }
  size_t padded_rows() const { return static_cast<size_t>(matrix().blocks()) * kRows; }
  size_t stride() const { return padded_rows() + 16; }  // the gap must stay as it is

  std::vector<float> run(Product function, int first_row, int count) const {
    std::vector<float> out(count * stride(), kUntouched);
    function(matrix(), activations.at(first_row), count, 0, matrix().blocks(), out.data(), stride());
    return out;
  }
};

// The value that an activation stands for in products with a format.
double activation(const Activations& a, Format format, int row, int column) {
  const Activations at = a.at(row);
  return is_quantized(format) ? static_cast<double>(at.codes[column]) * at.scales[column / kGroup] : at.values[column];
}

std::vector<float> bounds_of(const Case& c) {
  std::vector<float> bounds(kMostRows * c.stride(), 0.0f);
  for (int t = 0; t < kMostRows; ++t) {
    double sum = 0;
    for (int i = 0; i < c.matrix().columns; ++i) sum += std::fabs(activation(c.activations, c.matrix().format, t, i));
    const float bound = kRounding * most_weight(c.matrix().format) * static_cast<float>(sum) + 1e-30f;
    std::fill_n(bounds.begin() + t * c.stride(), c.padded_rows(), bound);
  }
  return bounds;
}

std::vector<float> definition(const Case& c) {
  std::vector<float> out(kMostRows * c.stride(), kUntouched);
  for (int row = 0; row < static_cast<int>(c.padded_rows()); ++row) {
    const std::vector<float> weights = row < c.matrix().rows ? c.weights.row(row) : std::vector<float>(c.matrix().columns);
    for (int t = 0; t < kMostRows; ++t) {
      double sum = 0;
      for (int i = 0; i < c.matrix().columns; ++i) sum += weights[i] * activation(c.activations, c.matrix().format, t, i);
      out[t * c.stride() + row] = static_cast<float>(sum);
    }
  }
  return out;
}

// Agreement for every number of rows; each row the same to the last bit as alone.
void check_counts(const Case& c, const std::vector<float>& expected, Checks& checks) {
  const std::vector<float> bounds = bounds_of(c);
  std::vector<float> alone;
  for (int t = 0; t < kMostRows; ++t) {
    const std::vector<float> one = c.run(c.product, t, 1);
    alone.insert(alone.end(), one.begin(), one.end());
  }
  for (const int count : kCounts) {
    const std::string name = name_of(c.matrix(), c.what, count);
    const std::vector<float> found = c.run(c.product, 0, count);
    checks.near(found, expected, bounds, name);
    checks.same(found.data(), alone.data(), found.size(), name + " as alone");
  }
}

// Blocks in two parts, as two threads would compute them.
void check_parts(const Case& c, Checks& checks) {
  const int blocks = c.matrix().blocks(), count = 5;
  const std::vector<float> whole = c.run(c.product, 0, count);
  std::vector<float> parts(whole.size(), kUntouched);
  c.product(c.matrix(), c.activations, count, blocks / 2, blocks, parts.data(), c.stride());
  c.product(c.matrix(), c.activations, count, 0, blocks / 2, parts.data(), c.stride());
  checks.same(parts.data(), whole.data(), whole.size(), name_of(c.matrix(), c.what, count) + " in two parts");
}

// What the first plane says is as near to the product as the slack promises.
void check_slack(const Case& coarse, Product product, Checks& checks) {
  const std::vector<float> found = coarse.run(coarse.product, 0, kMostRows), exact = coarse.run(product, 0, kMostRows);
  std::vector<float> bounds(found.size(), 0.0f);
  for (int t = 0; t < kMostRows; ++t) {
    double squares = 0;
    for (int i = 0; i < coarse.matrix().columns; ++i) squares += std::pow(activation(coarse.activations, Format::q8_0, t, i), 2);
    const double norm = std::sqrt(squares) * 1.00001;
    for (size_t row = 0; row < coarse.padded_rows(); ++row)
      bounds[t * coarse.stride() + row] = static_cast<float>(norm * coarse.matrix().slack[row]);
  }
  checks.near(found, exact, bounds, name_of(coarse.matrix(), "slack", kMostRows));
}

void check_problem(const Kernels& k, const Kernels& reference, Random& random, Format format, int rows, int columns,
                   Fill codes, Fill values, Checks& checks) {
  const Weights weights(random, format, rows, columns, codes);
  ActivationBuffer activations(kMostRows, columns);
  fill_activations(random, activations, kMostRows, columns, values);
  for (int t = 0; t < kMostRows; ++t) k.quantise(activations.view().at(t), 0, activations.view().groups);
  const Case exact{weights, activations.view(), "product", k.product, reference.product};
  check_counts(exact, &k == &reference ? definition(exact) : exact.run(reference.product, 0, kMostRows), checks);
  check_parts(exact, checks);
  if (format != Format::q8_0) return;
  const Case coarse{weights, activations.view(), "coarse product", k.coarse_product, reference.coarse_product};
  check_counts(coarse, coarse.run(reference.coarse_product, 0, kMostRows), checks);
  check_parts(coarse, checks);
  check_slack(coarse, k.product, checks);
}

}  // namespace

void check_products(const Kernels& k, const Kernels& reference, Checks& checks) {
  Random random(1);
  for (int f = 0; f < kFormats; ++f) {
    const Format format = static_cast<Format>(f);
    const bool has_supers = source_row_bytes(format, kGroup) == 0, is_float = !is_quantized(format);
    for (const int rows : {1, 16, 37}) check_problem(k, reference, random, format, rows, 512, Fill::random, Fill::random, checks);
    for (const int groups : {1, 3, 17})
      if (!has_supers) check_problem(k, reference, random, format, 33, groups * kGroup, Fill::random, Fill::random, checks);
    for (const int columns : {1, 15, 50})
      if (is_float) check_problem(k, reference, random, format, 21, columns, Fill::random, Fill::random, checks);
    for (const Fill codes : kFills)
      for (const Fill values : kFills)
        if (!is_float) check_problem(k, reference, random, format, 19, 256, codes, values, checks);
  }
}

}  // namespace firesteel
