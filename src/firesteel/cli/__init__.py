"""The `firesteel` command. Heavy modules are imported by the command that needs them, not here."""


def main() -> None:
    """Run the command line."""
    from firesteel.cli.app import app

    app()
