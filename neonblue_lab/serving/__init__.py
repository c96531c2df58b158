"""The lab served to MCP clients: typed, read-only tools and resources, each a function of `Lab`."""
