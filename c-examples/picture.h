/*
 * picture.h - PNG files as arrays [height][width][red, green, blue] of float from 0 to 1, for the programs whose names end in
 * -picture. Needs libpng.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>

/* Zeros; ends the program if there is no memory. */
static inline void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        perror("allocate");
        exit(1);
    }
    return memory;
}

static inline void png_check(int good, const png_image *png, const char *path)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", path, png->message);
        exit(1);
    }
}

/* Reads a file, or ends the program. */
static inline float *picture_read(const char *path, int *height, int *width)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    png_check(png_image_begin_read_from_file(&png, path), &png, path);
    png.format = PNG_FORMAT_RGB;
    size_t count = PNG_IMAGE_SIZE(png);
    png_byte *bytes = allocate(count, 1);
    float *colours = allocate(count, sizeof *colours);
    png_check(png_image_finish_read(&png, NULL, bytes, 0, NULL), &png, path);
    for (size_t i = 0; i < count; i++)
        colours[i] = bytes[i] / 255.0f;
    free(bytes);
    *height = (int)png.height;
    *width = (int)png.width;
    return colours;
}

/* Writes directory/name, or ends the program. Values outside 0 to 1 are cut off. */
static inline void picture_write(const char *directory, const char *name, const float *colours, int height, int width)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    png_image png = {.version = PNG_IMAGE_VERSION, .height = (png_uint_32)height, .width = (png_uint_32)width};
    png.format = PNG_FORMAT_RGB;
    size_t count = PNG_IMAGE_SIZE(png);
    png_byte *bytes = allocate(count, 1);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (png_byte)lrintf(255 * fminf(fmaxf(colours[i], 0), 1));
    png_check(png_image_write_to_file(&png, path, 0, bytes, 0, NULL), &png, path);
    printf("\n  wrote %s, %d x %d\n", path, width, height);
    free(bytes);
}

#endif
