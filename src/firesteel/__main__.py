"""`python -m firesteel` is the `firesteel` command."""

from firesteel.cli import main

main()
