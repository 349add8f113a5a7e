"""
Contexts of canopy in gdb: `source` this, or let gdb load it beside the library (auto-load).
Then: help canopy.
"""
import os
import sys

_here = os.path.dirname(os.path.realpath(__file__))
_writes = sys.dont_write_bytecode
if _here not in sys.path:
    sys.path.insert(0, _here)
sys.dont_write_bytecode = True  # gdb of root's would leave files in the system's directories
import canopy_gdb  # noqa: E402

sys.dont_write_bytecode = _writes
canopy_gdb.register()
