"""`python -m conda_concept`: the same as the console script."""

from conda_concept.cli import main

main()
