"""What an MCP client's configuration starts: `neonblue serve` from this checkout. Options: --home DIR, --http HOST:PORT."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The checkout in the place of this folder, so that the package is found whether or not it is installed.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from neonblue_lab.cli import main

    sys.argv.insert(1, "serve")
    main()
