"""`python -m mabeam_p2p`, and `mabeam`: the same command line."""

import gc


def run() -> None:
    """What is imported stays until the end. To look through it for garbage while it comes, and once
    more when the process ends, would be two fifths of what a short command costs."""
    gc.disable()
    from mabeam_p2p.cli import main

    gc.freeze()
    gc.enable()
    main()


if __name__ == "__main__":
    run()
