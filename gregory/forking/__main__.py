"""`python -m gregory.forking MODULE ...`: a server whose socket is its standard input."""

from gregory.forking.server import main

if __name__ == "__main__":
    main()
