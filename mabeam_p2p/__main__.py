"""`python -m mabeam_p2p`: the same command line as `mabeam`."""

from mabeam_p2p.cli import main

if __name__ == "__main__":
    main()
