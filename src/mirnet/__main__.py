"""`python -m mirnet` is the command line."""

from mirnet.cli.main import main

if __name__ == "__main__":
    main()
