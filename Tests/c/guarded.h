/*
 * Memory between two unreadable pages, and arrays with element strides placed against the one or the other of them.
 */
#ifndef GUARDED_H
#define GUARDED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARDED_BYTES ((size_t)1 << 20)

static inline unsigned char *guarded_block(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *block = mmap(NULL, GUARDED_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED || mprotect(block + page, GUARDED_BYTES, PROT_READ | PROT_WRITE) != 0) {
        perror("mmap");
        exit(1);
    }
    return block + page;
}

static inline void guarded_protect(unsigned char *block, int protection) {
    if (mprotect(block, GUARDED_BYTES, protection) != 0) {
        perror("mprotect");
        exit(1);
    }
}

/* The bytes of an array, and where its element [0][0][0][0] stands. */
struct place {
    unsigned char *first;
    size_t bytes;
    unsigned char *origin;
    int fits;
};

/* Strides as the header means them: 0 is the next faster axis's stride times its length. In double: nonsense cannot wrap. */
static inline struct place place_array(unsigned char *block, int at_end, const int64_t sizes[4], const int64_t strides[4],
                                       size_t element) {
    struct place place = { block, 0, block, 1 };
    double low = 0, high = 0, packed = 1;
    for (int axis = 3; axis >= 0; axis--) {
        double stride = strides[axis] ? (double)strides[axis] : packed;
        double span = stride * (double)(sizes[axis] - 1);
        if (sizes[axis] == 0) {
            place.first = place.origin = at_end ? block + GUARDED_BYTES : block;
            return place;
        }
        if (span < 0) low += span; else high += span;
        packed = stride * (double)sizes[axis];
    }
    double bytes = (high - low + 1) * (double)element;
    place.fits = bytes <= (double)GUARDED_BYTES;
    if (!place.fits) return place;
    place.bytes = (size_t)bytes;
    place.first = at_end ? block + GUARDED_BYTES - place.bytes : block;
    place.origin = place.first + (size_t)(-low * (double)element);
    return place;
}

#endif
