"""Walk the stages that are named, or the whole road, in one process."""

import sys
from importlib import import_module

package, *stages = sys.argv[1:]
cli = import_module(f"{package}.cli")
for stage in stages or cli.ROAD:
    cli.run(stage)
