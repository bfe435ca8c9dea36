#!/bin/sh
# Runs every test and ends with "N passed, N failed", the sum over both runners. `make test` calls it when all is built.
cd "$(dirname "$0")/.." || exit 1
rm -f build/swift*.xml build/pytest.xml
echo "== Swift tests (swift-testing)"
swift test --xunit-output build/swift.xml
echo "== C interface, examples, fixtures, properties (pytest)"
# A process per processor, each with whole files: what a file prepares for its tests is prepared once.
build/venv/bin/python -m pytest -q -n logical --dist loadfile --durations=5 --junit-xml build/pytest.xml Tests/python
# A runner that died has written no report, which counts as one failure.
exec build/venv/bin/python - <<'END'
import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for path in ("build/swift-swift-testing.xml", "build/pytest.xml"):
    try:
        cases = list(tree.parse(path).iter("testcase"))
    except (OSError, tree.ParseError) as error:
        print(f"no report: {error}")
        cases = []
    if not cases:
        failed += 1
    for case in cases:
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(failed > 0)
END
