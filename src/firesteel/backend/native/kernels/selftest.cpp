// Compares every instruction set that this processor has with the portable one on seeded random problems, and the
// portable one with the definitions in double precision. A line for each set; exit status 1 when a check fails.
// With names of sets as arguments: those must be there, for scripts/emulate.sh.
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

// Returns whether the set called `name` is among the supported ones; says so when it is not.
bool is_there(const char* name) {
  for (int i = 0; i < firesteel::kNumTables; ++i)
    if (std::strcmp(firesteel::kTables[i]->name, name) == 0 && firesteel::is_supported(*firesteel::kTables[i])) return true;
  std::fprintf(stderr, "%s: asked for, and not there\n", name);
  return false;
}

}  // namespace

int main(int count, char** arguments) {
  bool good = true;
  for (int i = 1; i < count; ++i) good &= is_there(arguments[i]);
  for (int i = 0; i < firesteel::kNumTables; ++i) {
    const Kernels& table = *firesteel::kTables[i];
    if (firesteel::is_supported(table)) good &= passes(table);
    else std::printf("%s: not on this processor\n", table.name);
  }
  return good ? 0 : 1;
}
