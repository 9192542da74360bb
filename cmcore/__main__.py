"""`python -m cmcore` is the command `cmcore`."""

from cmcore.cli import main

if __name__ == "__main__":
    main()
