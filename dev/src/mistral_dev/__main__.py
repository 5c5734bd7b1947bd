"""Entry point of `python -m mistral_dev`."""

from mistral_dev.cli import main

if __name__ == "__main__":
    main(prog_name="python -m mistral_dev")
