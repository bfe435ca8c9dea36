/*
 * plot.h - curves and short texts in a picture as picture.h has it, for the examples that show how something falls with the
 * steps.
 */
#ifndef PLOT_H
#define PLOT_H

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PLOT_TEXT 2 /* size of a dot of a letter, in pixels; a letter is 3 x 5 dots and one of space */

static const float plot_black[3] = {0, 0, 0}, plot_grey[3] = {0.86f, 0.86f, 0.86f}, plot_red[3] = {0.83f, 0.15f, 0.12f},
                   plot_blue[3] = {0.12f, 0.38f, 0.75f}, plot_green[3] = {0.1f, 0.55f, 0.25f};

/* A rectangle of a picture `width` pixels wide: from (left, top) on, columns x rows. Axes are logarithmic if their log_ is 1. */
typedef struct plot {
    float *picture;
    int width, left, top, columns, rows, log_x, log_y;
    double x_low, x_high, y_low, y_high;
} plot;

static inline void plot_dot(float *picture, int width, int x, int y, int size, const float colour[3])
{
    for (int i = 0; i < size * size * 3; i++)
        picture[((y + i / 3 / size) * width + x + i / 3 % size) * 3 + i % 3] = colour[i % 3];
}

/* Digits, capitals and . - + / = % ( ) : , each as five rows of three dots, one octal digit a row. */
static inline void plot_text(float *picture, int width, int x, int y, const char *text, const float colour[3])
{
    static const char *const digits[] = {"75557", "26227", "71747", "71717", "55711",
                                         "74717", "74757", "71122", "75757", "75717"};
    static const char *const letters[] = {
        "25755", "65656", "34443", "65556", "74647", "74644", "34553", "55755", "72227", "11152", "55655", "44447", "57755",
        "57775", "25552", "65644", "25573", "65655", "34216", "72222", "55557", "55552", "55775", "55255", "55222", "71247"};
    static const char others[] = ".-+/=%():,";
    static const char *const marks[] = {"00002", "00700", "02720", "11244", "07070", "51245", "24442", "21112", "02020", "00024"};
    for (; *text; text++, x += 4 * PLOT_TEXT) {
        const char *place = strchr(others, *text);
        const char *rows = isdigit((unsigned char)*text)   ? digits[*text - '0']
                           : isalpha((unsigned char)*text) ? letters[toupper((unsigned char)*text) - 'A']
                           : place                         ? marks[place - others]
                                                           : "00000";
        for (int i = 0; i < 15; i++)
            if ((rows[i / 3] - '0') >> (2 - i % 3) & 1)
                plot_dot(picture, width, x + i % 3 * PLOT_TEXT, y + i / 3 * PLOT_TEXT, PLOT_TEXT, colour);
    }
}

static inline double plot_scale(double value, double low, double high, int logarithmic)
{
    return logarithmic ? log(value / low) / log(high / low) : (value - low) / (high - low);
}

static inline void plot_segment(const plot *p, double x0, double y0, double x1, double y1, int size, const float colour[3])
{
    int steps = 1 + (int)fmax(fabs(x1 - x0), fabs(y1 - y0));
    for (int i = 0; i <= steps; i++) {
        double x = x0 + (x1 - x0) * i / steps, y = y0 + (y1 - y0) * i / steps;
        if (x >= p->left && x <= p->left + p->columns && y >= p->top && y <= p->top + p->rows)
            plot_dot(p->picture, p->width, (int)lrint(x), (int)lrint(y), size, colour);
    }
}

/* Places of a value on the axes. */
static inline double plot_x(const plot *p, double x)
{
    return p->left + p->columns * plot_scale(x, p->x_low, p->x_high, p->log_x);
}

static inline double plot_y(const plot *p, double y)
{
    return p->top + p->rows * (1 - plot_scale(y, p->y_low, p->y_high, p->log_y));
}

/* The frame, a title, a name for the horizontal axis, and lines with their numbers at these values. */
static inline void plot_frame(const plot *p, const char *title, const char *name, int x_marks, const double *xs, int y_marks,
                              const double *ys)
{
    char number[24];
    for (int i = 0; i < x_marks; i++) {
        double x = plot_x(p, xs[i]);
        int length = snprintf(number, sizeof number, "%g", xs[i]);
        plot_segment(p, x, p->top, x, p->top + p->rows, 1, plot_grey);
        plot_text(p->picture, p->width, (int)x - length * 2 * PLOT_TEXT, p->top + p->rows + 8, number, plot_black);
    }
    for (int i = 0; i < y_marks; i++) {
        double y = plot_y(p, ys[i]);
        int length = snprintf(number, sizeof number, "%g", ys[i]);
        plot_segment(p, p->left, y, p->left + p->columns, y, 1, plot_grey);
        plot_text(p->picture, p->width, p->left - 8 - length * 4 * PLOT_TEXT, (int)y - 2 * PLOT_TEXT, number, plot_black);
    }
    double right = p->left + p->columns, bottom = p->top + p->rows;
    plot_segment(p, p->left, p->top, p->left, bottom, 1, plot_black);
    plot_segment(p, right, p->top, right, bottom, 1, plot_black);
    plot_segment(p, p->left, p->top, right, p->top, 1, plot_black);
    plot_segment(p, p->left, bottom, right, bottom, 1, plot_black);
    plot_text(p->picture, p->width, p->left, p->top - 9 * PLOT_TEXT, title, plot_black);
    int start = (int)right - (int)strlen(name) * 4 * PLOT_TEXT;
    plot_text(p->picture, p->width, start, (int)bottom + 12 * PLOT_TEXT, name, plot_black);
}

/* values[0 ... count-1] at x = first, first + 1, ... , and a text in the same colour on line `line` of the legend. */
static inline void plot_curve(const plot *p, int count, int first, const double *values, const float colour[3], int line,
                              const char *legend)
{
    for (int i = 1; i < count; i++)
        plot_segment(p, plot_x(p, first + i - 1), plot_y(p, values[i - 1]), plot_x(p, first + i), plot_y(p, values[i]), 2,
                     colour);
    plot_text(p->picture, p->width, p->left + 16, p->top + p->rows - 16 - line * 8 * PLOT_TEXT, legend, colour);
}

#endif
