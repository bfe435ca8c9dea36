/*
 * Arithmetic on whole vectors. Swift's own SIMD operators are, in generic code, loops over lanes that the optimiser may or may
 * not turn back into one instruction; these are one operation by construction. Clang's vector types arrive in Swift as
 * SIMDn<Scalar>.
 */
#ifndef CONVOLUTION_VECTORS_H
#define CONVOLUTION_VECTORS_H

#include <stddef.h>
#include <stdint.h>

/* Into the level-2 cache, if the address is one; no fault if not. */
static inline __attribute__((always_inline)) void shim_prefetch(const void *address) { __builtin_prefetch(address, 0, 2); }
/* Into all levels. */
static inline __attribute__((always_inline)) void shim_prefetch_near(const void *address) { __builtin_prefetch(address, 0, 3); }

/* x, which the compiler then does not see through: one register, where it would keep a sum with x for each address. */
static inline __attribute__((always_inline)) intptr_t shim_opaque(intptr_t x) {
    __asm__("" : "+r"(x));
    return x;
}

/* The address so many bytes further on, by an instruction of its own: additions to several of them stay out of vectors. */
static inline __attribute__((always_inline)) intptr_t shim_advanced(intptr_t address, intptr_t bytes) {
#if defined(__x86_64__)
    __asm__("addq %1, %0" : "+r"(address) : "er"(bytes) : "cc");
    return address;
#else
    return address + bytes;
#endif
}

#define SHIM_VECTOR(name, scalar, integer, lanes)                                                                                \
    typedef scalar shim_##name __attribute__((ext_vector_type(lanes)));                                                          \
    typedef integer shim_mask_##name __attribute__((ext_vector_type(lanes)));                                                    \
    static inline __attribute__((always_inline)) shim_##name shim_fma_##name(shim_##name a, shim_##name b, shim_##name c) {      \
        return __builtin_elementwise_fma(a, b, c);                                                                               \
    }                                                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_add_##name(shim_##name a, shim_##name b) { return a + b; }     \
    static inline __attribute__((always_inline)) shim_##name shim_mul_##name(shim_##name a, shim_##name b) { return a * b; }     \
    /* Past the caches: for results that fill them anyway. place must be aligned to the vector. */                               \
    static inline __attribute__((always_inline)) void shim_stream_##name(shim_##name x, void *place) {                           \
        __builtin_nontemporal_store(x, (shim_##name *)place);                                                                    \
    }                                                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_gather_##name(const scalar *source, const ptrdiff_t *places) { \
        shim_##name gathered;                                                                                                    \
        for (int lane = 0; lane < lanes; lane++) gathered[lane] = source[places[lane]];                                          \
        return gathered;                                                                                                         \
    }                                                                                                                            \
    /* Per lane: x < bound ? other : x. NaN stays NaN. */                                                                        \
    static inline __attribute__((always_inline)) shim_##name                                                                     \
    shim_below_##name(shim_##name x, shim_##name bound, shim_##name o) {                                                         \
        shim_mask_##name m = x < bound;                                                                                          \
        return (shim_##name)((m & (shim_mask_##name)o) | (~m & (shim_mask_##name)x));                                            \
    }                                                                                                                            \
    /* Per lane: x > bound ? other : x. NaN stays NaN. */                                                                        \
    static inline __attribute__((always_inline)) shim_##name                                                                     \
    shim_above_##name(shim_##name x, shim_##name bound, shim_##name o) {                                                         \
        shim_mask_##name m = x > bound;                                                                                          \
        return (shim_##name)((m & (shim_mask_##name)o) | (~m & (shim_mask_##name)x));                                            \
    }

SHIM_VECTOR(f32x4, float, int32_t, 4)
SHIM_VECTOR(f32x8, float, int32_t, 8)
SHIM_VECTOR(f32x16, float, int32_t, 16)
SHIM_VECTOR(f64x2, double, int64_t, 2)
SHIM_VECTOR(f64x4, double, int64_t, 4)
SHIM_VECTOR(f64x8, double, int64_t, 8)

#undef SHIM_VECTOR

#ifdef __AVX512F__
/* Two scalars, repeated in every two lanes: half the loads of one by one. The empty statement hides that they come from memory,
 * or the compiler would load each by itself after all. */
