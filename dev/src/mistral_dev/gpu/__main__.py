"""Entry point of `python -m mistral_dev.gpu`, for machines that lack what other tools need."""

from mistral_dev.gpu.cli import gpu

if __name__ == "__main__":
    gpu(prog_name="python -m mistral_dev.gpu")
