/*
 * Arithmetic on whole vectors. Swift's own SIMD operators are, in generic code, loops over lanes that the optimiser may or may not
 * turn back into one instruction; these are one operation by construction. Clang's vector types arrive in Swift as SIMDn<Scalar>.
 */
#ifndef CONVOLUTION_VECTORS_H
#define CONVOLUTION_VECTORS_H

#include <stdint.h>

#define SHIM_VECTOR(name, scalar, integer, lanes)                                                                                  \
    typedef scalar shim_##name __attribute__((ext_vector_type(lanes)));                                                            \
    typedef integer shim_mask_##name __attribute__((ext_vector_type(lanes)));                                                      \
    static inline __attribute__((always_inline)) shim_##name shim_fma_##name(shim_##name a, shim_##name b, shim_##name c) {        \
        return __builtin_elementwise_fma(a, b, c);                                                                                 \
    }                                                                                                                              \
    static inline __attribute__((always_inline)) shim_##name shim_add_##name(shim_##name a, shim_##name b) { return a + b; }       \
    static inline __attribute__((always_inline)) shim_##name shim_mul_##name(shim_##name a, shim_##name b) { return a * b; }       \
    /* Per lane: x < bound ? other : x. NaN stays NaN. */                                                                          \
    static inline __attribute__((always_inline)) shim_##name shim_below_##name(shim_##name x, shim_##name bound, shim_##name o) {  \
        shim_mask_##name m = x < bound;                                                                                            \
        return (shim_##name)((m & (shim_mask_##name)o) | (~m & (shim_mask_##name)x));                                              \
    }                                                                                                                              \
    /* Per lane: x > bound ? other : x. NaN stays NaN. */                                                                          \
    static inline __attribute__((always_inline)) shim_##name shim_above_##name(shim_##name x, shim_##name bound, shim_##name o) {  \
        shim_mask_##name m = x > bound;                                                                                            \
        return (shim_##name)((m & (shim_mask_##name)o) | (~m & (shim_mask_##name)x));                                              \
    }

SHIM_VECTOR(f32x4, float, int32_t, 4)
SHIM_VECTOR(f32x8, float, int32_t, 8)
SHIM_VECTOR(f32x16, float, int32_t, 16)
SHIM_VECTOR(f64x2, double, int64_t, 2)
SHIM_VECTOR(f64x4, double, int64_t, 4)
SHIM_VECTOR(f64x8, double, int64_t, 8)

#undef SHIM_VECTOR
#endif
