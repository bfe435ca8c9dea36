/*
 * 09 - What a language runtime does: no header, no linking. Opens the library with dlopen, calls it through libffi, asks the
 * library itself for constants and sizes, and lays the parameter struct out by a list of its fields.
 *
 *     09-dlopen-libffi [library]        without it: CONVOLUTION_LIBRARY of the environment, or else libconvolution.so.0
 */
#include "check.h"

#include <dlfcn.h>
#include <ffi.h>

/* conv2d_params. libffi has no array type: an array counts as that many fields of one type. */
static const struct { const char *name; char type; int count; } fields[] = {
    {"struct_size", 'z', 1}, {"batch", 'l', 1}, {"height", 'l', 1}, {"width", 'l', 1}, {"in_channels", 'l', 1},
    {"out_channels", 'l', 1}, {"kernel_height", 'l', 1}, {"kernel_width", 'l', 1}, {"stride_height", 'l', 1},
    {"stride_width", 'l', 1}, {"dilation_height", 'l', 1}, {"dilation_width", 'l', 1}, {"groups", 'l', 1},
    {"depth_multiplier", 'l', 1}, {"pad_top", 'l', 1}, {"pad_bottom", 'l', 1}, {"pad_left", 'l', 1}, {"pad_right", 'l', 1},
    {"input_strides", 'l', 4}, {"output_strides", 'l', 4}, {"padding_value", 'd', 1}, {"activation_alpha", 'd', 1},
    {"activation_min", 'd', 1}, {"activation_max", 'd', 1}, {"isa", 'p', 1}, {"dtype", 'i', 1}, {"data_format", 'i', 1},
    {"kernel_format", 'i', 1}, {"padding", 'i', 1}, {"padding_mode", 'i', 1}, {"flip_kernel", 'i', 1}, {"activation", 'i', 1},
    {"threads", 'i', 1}, {"allow_empty_output", 'i', 1}, {"algorithm", 'i', 1},
    {"workspace_limit", 'l', 1}, {"accumulate", 'i', 1}, {"reserved", 'i', 1},
};
enum { FIELDS = sizeof fields / sizeof *fields, MOST = 64 };
static size_t offsets[MOST]; /* of each field, and of each element of an array */
static void *library;

static ffi_type *type_of(char type)
{
    ffi_type *size = sizeof(size_t) == 8 ? &ffi_type_uint64 : &ffi_type_uint32;
    return type == 'z' ? size : type == 'l' ? &ffi_type_sint64 : type == 'd' ? &ffi_type_double
         : type == 'p' ? &ffi_type_pointer : &ffi_type_sint32;
}

static void require(int good, const char *what)
{
    if (!good)
        check_stop(what);
}

/* Calls a function of the library whose arguments are all pointers. */
static ffi_arg call(const char *name, ffi_type *result_type, unsigned count, void **pointers)
{
    void *symbol = dlsym(library, name), *arguments[8];
    require(symbol != NULL && count <= 8, name);
    void (*function)(void);
    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast from an object's to a function's pointer */
    ffi_type *types[8];
    for (unsigned i = 0; i < count; i++) {
        types[i] = &ffi_type_pointer;
        arguments[i] = &pointers[i];
    }
    ffi_cif interface;
    require(ffi_prep_cif(&interface, FFI_DEFAULT_ABI, count, result_type, types) == FFI_OK, "ffi_prep_cif");
    ffi_arg result = 0;
    ffi_call(&interface, function, &result, arguments);
    return result;
}

static int32_t constant(const char *name)
{
    int32_t value;
    require((int32_t)call("convolution_constant", &ffi_type_sint32, 2, (void *[]){(void *)name, &value}) == 0, name);
    return value;
}

static void set(unsigned char *params, const char *name, int64_t value)
{
    for (int i = 0, element = 0; i < FIELDS; element += fields[i++].count)
        if (strcmp(fields[i].name, name) == 0) {
            int32_t narrow = (int32_t)value;
            memcpy(params + offsets[element], fields[i].type == 'i' ? (void *)&narrow : (void *)&value,
                   type_of(fields[i].type)->size);
            return;
        }
    require(0, name);
}

int main(int argc, char **argv)
{
    check_begin("09-dlopen-libffi", "no header, no linking");
    const char *path = argc > 1 ? argv[1] : getenv("CONVOLUTION_LIBRARY");
    library = dlopen(path != NULL ? path : "libconvolution.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        check_stop(dlerror());

    ffi_type *elements[MOST + 1], structure = {.type = FFI_TYPE_STRUCT, .elements = elements};
    int count = 0;
    for (int i = 0; i < FIELDS; i++)
        for (int j = 0; j < fields[i].count; j++)
            elements[count++] = type_of(fields[i].type);
    elements[count] = NULL;
    require(ffi_get_struct_offsets(FFI_DEFAULT_ABI, &structure, offsets) == FFI_OK, "ffi_get_struct_offsets");
    float size = (float)call("conv2d_params_size", type_of('z'), 0, NULL);
    check_against("libffi", "conv2d_params_size()", EXACT, 1, 1, &size, (double[]){(double)structure.size});

    /* The Keras document's convolution of the 3x3 identity with padding 1, which is same here: it needs a constant by name. */
    static const float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    static const float kernel[9] = {0.00166929f, -0.4668319f, -0.45973036f, 0.38341302f, 0.49846447f, -0.33313805f,
                                    0.39259535f, 0.44750214f, -0.43990558f};
    static const double document[9] = {0.05855888, 0.83091515, 0.39259535, -0.79996994, 0.06022817, 0.83091515,
                                       -0.45973036, -0.79996994, 0.50013375};
    unsigned char *params = calloc(1, structure.size);
    require(params != NULL, "out of memory");
    const struct { const char *name; int64_t value; } settings[] = {
        {"struct_size", (int64_t)structure.size}, {"batch", 1}, {"height", 3}, {"width", 3}, {"in_channels", 1},
        {"out_channels", 1}, {"kernel_height", 3}, {"kernel_width", 3}, {"padding", constant("CONVOLUTION_PADDING_SAME")},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        set(params, settings[i].name, settings[i].value);
    float output[9] = {0};
    void *arguments[] = {params, (void *)identity, (void *)kernel, NULL, output};
    require((int32_t)call("conv2d", &ffi_type_sint32, 5, arguments) == 0, "conv2d failed");
    check("conv2d through libffi", RELATIVE, 3, 3, output, document);

    /* A mistake: a status of its own, a sentence, and nothing written. */
    set(params, "stride_height", -1);
    memcpy(output, identity, sizeof output);
    float status = (float)(int32_t)call("conv2d", &ffi_type_sint32, 5, arguments);
    const char *message = (const char *)(uintptr_t)call("convolution_error_message", &ffi_type_pointer, 0, NULL);
    printf("\n  stride_height = -1: \"%s\"\n", message);
    check_against("ERROR_STRIDE", "stride -1: status", EXACT, 1, 1, &status, (double[]){constant("CONVOLUTION_ERROR_STRIDE")});
    float named = strstr(message, "stride_height") != NULL;
    check_against("wanted", "stride -1: message names the field", EXACT, 1, 1, &named, (double[]){1});
    check_against("before", "stride -1: output untouched", EXACT, 3, 3, output, (double[]){1, 0, 0, 0, 1, 0, 0, 0, 1});
    free(params);
    dlclose(library);
    return check_end();
}