static inline __attribute__((always_inline)) shim_f32x16 shim_twos_f32x16(const float *source) {
    double two;
    __builtin_memcpy(&two, source, sizeof two);
    shim_f64x8 twos = {two, two, two, two, two, two, two, two};
    __asm__("" : "+v"(twos));
    return (shim_f32x16)twos;
}
/* One scalar in every lane, by a load of its own. */
static inline __attribute__((always_inline)) shim_f32x16 shim_one_f32x16(const float *source) {
    shim_f32x16 ones = *source;
    __asm__("" : "+v"(ones));
    return ones;
}
/* The lower half of x and the upper half of y. The empty statement hides what the mask is, or the compiler would make a
 * permutation of it, which takes longer. */
static inline __attribute__((always_inline)) shim_f32x16 shim_halves_f32x16(shim_f32x16 x, shim_f32x16 y) {
    typedef float vector __attribute__((vector_size(64)));
    unsigned short upper = 0xff00;
    __asm__("" : "+Yk"(upper));
    return (shim_f32x16)__builtin_ia32_selectps_512(upper, (vector)y, (vector)x);
}
/* Half a vector, in both halves. */
static inline __attribute__((always_inline)) shim_f32x16 shim_twice_f32x16(const void *source) {
    shim_f32x8 half;
    __builtin_memcpy(&half, source, sizeof half);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
}
/* The upper half of x, then the lower. */
static inline __attribute__((always_inline)) shim_f32x16 shim_swapped_f32x16(shim_f32x16 x) {
    return __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
}
/* The first lanes of x, as many as mask has ones. */
static inline __attribute__((always_inline)) void shim_store_f32x16(shim_f32x16 x, void *place, unsigned mask) {
    typedef float vector __attribute__((vector_size(64)));
    __builtin_ia32_storeups512_mask(place, (vector)x, (unsigned short)mask);
}
static inline __attribute__((always_inline)) void shim_store_f64x8(shim_f64x8 x, void *place, unsigned mask) {
    typedef double vector __attribute__((vector_size(64)));
    __builtin_ia32_storeupd512_mask(place, (vector)x, (unsigned char)mask);
}
/* x * b + c in the lanes that mask has ones for, x being read from place on; nothing of it in the others, which stay those of c.
 * One instruction: a masked load would be one more for each. */
static inline __attribute__((always_inline)) shim_f32x16
shim_fma_part_f32x16(const void *place, shim_f32x16 b, shim_f32x16 c, unsigned mask) {
    __asm__("vfmadd231ps %1, %2, %0 %{%3%}" : "+v"(c) : "m"(*(const shim_f32x16 *)place), "v"(b), "Yk"((unsigned short)mask));
    return c;
}
static inline __attribute__((always_inline)) shim_f64x8
shim_fma_part_f64x8(const void *place, shim_f64x8 b, shim_f64x8 c, unsigned mask) {
    __asm__("vfmadd231pd %1, %2, %0 %{%3%}" : "+v"(c) : "m"(*(const shim_f64x8 *)place), "v"(b), "Yk"((unsigned short)mask));
    return c;
}
#endif
/* The first or second of every two lanes, in both. */
static inline __attribute__((always_inline)) shim_f32x16 shim_firsts_f32x16(shim_f32x16 x) {
    return __builtin_shufflevector(x, x, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
}
static inline __attribute__((always_inline)) shim_f32x16 shim_seconds_f32x16(shim_f32x16 x) {
    return __builtin_shufflevector(x, x, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
}

/* In every 16 bytes: the lanes of the lower halves of x and y in turn; of the upper halves. Without these functions the compiler
 * would make one shuffle of many sources of several. */
#define SHIM_TURN(name, lower, upper)                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_lower_##name(shim_##name x, shim_##name y) {                   \
        return __builtin_shufflevector(x, y, SHIM_PLACES lower);                                                                 \
    }                                                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_upper_##name(shim_##name x, shim_##name y) {                   \
        return __builtin_shufflevector(x, y, SHIM_PLACES upper);                                                                 \
    }
