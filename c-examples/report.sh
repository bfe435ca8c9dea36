#!/bin/sh
# Prints the file that the examples append to (check.h, CONVOLUTION_REPORT) as a table. Exit status 1 if a result is beyond
# its limit, or if there are no results: a report of nothing must not pass for a good one.
# usage: report.sh FILE
if [ $# -ne 1 ] || [ ! -r "$1" ]; then
    echo "usage: report.sh FILE (written by the examples under CONVOLUTION_REPORT=FILE)" >&2
    exit 1
fi
awk -F '\t' '
    { for (i = 1; i <= 5; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    NF != 5 || $5 != "ok" { failed++ }
    END {
        split("example,result,deviation,limit,verdict", title, ",")
        for (i = 1; i <= 5; i++) if (length(title[i]) > width[i]) width[i] = length(title[i])
        format = sprintf("%%-%ds  %%-%ds  %%%ds  %%%ds  %%s\n", width[1], width[2], width[3], width[4])
        printf format, title[1], title[2], title[3], title[4], title[5]
        for (n = 1; n <= NR; n++) printf format, cell[n, 1], cell[n, 2], cell[n, 3], cell[n, 4], cell[n, 5]
        printf "%d results, %d beyond the limit\n", NR, failed
        exit (NR == 0 || failed > 0)
    }' "$1"
