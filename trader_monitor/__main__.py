"""`python -m trader_monitor`: the same as the command `trader-monitor`."""

import sys

from trader_monitor.cli import main

if __name__ == "__main__":
    sys.exit(main())
