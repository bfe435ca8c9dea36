/*
 * 09 - What a language runtime does: no header, no linking. Opens the library with dlopen, calls it through libffi, asks the
 * library itself for constants and sizes, and lays the parameter struct out by a list of its fields.
 *
 *     09-dlopen-libffi [library]        without it: CONVOLUTION_LIBRARY of the environment, or else libconvolution.so.0
 */
#include "check.h"

#include <dlfcn.h>
#include <ffi.h>

static void *library;

/* The fields of conv2d_params by type, in order. libffi has no arrays: name[4] is four fields, of which the first has the name. */
static const struct { ffi_type *type; const char *names; } layout[] = {
    {sizeof(size_t) == 8 ? &ffi_type_uint64 : &ffi_type_uint32, "struct_size"},
};
