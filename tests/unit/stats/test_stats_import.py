"""Importing the statistics costs numpy alone."""

import subprocess
import sys


def test_scipy_is_not_imported_before_it_is_needed():
    code = "import sys, neonblue_lab.stats; print([name for name in sys.modules if name.split('.')[0] == 'scipy'])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
