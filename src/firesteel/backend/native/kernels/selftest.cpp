// Compares every instruction set that this processor has with the portable one on seeded random problems, and the
// portable one with the definitions in double precision. A line for each set; exit status 1 when a check fails.
// With names of sets as arguments: only those, and they must be there; for scripts/emulate.sh.
#include <cstdio>
#include <cstring>

#include "testing/checks.h"

namespace {

using firesteel::Kernels;

bool passes(const Kernels& table) {
  const Kernels& portable = *firesteel::kTables[0];
  firesteel::Checks checks(table.name);
  firesteel::check_products(table, portable, checks);
  firesteel::check_pointwise(table, portable, checks);
  firesteel::check_attention(table, portable, checks);
  if (checks.failed()) std::printf("%s: %d of %d checks failed\n", table.name, checks.failed(), checks.count());
  else std::printf("%s: %d checks passed\n", table.name, checks.count());
  std::fflush(stdout);
  return checks.failed() == 0;
}

// Whether a set is to run: without names all that are supported, else those named, which must be supported.
bool is_wanted(const char* set, int count, char** names) {
  for (int i = 1; i < count; ++i)
    if (std::strcmp(names[i], set) == 0) return true;
  return count == 1;
}

}  // namespace

int main(int count, char** names) {
  bool good = true;
  for (int i = 0; i < firesteel::kNumTables; ++i) {
    const Kernels& table = *firesteel::kTables[i];
    const bool wanted = is_wanted(table.name, count, names), supported = firesteel::is_supported(table);
    if (!supported) std::printf("%s: not on this processor\n", table.name);
    if (wanted) good &= supported ? passes(table) : count == 1;
  }
  return good ? 0 : 1;
}
