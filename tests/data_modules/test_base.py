import subprocess
import sys


def test_nothing_calls_home_when_albumentations_is_imported():
    says = "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1' and 'albumentations' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"import os, sys, data_modules; {says}"], check=True)
