/*
 * 02 - Keras UpSampling2D: every element becomes a block. Size (2,2) of 5 * identity, size (3,1) of a 2x3 image.
 *
 * The document stops at Keras's default, interpolation="nearest". The last result is what Keras 3 gives for "bilinear".
 */
#include <convolution.h>

#include "check.h"

int main(void)
{
    check_begin("02-keras-upsampling2d", "nearest enlargement by whole factors");

    float diagonal[5][5] = {{0}}, twice[10 * 10];
    for (int i = 0; i < 5; i++)
        diagonal[i][i] = 5;
    static const double document_twice[] = {
        5, 5, 0, 0, 0, 0, 0, 0, 0, 0,
        5, 5, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 5, 5, 0, 0, 0, 0, 0, 0,
        0, 0, 5, 5, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 5, 5, 0, 0, 0, 0,
        0, 0, 0, 0, 5, 5, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 5, 5, 0, 0,
        0, 0, 0, 0, 0, 0, 5, 5, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 5, 5,
        0, 0, 0, 0, 0, 0, 0, 0, 5, 5,
    };
    upsample2d_params layer = {
        .struct_size = sizeof layer, .batch = 1, .height = 5, .width = 5, .channels = 1, .factor_height = 2, .factor_width = 2,
    };
    check_status(upsample2d(&layer, diagonal, twice));
    check("UpSampling2D((2,2))", EXACT, 10, 10, twice, document_twice);

    static const float counting[] = {1, 2, 3, 4, 5, 6};
    static const double document_tall[] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6};
    float tall[6 * 3];
    upsample2d_params tall_layer = {
        .struct_size = sizeof tall_layer, .batch = 1, .height = 2, .width = 3, .channels = 1, .factor_height = 3,
        .factor_width = 1,
    };
    int64_t shape[4];
    check_status(upsample2d_output_shape(&tall_layer, shape));
    check_shape("UpSampling2D((3,1)): output shape", shape, (double[]){1, 6, 3, 1});
    check_status(upsample2d(&tall_layer, counting, tall));
    check("UpSampling2D((3,1))", EXACT, 6, 3, tall, document_tall);

    static const double keras_bilinear[] = {
        1, 1.25, 1.75, 2.25, 2.75, 3, 1.75, 2, 2.5, 3, 3.5, 3.75, 3.25, 3.5, 4, 4.5, 5, 5.25, 4, 4.25, 4.75, 5.25, 5.75, 6,
    };
    float smooth[4 * 6];
    upsample2d_params smooth_layer = tall_layer;
    smooth_layer.factor_height = smooth_layer.factor_width = 2;
    smooth_layer.interpolation = UPSAMPLE2D_BILINEAR;
    check_status(upsample2d(&smooth_layer, counting, smooth));
    check_against("Keras", "UpSampling2D((2,2), interpolation=bilinear)", RELATIVE, 4, 6, smooth, keras_bilinear);
    return check_end();
}