#define SHIM_PLACES(...) __VA_ARGS__
SHIM_TURN(f32x8, (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
SHIM_TURN(f64x4, (0, 4, 2, 6), (1, 5, 3, 7))
#undef SHIM_TURN
#undef SHIM_PLACES

/* One of every four lanes, repeated in them: a shuffle whose places are part of the instruction, which takes half as long as one
 * of SHIM_PERMUTE. */
#define SHIM_SPREAD(place)                                                                                                       \
    static inline __attribute__((always_inline)) shim_f32x16 shim_spread##place##_f32x16(shim_f32x16 x) {                        \
        return __builtin_shufflevector(x, x, place, place, place, place, 4 + place, 4 + place, 4 + place, 4 + place, 8 + place,  \
                                       8 + place, 8 + place, 8 + place, 12 + place, 12 + place, 12 + place, 12 + place);         \
    }
SHIM_SPREAD(0)
SHIM_SPREAD(1)
SHIM_SPREAD(2)
SHIM_SPREAD(3)
#undef SHIM_SPREAD

/* Lane i: x[indices[i]], one instruction; permute2: of the lanes of x, and those of y after them; permute4: of those of z and w
 * where the index has the sign bit set. Only the tiers whose processors have it see it. */
#define SHIM_PERMUTE(name, scalar, integer, lanes, one, two)                                                                     \
    static inline __attribute__((always_inline)) shim_##name shim_permute_##name(shim_##name x, shim_mask_##name indices) {      \
        typedef scalar vector __attribute__((vector_size(lanes * sizeof(scalar))));                                              \
        typedef integer places __attribute__((vector_size(lanes * sizeof(scalar))));                                             \
        return (shim_##name)one((vector)x, (places)indices);                                                                     \
    }                                                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_permute2_##name(                                               \
        shim_##name x, shim_##name y, shim_mask_##name indices) {                                                                \
        typedef scalar vector __attribute__((vector_size(lanes * sizeof(scalar))));                                              \
        typedef integer places __attribute__((vector_size(lanes * sizeof(scalar))));                                             \
        return (shim_##name)two((vector)x, (places)indices, (vector)y);                                                          \
    }                                                                                                                            \
    static inline __attribute__((always_inline)) shim_##name shim_permute4_##name(                                               \
        shim_##name x, shim_##name y, shim_##name z, shim_##name w, shim_mask_##name indices) {                                  \
        shim_mask_##name low = (shim_mask_##name)shim_permute2_##name(x, y, indices);                                            \
        shim_mask_##name high = (shim_mask_##name)shim_permute2_##name(z, w, indices);                                           \
        shim_mask_##name m = indices < 0;                                                                                        \
        return (shim_##name)((m & high) | (~m & low));                                                                           \
    }

#ifdef __AVX2__
/* The first lanes of x, as many as mask has ones. Some processors take as long for a masked store as for several others. */
static inline __attribute__((always_inline)) void shim_store_f32x8(shim_f32x8 x, void *place, unsigned mask) {
    typedef float vector __attribute__((vector_size(32)));
    typedef float unaligned __attribute__((vector_size(32), aligned(4)));
    typedef int lanes __attribute__((vector_size(32)));
    const lanes bits = { 1, 2, 4, 8, 16, 32, 64, 128 };
    if (mask == 0xFFFFFFFF) *(unaligned *)place = (vector)x;
    else __builtin_ia32_maskstoreps256((vector *)place, ((lanes){ 0 } + (int)mask & bits) == bits, (vector)x);
}
/* No such instruction: two permutations, and a choice. */
#define SHIM_PERMUTE2_F32X8(x, indices, y)                                                                                       \
    __builtin_ia32_blendvps256(__builtin_ia32_permvarsf256(x, indices), __builtin_ia32_permvarsf256(y, indices),                 \
                               (vector)((places)(indices) << 28))
SHIM_PERMUTE(f32x8, float, int32_t, 8, __builtin_ia32_permvarsf256, SHIM_PERMUTE2_F32X8)
#undef SHIM_PERMUTE2_F32X8
#endif
#ifdef __AVX512F__
SHIM_PERMUTE(f32x16, float, int32_t, 16, __builtin_ia32_permvarsf512, __builtin_ia32_vpermi2varps512)
SHIM_PERMUTE(f64x8, double, int64_t, 8, __builtin_ia32_permvardf512, __builtin_ia32_vpermi2varpd512)
#endif

#undef SHIM_PERMUTE
#endif
