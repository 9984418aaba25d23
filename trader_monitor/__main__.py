"""`python -m trader_monitor`: the same as the command `trader-monitor`."""

import sys

from trader_monitor.cli import main

sys.exit(main())
