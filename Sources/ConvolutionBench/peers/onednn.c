/* oneDNN's primitives behind native.h, without a framework: kernel reordered once, input and output in the chosen layout. */
#include "native.h"

#include <dnnl.h>
#include <string.h>

struct prepared {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_t plain_input, plain_kernel, plain_output; /* the caller's arrays */
    dnnl_memory_t input, kernel, output;                   /* in the primitive's layouts */
    dnnl_exec_arg_t arguments[3];
    int count;
    int64_t elements;
    float *result;
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

static int create(struct prepared *self, const native_layer *l, const float *input, const float *kernel) {
    dnnl_format_tag_t tag = l->layout == 0 ? dnnl_nhwc : l->layout == 1 ? dnnl_nchw : dnnl_format_tag_any;
    int64_t inputs = l->input_channels / l->groups, outputs = l->output_channels / l->groups, k = l->kernel;
    int64_t source[] = { l->batch, l->input_channels, l->input_height, l->input_width };
    int64_t destination[] = { l->batch, l->output_channels, l->output_height, l->output_width };
    int64_t dense[] = { l->output_channels, l->input_channels, k, k }, grouped[] = { l->groups, outputs, inputs, k, k };
    dnnl_dims_t strides = { l->stride, l->stride }, dilations = { l->dilation - 1, l->dilation - 1 };
    dnnl_dims_t before = { l->padding, l->padding }, after = { l->trailing_padding, l->trailing_padding };
    dnnl_memory_desc_t x = NULL, w = NULL, y = NULL, plain_x = NULL, plain_w = NULL, plain_y = NULL;
    int rank = l->groups > 1 ? 5 : 4, transposed = l->operation == 1, upsampling = l->operation == 2;
    const int64_t *sizes = l->groups > 1 ? grouped : dense;
    dnnl_format_tag_t torch = transposed ? (rank == 5 ? dnnl_giohw : dnnl_iohw) : (rank == 5 ? dnnl_goihw : dnnl_oihw);
    int failed;

    if (!engine &&
        (dnnl_engine_create(&engine, dnnl_cpu, 0) || dnnl_stream_create(&stream, engine, dnnl_stream_in_order))) return 1;
    /* A lone resampling has no layout that it likes best, and there is no bicubic. */
    if (upsampling && (l->layout == 2 || l->interpolation > 1)) return 1;
    failed = describe(&plain_x, 4, source, dnnl_nchw) || describe(&plain_y, 4, destination, dnnl_nchw) ||
             describe(&x, 4, source, tag) || describe(&y, 4, destination, tag);
    if (!failed && upsampling) {
        failed = dnnl_resampling_forward_primitive_desc_create(
            &self->description, engine, dnnl_forward_inference,
            l->interpolation ? dnnl_resampling_linear : dnnl_resampling_nearest, NULL, x, y, NULL) != dnnl_success;
    } else if (!failed) {
        failed = describe(&w, rank, sizes, dnnl_format_tag_any) || describe(&plain_w, rank, sizes, torch);
        if (!failed && transposed)
            failed = dnnl_deconvolution_forward_primitive_desc_create(
                &self->description, engine, dnnl_forward_inference, dnnl_deconvolution_direct, x, w, NULL, y, strides, dilations,
                before, after, NULL) != dnnl_success;
        else if (!failed)
            failed = dnnl_convolution_forward_primitive_desc_create(
                &self->description, engine, dnnl_forward_inference, dnnl_convolution_auto, x, w, NULL, y, strides, dilations,
                before, after, NULL) != dnnl_success;
    }
    failed = failed || dnnl_primitive_create(&self->primitive, self->description) != dnnl_success ||
             allocate(&self->plain_input, plain_x) || allocate(&self->plain_output, plain_y) ||
             allocate(&self->input, dnnl_primitive_desc_query_md(self->description, dnnl_query_src_md, 0)) ||
             allocate(&self->output, dnnl_primitive_desc_query_md(self->description, dnnl_query_dst_md, 0)) ||
             transfer(self->plain_input, (float *)input, source[0] * source[1] * source[2] * source[3], 1) ||
             reorder(self->plain_input, self->input);
    if (!failed && !upsampling) {
        failed = allocate(&self->plain_kernel, plain_w) ||
                 allocate(&self->kernel, dnnl_primitive_desc_query_md(self->description, dnnl_query_weights_md, 0)) ||
                 transfer(self->plain_kernel, (float *)kernel, l->groups * outputs * inputs * k * k, 1) ||
                 reorder(self->plain_kernel, self->kernel);
        self->arguments[self->count++] = (dnnl_exec_arg_t){ DNNL_ARG_WEIGHTS, self->kernel };
    }
    self->arguments[self->count++] = (dnnl_exec_arg_t){ DNNL_ARG_SRC, self->input };
    self->arguments[self->count++] = (dnnl_exec_arg_t){ DNNL_ARG_DST, self->output };
    self->elements = destination[0] * destination[1] * destination[2] * destination[3];
    dnnl_memory_desc_t all[] = { x, w, y, plain_x, plain_w, plain_y };
    for (int i = 0; i < 6; i++)
        if (all[i]) dnnl_memory_desc_destroy(all[i]);
    return failed;
}

void *native_prepare(const native_layer *layer, const float *input, const float *kernel, float *output) {
    struct prepared *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->result = output;
    if (!create(self, layer, input, kernel)) return self;
    native_destroy(self);
    return NULL;
}

int native_run(void *prepared) {
    const struct prepared *self = prepared;
    return execute(self->primitive, self->count, self->arguments);
}

int native_result(void *prepared) {
    struct prepared *self = prepared;
    return reorder(self->output, self->plain_output) || transfer(self->plain_output, self->result, self->elements, 0);
}

void native_destroy(void *prepared) {
    struct prepared *self = prepared;
    dnnl_memory_t all[] = { self->plain_input, self->plain_kernel, self->plain_output, self->input, self->kernel, self->output };
    for (int i = 0; i < 6; i++)
        if (all[i]) dnnl_memory_destroy(all[i]);
    if (self->primitive) dnnl_primitive_destroy(self->primitive);
    if (self->description) dnnl_primitive_desc_destroy(self->description);
    free(self);
}

const char *native_note(void *prepared) {
    const char *name = "";
    dnnl_primitive_desc_query(((struct prepared *)prepared)->description, dnnl_query_impl_info_str, 0, (void *)&name);
    return name;
}
