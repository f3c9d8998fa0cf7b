"""The model folders of tests/golden, for scripts that compare what `transformers` makes of them."""
import os
import subprocess
import sys

import transformers

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")


def make_folders(scratch):
    """Makes them anew below a folder; returns where they are."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folders = os.path.join(scratch, "folders")
    subprocess.run([sys.executable, os.path.join(GOLDEN, "make_folder.py"), GOLDEN, folders],
                   check=True)
    return folders
