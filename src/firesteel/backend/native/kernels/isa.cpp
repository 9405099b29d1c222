// Compiled once for each instruction set: FS_ISA names it, FS_LANES is the header with its lanes.
#include FS_LANES

#include "attention.h"
#include "bounds.h"
#include "pointwise.h"
#include "product.h"
#include "table.h"

#define FS_STRING_(x) #x
#define FS_STRING(x) FS_STRING_(x)

namespace FS_ISA {

extern const firesteel::Kernels table;
const firesteel::Kernels table = {
    FS_STRING(FS_ISA), any_product, coarse_product, certain, reaches,     normalise,      quantise, gated,
    accumulate,        attend,      combine,        write_query, write_position,
};

}  // namespace FS_ISA
