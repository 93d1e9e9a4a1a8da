"""The command `launcher`, also as `python -m launcher`."""

import signal


def main() -> None:
    """Run the command line; until it has begun, Ctrl-C ends it without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not deaf to it, as behind nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from launcher.cli import main as run  # noqa: PLC0415  what is imported may take a while

    run()


if __name__ == "__main__":
    main()
