"""`python -m fasthop` is `fasthop`."""

import sys

from fasthop.cli import main

sys.exit(main())
