/* oneDNN's primitives behind native.h, without a framework: kernel reordered once, input and output in the chosen layout. */
#include "native.h"

#include <dnnl.h>
#include <string.h>

/* The three arrays of a layer. Two are read; the pass says which one is the result. */
enum { INPUT, KERNEL, OUTPUT, ROLES };

struct prepared {
    dnnl_primitive_desc_t forward, description;
    dnnl_primitive_t primitive;
    dnnl_memory_t plain[ROLES], memory[ROLES]; /* laid out as the caller's arrays, and as the primitive wants it */
    dnnl_exec_arg_t arguments[ROLES];
    int count, result;
    int64_t elements[ROLES];
    float *arrays[ROLES];
};

/* One engine and one stream for the process. */
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static int execute(dnnl_primitive_t primitive, int count, const dnnl_exec_arg_t *arguments) {
    return dnnl_primitive_execute(primitive, stream, count, arguments) || dnnl_stream_wait(stream);
}

static int reorder(dnnl_memory_t from, dnnl_memory_t to) {
    const_dnnl_memory_desc_t source, destination;
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_exec_arg_t arguments[2] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
    int failed = dnnl_memory_get_memory_desc(from, &source) || dnnl_memory_get_memory_desc(to, &destination) ||
                 dnnl_reorder_primitive_desc_create(&description, source, engine, destination, engine, NULL) ||
                 dnnl_primitive_create(&primitive, description) || execute(primitive, 2, arguments);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(description);
    return failed;
}

/* Copies between an array and memory of oneDNN's own, which is aligned as it likes and lies where its runtime wants it. */
static int transfer(dnnl_memory_t memory, float *array, int64_t elements, int into) {
    void *mapped = NULL;
    if (dnnl_memory_map_data(memory, &mapped)) return 1;
    if (into) memcpy(mapped, array, (size_t)elements * sizeof *array);
    else memcpy(array, mapped, (size_t)elements * sizeof *array);
    return dnnl_memory_unmap_data(memory, mapped) != dnnl_success;
}

static int allocate(dnnl_memory_t *memory, const_dnnl_memory_desc_t description) {
    return dnnl_memory_create(memory, description, engine, DNNL_MEMORY_ALLOCATE) != dnnl_success;
}

static int describe(dnnl_memory_desc_t *description, int rank, const int64_t *sizes, dnnl_format_tag_t tag) {
    dnnl_dims_t dimensions;
    for (int i = 0; i < rank; i++) dimensions[i] = sizes[i];
    return dnnl_memory_desc_create_with_tag(description, rank, dimensions, dnnl_f32, tag) != dnnl_success;
}

static int create_description(
    struct prepared *self, const native_layer *l, const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t w,
    const_dnnl_memory_desc_t y) {
    dnnl_dims_t stride = { l->stride, l->stride }, dilation = { l->dilation - 1, l->dilation - 1 };
    dnnl_dims_t before = { l->padding, l->padding }, after = { l->trailing_padding, l->trailing_padding };
    dnnl_prop_kind_t kind = l->pass ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_primitive_desc_t *forward = l->pass ? &self->forward : &self->description, *d = &self->description;
    dnnl_alg_kind_t algorithm = l->operation == 1 ? dnnl_deconvolution_direct : dnnl_convolution_auto;
    if (l->operation == 2) {
        algorithm = l->interpolation ? dnnl_resampling_linear : dnnl_resampling_nearest;
        return dnnl_resampling_forward_primitive_desc_create(d, engine, kind, algorithm, NULL, x, y, NULL) != dnnl_success;
    }
    if (l->operation == 1) {
        if (dnnl_deconvolution_forward_primitive_desc_create(
                forward, engine, kind, algorithm, x, w, NULL, y, stride, dilation, before, after, NULL)) return 1;
        if (l->pass == 1)
            return dnnl_deconvolution_backward_data_primitive_desc_create(
                d, engine, algorithm, x, w, y, stride, dilation, before, after, self->forward, NULL) != dnnl_success;
        return l->pass == 2 && dnnl_deconvolution_backward_weights_primitive_desc_create(
            d, engine, algorithm, x, w, NULL, y, stride, dilation, before, after, self->forward, NULL) != dnnl_success;
    }
    if (dnnl_convolution_forward_primitive_desc_create(
            forward, engine, kind, algorithm, x, w, NULL, y, stride, dilation, before, after, NULL)) return 1;
    if (l->pass == 1)
        return dnnl_convolution_backward_data_primitive_desc_create(
            d, engine, algorithm, x, w, y, stride, dilation, before, after, self->forward, NULL) != dnnl_success;
    return l->pass == 2 && dnnl_convolution_backward_weights_primitive_desc_create(
        d, engine, algorithm, x, w, NULL, y, stride, dilation, before, after, self->forward, NULL) != dnnl_success;
}

