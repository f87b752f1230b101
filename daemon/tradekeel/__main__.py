"""``python -m tradekeel`` is the command line."""

import sys

from tradekeel.cli import main

sys.exit(main())
