"""`python -m pipeline` is the command `webperson`."""

from pipeline.cli import main

main()
