/* libconvolution behind native.h: a plan, and executions of it. */
#include "native.h"

#include <convolution.h>
#include <stdio.h>

struct prepared {
    native_layer layer;
    conv2d_params direct;
    conv2d_transpose_params transposed;
    void *plan;
    float *input, *kernel, *output;
};

/* The two structs have these fields in common. */
#define FIELDS(l)                                                                                                         \
    .batch = (l)->batch, .height = (l)->input_height, .width = (l)->input_width, .in_channels = (l)->input_channels,      \
    .out_channels = (l)->output_channels, .kernel_height = (l)->kernel, .kernel_width = (l)->kernel,                      \
    .stride_height = (l)->stride, .stride_width = (l)->stride, .dilation_height = (l)->dilation,                          \
    .dilation_width = (l)->dilation, .groups = (l)->groups, .padding = CONVOLUTION_PADDING_EXPLICIT,                      \
    .pad_top = (l)->padding, .pad_left = (l)->padding, .pad_bottom = (l)->trailing_padding,                               \
    .pad_right = (l)->trailing_padding, .data_format = (int32_t)(l)->layout, .kernel_format = (int32_t)(l)->layout,       \
    .threads = (int32_t)(l)->threads, .algorithm = (int32_t)(l)->algorithm

enum { DIRECT, TRANSPOSED, UPSAMPLE };
enum { FORWARD, INPUT, KERNEL };

static int create(struct prepared *self, const native_layer *l) {
    self->direct = (conv2d_params){ .struct_size = sizeof self->direct, FIELDS(l) };
    self->transposed = (conv2d_transpose_params){
        .struct_size = sizeof self->transposed, FIELDS(l), .rule = CONV2D_TRANSPOSE_RULE_WINDOW,
    };
    if (l->pass == KERNEL)
        return l->operation == DIRECT
            ? conv2d_backward_kernel_plan_create(&self->direct, (conv2d_backward_kernel_plan **)&self->plan)
            : conv2d_transpose_backward_kernel_plan_create(
                  &self->transposed, (conv2d_transpose_backward_kernel_plan **)&self->plan);
    if (l->operation == DIRECT)
        return l->pass == INPUT
            ? conv2d_backward_input_plan_create(&self->direct, self->kernel, (conv2d_backward_input_plan **)&self->plan)
            : conv2d_plan_create(&self->direct, self->kernel, NULL, (conv2d_plan **)&self->plan);
    if (l->operation == TRANSPOSED)
        return l->pass == INPUT
            ? conv2d_transpose_backward_input_plan_create(
                  &self->transposed, self->kernel, (conv2d_transpose_backward_input_plan **)&self->plan)
            : conv2d_transpose_plan_create(&self->transposed, self->kernel, NULL, (conv2d_transpose_plan **)&self->plan);
    upsample2d_params p = {
        .struct_size = sizeof p, .batch = l->batch, .height = l->input_height, .width = l->input_width,
        .channels = l->input_channels, .output_height = l->output_height, .output_width = l->output_width,
        .interpolation = (int32_t)l->interpolation, .cubic_coefficient = l->interpolation == 2 ? -0.75 : 0,
        .data_format = (int32_t)l->layout, .threads = (int32_t)l->threads,
    };
    return upsample2d_plan_create(&p, (upsample2d_plan **)&self->plan);
}

void *native_prepare(const native_layer *layer, float *input, float *kernel, float *output) {
    struct prepared *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->layer = *layer;
    self->input = input;
    self->kernel = kernel;
    self->output = output;
    if (create(self, layer) == CONVOLUTION_OK) return self;
    fprintf(stderr, "%s\n", convolution_error_message());
    free(self);
    return NULL;
}

int native_run(void *prepared) {
    const struct prepared *self = prepared;
    switch (self->layer.operation * 3 + self->layer.pass) {
    case DIRECT * 3 + FORWARD: return conv2d_plan_execute(self->plan, self->input, self->output);
    case DIRECT * 3 + INPUT: return conv2d_backward_input_plan_execute(self->plan, self->output, self->input);
    case DIRECT * 3 + KERNEL: return conv2d_backward_kernel_plan_execute(self->plan, self->input, self->output, self->kernel);
    case TRANSPOSED * 3 + FORWARD: return conv2d_transpose_plan_execute(self->plan, self->input, self->output);
    case TRANSPOSED * 3 + INPUT: return conv2d_transpose_backward_input_plan_execute(self->plan, self->output, self->input);
    case TRANSPOSED * 3 + KERNEL:
        return conv2d_transpose_backward_kernel_plan_execute(self->plan, self->input, self->output, self->kernel);
    default: return upsample2d_plan_execute(self->plan, self->input, self->output);
    }
}

int native_result(void *prepared) { return prepared == NULL; }

void native_destroy(void *prepared) {
    struct prepared *self = prepared;
    switch (self->layer.operation * 3 + self->layer.pass) {
    case DIRECT * 3 + FORWARD: conv2d_plan_destroy(self->plan); break;
    case DIRECT * 3 + INPUT: conv2d_backward_input_plan_destroy(self->plan); break;
    case DIRECT * 3 + KERNEL: conv2d_backward_kernel_plan_destroy(self->plan); break;
    case TRANSPOSED * 3 + FORWARD: conv2d_transpose_plan_destroy(self->plan); break;
    case TRANSPOSED * 3 + INPUT: conv2d_transpose_backward_input_plan_destroy(self->plan); break;
    case TRANSPOSED * 3 + KERNEL: conv2d_transpose_backward_kernel_plan_destroy(self->plan); break;
    case UPSAMPLE * 3: upsample2d_plan_destroy(self->plan); break;
    }
    free(self);
}

const char *native_note(void *prepared) {
    (void)prepared;
    return convolution_isa();
}
