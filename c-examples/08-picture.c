/*
 * 08 - A photograph: sharpened, enlarged, through ConvTranspose2d with four 2x2 filters, and its edges. Writes PNG files.
 *
 *     08-picture [input.png [output-directory]]
 *
 * The library puts most pictures in their places on the contact sheet by itself, through output_strides. The document's own
 * filters are random and look alike, so these are others; and it makes channels x height x width of height x width x channels
 * by a reshape, which scrambles the picture: here data_format says how an array lies in memory. Checked against plain loops.
 */
#include <convolution.h>

#include "check.h"
#include "picture.h"

enum { GAP = 8 }; /* between the pictures of the sheet: room for the extra line and column of ConvTranspose2d */

int main(int argc, char **argv)
{
    check_begin("08-picture", "a photograph through all three functions");
    const char *directory = argc > 2 ? argv[2] : ".";
    int h, w;
    float *photo = picture_read(argc > 1 ? argv[1] : "images/astronaut.png", &h, &w);

    /* The sheet: 3 lines of 4 pictures on white. Distances in elements: `step` between pictures, `row` between pixel rows. */
    const int step = (w + GAP) * 3, row = 4 * step + GAP * 3, rows = 3 * (h + GAP) + GAP, place = (h + 1) * (w + 1);
    float *sheet = allocate((size_t)rows * row, sizeof *sheet), *result = allocate((size_t)place * 12, sizeof *result);
    double *expected = allocate((size_t)place * 12, sizeof *expected);
    for (int i = 0; i < rows * row; i++)
        sheet[i] = 1;
    float *line_1 = sheet + GAP * (row + 3), *line_2 = line_1 + (h + GAP) * row, *line_3 = line_2 + (h + GAP) * row;

    /* Line 1: the photograph; sharpened by 1.5 times what a blur takes away; its upper middle, enlarged in two ways. */
    upsample2d_params enlarge = {.struct_size = sizeof enlarge, .batch = 1, .height = h, .width = w, .channels = 3,
                                 .factor_height = 1, .factor_width = 1, .output_strides = {0, row}};
    check_status(upsample2d(&enlarge, photo, line_1));
    float sharpen[3][3][3], sobel[3][3][6]; /* one filter for each colour, and two: across, down */
    for (int i = 0; i < 27; i++) {
        int a = i / 9, b = i / 3 % 3, c = i % 3, smooth_a = 2 - abs(a - 1), smooth_b = 2 - abs(b - 1);
        sharpen[a][b][c] = (i / 3 == 4 ? 2.5f : 0) - 1.5f * smooth_a * smooth_b / 16;
        sobel[a][b][2 * c] = (float)((b - 1) * smooth_a);
        sobel[a][b][2 * c + 1] = (float)((a - 1) * smooth_b);
    }
    conv2d_params filter = {
        .struct_size = sizeof filter, .batch = 1, .height = h, .width = w, .in_channels = 3, .depth_multiplier = 1,
        .kernel_height = 3, .kernel_width = 3, .padding = CONVOLUTION_PADDING_SAME,
        .padding_mode = CONVOLUTION_PADDING_MODE_REPLICATE, .output_strides = {0, row}};
    check_status(conv2d(&filter, photo, sharpen, NULL, line_1 + step));
    enlarge.factor_height = enlarge.factor_width = 2;
    for (int bilinear = 0; bilinear < 2; bilinear++) {
        enlarge.interpolation = bilinear ? UPSAMPLE2D_BILINEAR : UPSAMPLE2D_NEAREST;
        upsample2d_params part = enlarge, whole = enlarge;
        part.height /= 2;
        part.width /= 2;
        part.input_strides[1] = w * 3;
        check_status(upsample2d(&part, photo + w / 4 * 3, line_1 + (2 + bilinear) * step));
        whole.output_strides[1] = 0;
        check_status(upsample2d(&whole, photo, result));
        picture_write(directory, bilinear ? "bilinear-x2.png" : "nearest-x2.png", result, h * 2, w * 2);
        if (bilinear)
            continue;
        for (int i = 0; i < h * w * 12; i++) /* a line has 6w elements: 3 colours of 2w pixels */
            expected[i] = (double)photo[(i / (6 * w) / 2 * w + i / 3 % (2 * w) / 2) * 3 + i % 3];
        check_against("loops", "upsample2d by 2, nearest", EXACT, h * 2, w * 6, result, expected);
    }

    /* Line 2: torch.nn.ConvTranspose2d(1, 4, 2) of the grey picture: mean, edges across, edges down, diagonal edges. */
    static const float luma[3] = {0.299f, 0.587f, 0.114f}, bias[4] = {0, 0.5f, 0.5f, 0.5f};
    static const float filters[4][4] = {{0.25f, 0.25f, 0.25f, 0.25f}, {1, -1, 1, -1}, {1, 1, -1, -1}, {2, 0, 0, -2}};
    float *grey = allocate((size_t)h * w, sizeof *grey);
    conv2d_params weigh = {.struct_size = sizeof weigh, .batch = 1, .height = h, .width = w, .in_channels = 3, .out_channels = 1,
                           .kernel_height = 1, .kernel_width = 1};
    check_status(conv2d(&weigh, photo, luma, NULL, grey));
    conv2d_transpose_params four = {
        .struct_size = sizeof four, .batch = 1, .height = h, .width = w, .in_channels = 1, .out_channels = 4, .kernel_height = 2,
        .kernel_width = 2, .data_format = CONVOLUTION_NCHW, .kernel_format = CONVOLUTION_KERNEL_TORCH,
        .rule = CONV2D_TRANSPOSE_RULE_TORCH, .output_strides = {0, step, row, 3}};
    int64_t shape[4];
    check_status(conv2d_transpose_output_shape(&four, shape));
    check_shape("ConvTranspose2d(1, 4, 2): output shape", shape, (double[]){1, 4, h + 1, w + 1});
    for (int colour = 0; colour < 3; colour++)
        check_status(conv2d_transpose(&four, grey, filters, bias, line_2 + colour));
    for (int i = 0; i < 4 * place; i++) {
        int f = i / place, y = i / (w + 1) % (h + 1), x = i % (w + 1);
        result[i] = line_2[y * row + x * 3 + f * step];
        expected[i] = (double)bias[f];
        for (int k = 0; k < 4; k++) {
            int from_y = y - k / 2, from_x = x - k % 2;
            if (from_y >= 0 && from_y < h && from_x >= 0 && from_x < w)
                expected[i] += (double)grey[from_y * w + from_x] * (double)filters[f][k];
        }
    }
    check_against("loops", "ConvTranspose2d(1, 4, 2) of the photograph", RELATIVE, 4 * (h + 1), w + 1, result, expected);

    /* Line 3: Sobel across, down, the strength of both as a drawing, and for each colour alone. */
    filter.depth_multiplier = 2;
    filter.output_strides[1] = 0;
    check_status(conv2d(&filter, photo, sobel, NULL, result));
    for (int i = 0; i < h * w * 3; i++) {
        const float *e = result + i / 3 * 6, across = (e[0] + e[2] + e[4]) / 3, down = (e[1] + e[3] + e[5]) / 3;
        float *out = line_3 + i / 3 / w * row + i % (w * 3);
        out[0] = 0.5f + across / 3;
        out[step] = 0.5f + down / 3;
        out[2 * step] = 1 - hypotf(across, down) / 2;
        out[3 * step] = hypotf(e[i % 3 * 2], e[i % 3 * 2 + 1]) / 2;
    }
    picture_write(directory, "sheet.png", sheet, rows, row / 3);
    free(photo);
    free(sheet);
    free(result);
    free(expected);
    free(grey);
    return check_end();
}
