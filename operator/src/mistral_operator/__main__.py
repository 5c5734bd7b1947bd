"""`mistral-operator` and `python -m mistral_operator`."""

from mistral_operator.cli import main

if __name__ == "__main__":
    main()
