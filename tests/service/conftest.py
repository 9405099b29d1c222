"""What the tests on real servers lack is said at the end."""

import pytest

from tests.service.real_servers import INSTALL, MISSING


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A database that could not be tested must not go unnoticed."""
    if MISSING:
        names = " ".join(sorted(MISSING))
        terminalreporter.write_line(f"NOT TESTED, because not installed: {names} ({INSTALL})", red=True, bold=True)
