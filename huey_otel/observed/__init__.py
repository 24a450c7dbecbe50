"""Where huey's calls become attempts and events."""
