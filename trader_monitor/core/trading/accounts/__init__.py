"""Accounts as bots report them: equity, returns, performance, risk, exposure and limits."""
