"""The server as a file, for `mcp dev examples/server.py` and `mcp run examples/server.py`.

The installed command `permitgate serve` is the documented entry; this exists for the SDK's own
tools, which import a file and look for a global called `mcp`.
"""

from mcp_server.app import Wishes, open_app
from mcp_server.config import load_config
from mcp_server.own_code import check_own_code
from mcp_server.places import places
from mcp_server.surface import build_server

check_own_code()
app = open_app(load_config(places().config_file), places(), Wishes("stdio"))
mcp = build_server(app)
