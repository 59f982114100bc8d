"""`python -m raycons.cli` is `raycons`."""

from raycons.cli.main import main

main()
