"""The entry point ``mistral-server``, also as ``python -m mistral_server``."""

from mistral_server.cli import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="mistral-server")


if __name__ == "__main__":
    main()
