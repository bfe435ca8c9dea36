/*
 * The header alone, first in the file and with nothing before it: valid C99 and C++17 to the pedantic, and every function it
 * declares can be linked.
 */
#include "convolution.h"

#include <stdio.h>

typedef void (*function)(void);

static const function functions[] = {
    (function)convolution_version,
    (function)convolution_status_name,
    (function)convolution_error_message,
    (function)convolution_constant,
    (function)convolution_isa,
    (function)convolution_isa_name,
    (function)convolution_isa_supported,

    (function)conv2d_params_size,
    (function)conv2d_output_shape,
    (function)conv2d,
    (function)conv2d_plan_create,
    (function)conv2d_plan_execute,
    (function)conv2d_plan_destroy,
    (function)conv2d_workspace_size,
    (function)conv2d_matrix_size,
    (function)conv2d_matrix,
    (function)conv2d_matrix_csr,
    (function)conv2d_backward_input,
    (function)conv2d_backward_kernel,
    (function)conv2d_backward_bias,
    (function)conv2d_backward_input_plan_create,
    (function)conv2d_backward_input_plan_execute,
    (function)conv2d_backward_input_plan_destroy,
    (function)conv2d_backward_kernel_plan_create,
    (function)conv2d_backward_kernel_plan_execute,
    (function)conv2d_backward_kernel_plan_destroy,
    (function)conv2d_gram,
    (function)conv2d_adjoint_test,
    (function)conv2d_solve_params_size,
    (function)conv2d_solve_result_size,
    (function)conv2d_solve,
    (function)conv2d_rank_size,
    (function)conv2d_rank_report,

    (function)conv2d_transpose_params_size,
    (function)conv2d_transpose_output_shape,
    (function)conv2d_transpose,
    (function)conv2d_transpose_plan_create,
    (function)conv2d_transpose_plan_execute,
    (function)conv2d_transpose_plan_destroy,
    (function)conv2d_transpose_workspace_size,
    (function)conv2d_transpose_backward_input,
    (function)conv2d_transpose_backward_kernel,
    (function)conv2d_transpose_backward_bias,
    (function)conv2d_transpose_backward_input_plan_create,
    (function)conv2d_transpose_backward_input_plan_execute,
    (function)conv2d_transpose_backward_input_plan_destroy,
    (function)conv2d_transpose_backward_kernel_plan_create,
    (function)conv2d_transpose_backward_kernel_plan_execute,
    (function)conv2d_transpose_backward_kernel_plan_destroy,
    (function)conv2d_transpose_matrix_size,
    (function)conv2d_transpose_matrix,
    (function)conv2d_transpose_matrix_csr,
    (function)conv2d_transpose_gram,
    (function)conv2d_transpose_adjoint_test,
    (function)conv2d_transpose_overlap,

    (function)upsample2d_params_size,
    (function)upsample2d_output_shape,
    (function)upsample2d,
    (function)upsample2d_plan_create,
    (function)upsample2d_plan_execute,
    (function)upsample2d_plan_destroy,
    (function)upsample2d_backward,
    (function)upsample2d_backward_plan_create,
    (function)upsample2d_backward_plan_execute,
    (function)upsample2d_backward_plan_destroy,
    (function)upsample2d_matrix_size,
    (function)upsample2d_matrix,
    (function)upsample2d_matrix_csr,
    (function)upsample2d_gram,
    (function)upsample2d_adjoint_test,

    (function)upsample2d_conv2d_output_shape,
    (function)upsample2d_conv2d,
    (function)upsample2d_conv2d_plan_create,
    (function)upsample2d_conv2d_plan_execute,
    (function)upsample2d_conv2d_plan_destroy,
    (function)upsample2d_conv2d_workspace_size,
};

int main(void) {
    int passed = 0, failed = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) *(functions[i] ? &passed : &failed) += 1;

    /* Compiled by this compiler, in this language, the structs are those of the library. */
    *(conv2d_params_size() == sizeof(conv2d_params) ? &passed : &failed) += 1;
    *(conv2d_transpose_params_size() == sizeof(conv2d_transpose_params) ? &passed : &failed) += 1;
    *(upsample2d_params_size() == sizeof(upsample2d_params) ? &passed : &failed) += 1;
    *(conv2d_solve_params_size() == sizeof(conv2d_solve_params) ? &passed : &failed) += 1;
    *(conv2d_solve_result_size() == sizeof(conv2d_solve_result) ? &passed : &failed) += 1;
    *(conv2d_rank_size() == sizeof(conv2d_rank) ? &passed : &failed) += 1;
    *(convolution_version() == CONVOLUTION_VERSION ? &passed : &failed) += 1;
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
