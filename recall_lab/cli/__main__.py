"""``python -m recall_lab.cli``."""

import sys

from recall_lab.cli import main

sys.exit(main())
