"""Images as they are stored: formats, headers, orientation, bands, and how they become pixels."""