static int create(struct prepared *self, const native_layer *l) {
    static const dnnl_query_t queries[3][ROLES] = {
        { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
        { dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md },
        { dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md },
    };
    static const int names[3][ROLES] = {
        { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
        { DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST },
        { DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST },
    };
    static const int results[3] = { OUTPUT, INPUT, KERNEL };
    dnnl_format_tag_t tag = l->layout == 0 ? dnnl_nhwc : l->layout == 1 ? dnnl_nchw : dnnl_format_tag_any;
    int64_t inputs = l->input_channels / l->groups, outputs = l->output_channels / l->groups, k = l->kernel;
    int64_t source[] = { l->batch, l->input_channels, l->input_height, l->input_width };
    int64_t destination[] = { l->batch, l->output_channels, l->output_height, l->output_width };
    int64_t dense[] = { l->output_channels, l->input_channels, k, k }, grouped[] = { l->groups, outputs, inputs, k, k };
    dnnl_memory_desc_t plain[ROLES] = { NULL, NULL, NULL }, wanted[ROLES] = { NULL, NULL, NULL };
    int rank = l->groups > 1 ? 5 : 4, upsampling = l->operation == 2, failed;
    const int64_t *sizes = l->groups > 1 ? grouped : dense;
    dnnl_format_tag_t torch = l->operation == 1 ? (rank == 5 ? dnnl_giohw : dnnl_iohw) : (rank == 5 ? dnnl_goihw : dnnl_oihw);

    if (!engine &&
        (dnnl_engine_create(&engine, dnnl_cpu, 0) || dnnl_stream_create(&stream, engine, dnnl_stream_in_order))) return 1;
    /* A lone resampling has no layout that it likes best, and there is no bicubic. */
    if (upsampling && (l->layout == 2 || l->interpolation > 1)) return 1;
    self->result = results[l->pass];
    self->elements[INPUT] = source[0] * source[1] * source[2] * source[3];
    self->elements[KERNEL] = l->groups * outputs * inputs * k * k;
    self->elements[OUTPUT] = destination[0] * destination[1] * destination[2] * destination[3];
    failed = describe(&plain[INPUT], 4, source, dnnl_nchw) || describe(&wanted[INPUT], 4, source, tag) ||
             describe(&plain[OUTPUT], 4, destination, dnnl_nchw) || describe(&wanted[OUTPUT], 4, destination, tag) ||
             (!upsampling && (describe(&plain[KERNEL], rank, sizes, torch) ||
                              describe(&wanted[KERNEL], rank, sizes, dnnl_format_tag_any))) ||
             create_description(self, l, wanted[INPUT], wanted[KERNEL], wanted[OUTPUT]) ||
             dnnl_primitive_create(&self->primitive, self->description) != dnnl_success;
    for (int role = 0; role < ROLES && !failed; role++) {
        if (upsampling && role == KERNEL) continue;
        failed = allocate(&self->plain[role], plain[role]) ||
                 allocate(&self->memory[role], dnnl_primitive_desc_query_md(self->description, queries[l->pass][role], 0)) ||
                 (role != self->result && (transfer(self->plain[role], self->arrays[role], self->elements[role], 1) ||
                                           reorder(self->plain[role], self->memory[role])));
        self->arguments[self->count++] = (dnnl_exec_arg_t){ names[l->pass][role], self->memory[role] };
    }
    for (int role = 0; role < ROLES; role++) {
        if (plain[role]) dnnl_memory_desc_destroy(plain[role]);
        if (wanted[role]) dnnl_memory_desc_destroy(wanted[role]);
    }
    return failed;
}

void *native_prepare(const native_layer *layer, float *input, float *kernel, float *output) {
    struct prepared *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->arrays[INPUT] = input;
    self->arrays[KERNEL] = kernel;
    self->arrays[OUTPUT] = output;
    if (!create(self, layer)) return self;
    native_destroy(self);
    return NULL;
}

int native_run(void *prepared) {
    const struct prepared *self = prepared;
    return execute(self->primitive, self->count, self->arguments);
}

int native_result(void *prepared) {
    struct prepared *self = prepared;
    int role = self->result;
    return reorder(self->memory[role], self->plain[role]) ||
           transfer(self->plain[role], self->arrays[role], self->elements[role], 0);
}

void native_destroy(void *prepared) {
    struct prepared *self = prepared;
    for (int role = 0; role < ROLES; role++) {
        if (self->plain[role]) dnnl_memory_destroy(self->plain[role]);
        if (self->memory[role]) dnnl_memory_destroy(self->memory[role]);
    }
    if (self->primitive) dnnl_primitive_destroy(self->primitive);
    if (self->description) dnnl_primitive_desc_destroy(self->description);
    if (self->forward) dnnl_primitive_desc_destroy(self->forward);
    free(self);
}

const char *native_note(void *prepared) {
    const char *name = "";
    dnnl_primitive_desc_query(((struct prepared *)prepared)->description, dnnl_query_impl_info_str, 0, (void *)&name);
    return name;
}
