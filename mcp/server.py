"""What an MCP client's configuration starts: `neonblue serve` from this checkout. Options: --home DIR, --http HOST:PORT."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)
sys.argv.insert(1, "serve")

from neonblue_lab.cli import main  # noqa: E402

main()
