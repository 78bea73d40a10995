"""`python -m scripts.audit`."""

import sys

from scripts.audit import main

sys.exit(main())
