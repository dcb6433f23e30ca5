"""`python -m mirnet` is the command line."""

from mirnet.apps.cli import main

if __name__ == "__main__":
    main()
