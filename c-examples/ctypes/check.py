"""What the example scripts share: results printed beside those of the document they come from, and the verdict.

If the environment variable CONVOLUTION_REPORT names a file, each result becomes a line "example<TAB>result<TAB>largest deviation
<TAB>limit<TAB>ok|FAIL" at its end, as c-examples/check.h writes them."""

import os
import sys
from pathlib import Path

import numpy as np

EXACT = 0.0  # whole numbers: every partial sum is exact, so nothing may differ
RELATIVE = 1e-6  # printed float32 results have 7 to 9 digits

_verdicts = []


def check(result, ours, document, limit=EXACT):
    """Prints ours and the document's numbers. The deviation is relative to the largest number of the document's array, whose
    rounding the smaller ones share."""
    ours, document = np.asarray(ours), np.asarray(document)
    deviation = np.inf
    if ours.shape == document.shape:
        scale = np.abs(document).max(initial=0) or 1
        deviation = float(np.abs(ours.astype(float) - document).max(initial=0) / scale)
    verdict = "ok" if deviation <= limit else "FAIL"  # NaN fails
    _verdicts.append(verdict)
    print(f"\n{result}: deviation {deviation:.1e}, limit {limit:.0e}: {verdict}")
    print("  ours     ", str(ours).replace("\n", "\n" + " " * 12))
    print("  document ", str(document).replace("\n", "\n" + " " * 12))
    if report := os.environ.get("CONVOLUTION_REPORT"):
        with open(report, "a") as file:
            file.write(f"ctypes/{Path(sys.argv[0]).stem}\t{result}\t{deviation:.1e}\t{limit:.0e}\t{verdict}\n")


def finish():
    """Ends the script: status 1 if a result was beyond its limit, or if there was none."""
    print(f"\n{Path(sys.argv[0]).stem}: {len(_verdicts)} results, {_verdicts.count('FAIL')} beyond the limit\n")
    sys.exit("FAIL" in _verdicts or not _verdicts)
