/*
 * 06 - Convolution as a matrix C (4x16), dense and sparse: C x is the convolution, C' x2 the transposed convolution.
 *
 * The document builds C by hand and multiplies. The vector x2 is missing from its text, but the printed result C' x2 leaves
 * only [2, 3, 4, 3]: each of its corners is one element of x2 times one element of the kernel.
 */
#include <convolution.h>

#include "check.h"

int main(void)
{
    check_begin("06-convolution-matrix", "dense, sparse, and transposed");
    static const float image[16] = {3, 3, 3, 6, 7, 4, 3, 2, 7, 2, 8, 5, 1, 7, 3, 1}, kernel[9] = {1, 2, 4, 1, 1, 3, 1, 2, 4};
    static const float x2[4] = {2, 3, 4, 3};
    static const double document_forward[4] = {84, 84, 87, 60};
    static const double document_backward[16] = {2, 7, 14, 12, 6, 16, 31, 21, 6, 14, 29, 21, 4, 11, 22, 12};
    static const double document_c[4 * 16] = {
        1, 2, 4, 0, 1, 1, 3, 0, 1, 2, 4, 0, 0, 0, 0, 0,
        0, 1, 2, 4, 0, 1, 1, 3, 0, 1, 2, 4, 0, 0, 0, 0,
        0, 0, 0, 0, 1, 2, 4, 0, 1, 1, 3, 0, 1, 2, 4, 0,
        0, 0, 0, 0, 0, 1, 2, 4, 0, 1, 1, 3, 0, 1, 2, 4,
    };
    conv2d_params layer = {
        .struct_size = sizeof layer, .batch = 1, .height = 4, .width = 4, .in_channels = 1, .out_channels = 1, .kernel_height = 3,
        .kernel_width = 3,
    };

    float direct[4], dense[4 * 16], forward[4] = {0}, backward[16] = {0};
    check_status(conv2d(&layer, image, kernel, NULL, direct));
    check("conv2d", EXACT, 2, 2, direct, document_forward);
    check_status(conv2d_matrix(&layer, kernel, dense, 4 * 16));
    check("C, dense", EXACT, 4, 16, dense, document_c);
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 16; c++) {
            forward[r] += dense[16 * r + c] * image[c];
            backward[c] += dense[16 * r + c] * x2[r];
        }
    check("C x", EXACT, 4, 1, forward, document_forward);
    check("C' x2", EXACT, 4, 4, backward, document_backward);

    /* The same in compressed sparse rows. The size query tells how much memory they need: here 9 of the 16 columns a row. */
    int64_t rows, columns, nonzeros, row_offsets[5], column_indices[36];
    float values[36], sparse_forward[4] = {0}, sparse_backward[16] = {0}, expanded[4 * 16] = {0};
    check_status(conv2d_matrix_size(&layer, &rows, &columns, &nonzeros));
    check("rows, columns, stored entries", EXACT, 1, 3, (float[]){(float)rows, (float)columns, (float)nonzeros},
          (double[]){4, 16, 36});
    check_status(conv2d_matrix_csr(&layer, kernel, row_offsets, column_indices, values, nonzeros));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = row_offsets[r]; j < row_offsets[r + 1]; j++) {
            expanded[columns * r + column_indices[j]] = values[j];
            sparse_forward[r] += values[j] * image[column_indices[j]];
            sparse_backward[column_indices[j]] += values[j] * x2[r];
        }
    check("C, sparse, expanded", EXACT, 4, 16, expanded, document_c);
    check("C x, sparse", EXACT, 4, 1, sparse_forward, document_forward);
    check("C' x2, sparse", EXACT, 4, 4, sparse_backward, document_backward);

    conv2d_transpose_params transpose = {
        .struct_size = sizeof transpose, .batch = 1, .height = 2, .width = 2, .in_channels = 1, .out_channels = 1,
        .kernel_height = 3, .kernel_width = 3,
    };
    float adjoint[16];
    check_status(conv2d_transpose(&transpose, x2, kernel, NULL, adjoint));
    check("conv2d_transpose = C' x2", EXACT, 4, 4, adjoint, document_backward);
    return check_end();
}
