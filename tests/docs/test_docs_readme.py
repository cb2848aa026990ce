"""What the README quotes is what the program prints."""

import re

from console import ROOT

from sweeper.report import report


def test_the_report_of_the_stored_sweep_is_quoted_as_it_is():
    quoted = re.search(r"`sweep report results/` prints:\n\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert quoted
    assert quoted[1] in report(str(ROOT / "results"))
