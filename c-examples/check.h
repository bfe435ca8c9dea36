/*
 * check.h - what all examples share: results printed beside those of the document they come from, and the verdict.
 *
 * A document's arrays are written down as double, exactly as they are printed there. Each named result becomes one line
 *
 *     example <TAB> result <TAB> largest deviation <TAB> limit <TAB> ok|FAIL
 *
 * at the end of the file that the environment variable CONVOLUTION_REPORT names, if it is set.
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 0.0     /* whole numbers: every partial sum is exact in float, so nothing may differ */
#define RELATIVE 1e-6 /* printed float32 results: 7 to 9 digits                                   */

static struct {
    const char *example;
    int results, failures;
    double worst;
} check_state;

/* Names the example and prints what it shows. */
static inline void check_begin(const char *example, const char *title)
{
    check_state.example = example;
    printf("%s: %s\n", example, title);
}

/* Appends one line to the report, if there is one. */
static inline void check_report(const char *result, double deviation, double limit, int passed)
{
    const char *path = getenv("CONVOLUTION_REPORT");
    if (path == NULL || *path == '\0')
        return;
    FILE *report = fopen(path, "a");
    if (report == NULL) {
        perror(path);
        exit(1);
    }
    fprintf(report, "%s\t%s\t%.1e\t%.0e\t%s\n", check_state.example, result, deviation, limit, passed ? "ok" : "FAIL");
    fclose(report);
}

/* Ends the program, for a reason that goes into the report as well: what is missing there must not look like success. */
static inline void check_stop(const char *reason)
{
    fprintf(stderr, "%s: %s\n", check_state.example, reason);
    check_report(reason, INFINITY, EXACT, 0);
    exit(1);
}

#ifdef CONVOLUTION_H /* 09-dlopen-libffi.c does without the header */
/* The examples contain no call that may fail. */
static inline void check_status(int32_t status)
{
    if (status != CONVOLUTION_OK)
        check_stop(convolution_error_message());
}
#endif

static inline void check_print_row(const double *row, int columns, int whole, int width)
{
    for (int x = 0; x < columns; x++)
        printf("%*.*f", width, whole ? 0 : width - 4, row[x] + 0.0); /* + 0.0 turns -0 into 0 */
}

/*
 * Compares rows * columns elements with what the source has, prints both where they fit side by side, keeps the verdict.
 *
 * Deviations are relative to the largest magnitude of the whole expected array, not to each element: a float32 sum carries
 * the rounding errors of its largest terms, which cancellation leaves standing beside a small result, and NumPy prints an
 * array with the digits that its largest elements deserve. An array of zeros is compared absolutely.
 */
static inline void check_against(const char *source, const char *result, double limit, int rows, int columns,
                                 const float *ours, const double *theirs)
{
    double scale = 0, worst = 0;
    int whole = 1, width = 12, digits = 1;
    for (int i = 0; i < rows * columns; i++) {
        scale = fmax(scale, fabs(theirs[i]));
        whole = whole && theirs[i] == floor(theirs[i]) && (double)ours[i] == floor((double)ours[i]);
        int length = snprintf(NULL, 0, "%.0f", theirs[i]);
        digits = length > digits ? length : digits;
    }
    for (int i = 0; i < rows * columns; i++) {
        double deviation = fabs((double)ours[i] - theirs[i]) / (scale > 0 ? scale : 1);
        worst = fmax(worst, isnan(deviation) ? INFINITY : deviation); /* fmax alone would overlook NaN */
    }

    printf("\n  %s\n", result);
    if (whole)
        width = digits + 1;
    else if (columns > 4)
        width = 8;
    int fits = 2 * columns * width <= 120;
    for (int y = 0; fits && y < rows; y++) {
        double row[60];
        for (int x = 0; x < columns; x++)
            row[x] = (double)ours[y * columns + x];
        printf(y == 0 ? "    ours" : "        ");
        check_print_row(row, columns, whole, width);
        printf("   %*s", (int)strlen(source), y == 0 ? source : "");
        check_print_row(theirs + y * columns, columns, whole, width);
        printf("\n");
    }

    int passed = worst <= limit;
    printf("    %d elements, largest deviation %.1e, limit %.0e: %s\n", rows * columns, worst, limit, passed ? "ok" : "FAIL");
    check_state.results++;
    check_state.failures += !passed;
    check_state.worst = fmax(check_state.worst, worst);

    check_report(result, worst, limit, passed);
}

/* What a document prints. */
static inline void check(const char *result, double limit, int rows, int columns, const float *ours, const double *document)
{
    check_against("document", result, limit, rows, columns, ours, document);
}

/* The shape of a 4-D array. */
static inline void check_shape(const char *result, const int64_t ours[4], const double document[4])
{
    float shape[4];
    for (int i = 0; i < 4; i++)
        shape[i] = (float)ours[i];
    check(result, EXACT, 1, 4, shape, document);
}

/* Prints the verdict and returns the exit status of main. An example without results has failed. */
static inline int check_end(void)
{
    printf("\n%s: %d results, %d beyond the limit, largest deviation %.1e\n\n", check_state.example, check_state.results,
           check_state.failures, check_state.worst);
    return check_state.failures > 0 || check_state.results == 0;
}

#endif
