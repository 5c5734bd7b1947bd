"""Transfer vLLM and torch to a machine that has a GPU and no package index.

Not needed to contribute. ``pack`` writes the pieces with the help of ``slim``, ``fatbin`` and
``elf``. ``unpack`` puts them together on the machine, with nothing but click and Python's library.
"""
