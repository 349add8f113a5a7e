"""Contexts of canopy in gdb: commands and pretty printers, in live processes and in cores."""
from canopy_gdb import commands, printers, process

_is_registered = False


def register():
    """Once, whoever asks: each copy of the library in a process does."""
    global _is_registered
    if not _is_registered:
        _is_registered = True
        process.register()
        commands.register()
        printers.register()
