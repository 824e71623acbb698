"""Run the given stages, or all of them, in one process.

The extra stage `int8` ships the plain int8 file, whatever `compress` would choose.
"""

import sys
from importlib import import_module

package, *stages = sys.argv[1:]
cli = import_module(f"{package}.cli")
for stage in stages or cli.STAGES:
    if stage == "int8":
        shipped = import_module(f"{package}.artifacts").SHIPPED
        import_module(f"{package}.pipeline.quantize").int8_minmax(shipped)
    else:
        cli.run(stage)
