// Which kernels run on this processor.
#include <cmath>
#include <cstring>
#include <vector>

#include "sets.h"  // written by the build: FS_SETS(x) is x(portable) x(avx2) …
#include "table.h"

#define FS_DECLARE(set) namespace set { extern const firesteel::Kernels table; }
#define FS_ADDRESS(set) &set::table,
FS_SETS(FS_DECLARE)

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace firesteel {

const Kernels* const kTables[] = {FS_SETS(FS_ADDRESS)};
const int kNumTables = static_cast<int>(sizeof kTables / sizeof kTables[0]);

namespace {

bool has_instructions(const char* name) {
  const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("portable")) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#ifdef FS_SIMDE  // what is emulated needs AVX2
  return avx2;
#endif
  if (is("avx2")) return avx2;
  if (is("avxvnni")) return avx2 && __builtin_cpu_supports("avxvnni");
  if (is("avx512")) return avx512;
  if (is("avx512vnni")) return avx512 && __builtin_cpu_supports("avx512vnni");
#elif defined(__aarch64__) && defined(__linux__)
  if (is("dotprod")) return getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
  if (is("i8mm")) return getauxval(AT_HWCAP2) >> 13 & 1;    // HWCAP2_I8MM
#elif defined(__aarch64__)
  return is("dotprod");  // Apple's processors all have it
#endif
  return false;
}

// Two rows times a block of Q4_0 and one of Q6_K weights: what a wrong instruction or a wrong compiler would spoil.
std::vector<float> small_problem(const Kernels& k) {
  constexpr int kColumns = 256, kTokens = 2;
  std::vector<uint8_t> weights(layout(Format::q6_k).super_bytes() + 8 * layout(Format::q4_0).super_bytes());
  uint32_t state = 1;
  for (auto& byte : weights) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24 & 0x3b);
  const size_t n = kColumns * kTokens, groups = n / kGroup;
  std::vector<float> values(n), scales(groups), sums(groups), out(2 * kTokens * kRows);
  std::vector<int8_t> codes(n);
  std::vector<int32_t> starts(3 * groups);
  for (size_t i = 0; i < n; ++i) values[i] = std::sin(static_cast<float>(i));
  const Activations a{codes.data(), scales.data(), sums.data(), starts.data(), values.data(), kColumns / kGroup};
  for (int t = 0; t < kTokens; ++t) k.quantise(a.at(t), 0, kColumns / kGroup);
  const Matrix six{Format::q6_k, kRows, kColumns, weights.data(), nullptr, nullptr};
  const Matrix four{Format::q4_0, kRows, kColumns, weights.data() + six.block_bytes(), nullptr, nullptr};
  k.product(six, a, kTokens, 0, 1, out.data(), kRows);
  k.product(four, a, kTokens, 0, 1, out.data() + kTokens * kRows, kRows);
  return out;
}

bool agrees(const Kernels& table) {
  const std::vector<float> expected = small_problem(*kTables[0]), found = small_problem(table);
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::fabs(found[i] - expected[i]) <= 1e-3f * (1.0f + std::fabs(expected[i])))) return false;
  return true;
}

}  // namespace

bool is_supported(const Kernels& table) { return has_instructions(table.name); }

const Kernels* kernels(const char* name) {
  for (int i = kNumTables - 1; i >= 0; --i) {
    const Kernels& table = *kTables[i];
    if (name && std::strcmp(name, table.name) != 0) continue;
    if (is_supported(table) && (name || agrees(table))) return &table;
  }
  return nullptr;
}

}  // namespace firesteel
