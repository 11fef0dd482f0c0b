"""The entry point of `onysoft`. A process of the gateway starts without loading what only the CLI needs."""

import sys

PROCESSES = ("edge", "core", "projections", "analytics", "sandbox", "console")


def main() -> int:
    """Run the command line's words; the exit code."""
    words = sys.argv[1:]
    if words and words[0] in PROCESSES and not {"migrate", "access"} & set(words):
        from cli.processes import start

        return start(words[0], words[1:])
    from cli.app import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
