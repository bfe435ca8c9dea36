/* libconvolution behind native.h: a plan, and executions of it. */
#include "native.h"

#include <convolution.h>
#include <stdio.h>

struct prepared {
    int64_t operation;
    conv2d_plan *conv2d;
    conv2d_transpose_plan *transpose;
    upsample2d_plan *upsample;
    const float *input;
    float *output;
};

static int prepare_conv2d(const native_layer *l, const float *kernel, conv2d_plan **plan) {
    conv2d_params p = {
        .struct_size = sizeof p, .batch = l->batch, .height = l->input_height, .width = l->input_width,
        .in_channels = l->input_channels, .out_channels = l->output_channels, .kernel_height = l->kernel,
        .kernel_width = l->kernel, .stride_height = l->stride, .stride_width = l->stride, .dilation_height = l->dilation,
        .dilation_width = l->dilation, .groups = l->groups, .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_top = l->padding,
        .pad_left = l->padding, .pad_bottom = l->trailing_padding, .pad_right = l->trailing_padding,
        .data_format = (int32_t)l->layout, .kernel_format = CONVOLUTION_KERNEL_TORCH, .threads = (int32_t)l->threads,
        .algorithm = (int32_t)l->algorithm,
    };
    return conv2d_plan_create(&p, kernel, NULL, plan);
}

static int prepare_transpose(const native_layer *l, const float *kernel, conv2d_transpose_plan **plan) {
    conv2d_transpose_params p = {
        .struct_size = sizeof p, .batch = l->batch, .height = l->input_height, .width = l->input_width,
        .in_channels = l->input_channels, .out_channels = l->output_channels, .kernel_height = l->kernel,
        .kernel_width = l->kernel, .stride_height = l->stride, .stride_width = l->stride, .dilation_height = l->dilation,
        .dilation_width = l->dilation, .groups = l->groups, .rule = CONV2D_TRANSPOSE_RULE_WINDOW,
        .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_top = l->padding, .pad_left = l->padding,
        .pad_bottom = l->trailing_padding, .pad_right = l->trailing_padding, .data_format = (int32_t)l->layout,
        .kernel_format = CONVOLUTION_KERNEL_TORCH, .threads = (int32_t)l->threads,
    };
    return conv2d_transpose_plan_create(&p, kernel, NULL, plan);
}

static int prepare_upsample(const native_layer *l, upsample2d_plan **plan) {
    upsample2d_params p = {
        .struct_size = sizeof p, .batch = l->batch, .height = l->input_height, .width = l->input_width,
        .channels = l->input_channels, .output_height = l->output_height, .output_width = l->output_width,
        .interpolation = (int32_t)l->interpolation, .cubic_coefficient = l->interpolation == 2 ? -0.75 : 0,
        .data_format = (int32_t)l->layout, .threads = (int32_t)l->threads,
    };
    return upsample2d_plan_create(&p, plan);
}

void *native_prepare(const native_layer *layer, const float *input, const float *kernel, float *output) {
    struct prepared *self = calloc(1, sizeof *self);
    int status;
    if (!self) return NULL;
    self->operation = layer->operation;
    self->input = input;
    self->output = output;
    switch (layer->operation) {
    case 0: status = prepare_conv2d(layer, kernel, &self->conv2d); break;
    case 1: status = prepare_transpose(layer, kernel, &self->transpose); break;
    default: status = prepare_upsample(layer, &self->upsample); break;
    }
    if (status == CONVOLUTION_OK) return self;
    fprintf(stderr, "%s\n", convolution_error_message());
    free(self);
    return NULL;
}

int native_run(void *prepared) {
    const struct prepared *self = prepared;
    switch (self->operation) {
    case 0: return conv2d_plan_execute(self->conv2d, self->input, self->output);
    case 1: return conv2d_transpose_plan_execute(self->transpose, self->input, self->output);
    default: return upsample2d_plan_execute(self->upsample, self->input, self->output);
    }
}

int native_result(void *prepared) { return prepared == NULL; }

void native_destroy(void *prepared) {
    struct prepared *self = prepared;
    conv2d_plan_destroy(self->conv2d);
    conv2d_transpose_plan_destroy(self->transpose);
    upsample2d_plan_destroy(self->upsample);
    free(self);
}

const char *native_note(void *prepared) {
    (void)prepared;
    return convolution_isa();
}
